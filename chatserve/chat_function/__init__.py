"""The developer's function: what parameters it takes, and how it runs isolated from the server.

`Chat` is one registered function with its options. `Chat.prepare` returns a `Call`, which runs the function as one
async stream of the values it yields or returns. Knows no HTTP, no store and no event.
"""

from chatserve.chat_function.call import Call
from chatserve.chat_function.chat import Chat
from chatserve.chat_function.context import ChatContext, Report, SessionView
from chatserve.chat_function.options import ChatOptions, read_options
from chatserve.chat_function.signature import Surroundings

__all__ = ["Call", "Chat", "ChatContext", "ChatOptions", "Report", "SessionView", "Surroundings", "read_options"]
