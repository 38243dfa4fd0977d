"""Wire formats of clients: one module or package per format, each with a pure encoder of the log's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chatserve.contracts.streams import StreamFormat
from chatserve.contracts.wire import WireFormat
from chatserve.formats.wire.anthropic import Anthropic
from chatserve.formats.wire.gradio import Gradio
from chatserve.formats.wire.native import Native
from chatserve.formats.wire.openai_chat import OpenAIChat
from chatserve.formats.wire.openai_responses import OpenAIResponses
from chatserve.formats.wire.plain import Plain
from chatserve.settings import Settings

WIRE_FORMATS: Final[Mapping[str, Callable[[Settings], StreamFormat | WireFormat]]] = {
    "native": Native,
    "plain": Plain,
    "openai_chat": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "anthropic": Anthropic,
    "gradio": Gradio,
}
"""All formats by name. Protocols with their own paths are served if the setting `protocols` names them. Formats for
streams on chatserve's own paths are chosen by `Accept`; of equally weighted ones, the first is chosen."""
