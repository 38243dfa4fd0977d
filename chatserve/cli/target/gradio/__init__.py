"""Reads files written for Gradio: what their `gr.ChatInterface` says, without its page and its server.

While a file is imported, a recorder keeps what it asks of Gradio: of the installed one, or of a stand-in where none is
installed. The recorded interfaces are then read as chats.
"""

from chatserve.cli.target.gradio.adapter import adapt
from chatserve.cli.target.gradio.interfaces import ChatReading, read_interfaces
from chatserve.cli.target.gradio.parameters import PARAMETERS
from chatserve.cli.target.gradio.record import Interface, Record
from chatserve.cli.target.gradio.recorder import recording
from chatserve.cli.target.gradio.wiring import find_wiring

__all__ = [
    "PARAMETERS",
    "ChatReading",
    "Interface",
    "Record",
    "adapt",
    "find_wiring",
    "read_interfaces",
    "recording",
]
