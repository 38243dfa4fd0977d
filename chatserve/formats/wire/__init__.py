"""What clients speak: one file per format, each a pure encoder of the log's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chatserve.contracts.wire import WireFormat
from chatserve.formats.wire.anthropic import Anthropic
from chatserve.formats.wire.gradio import Gradio
from chatserve.formats.wire.openai_chat import OpenAIChat
from chatserve.formats.wire.openai_responses import OpenAIResponses
from chatserve.settings import Settings

WIRE_FORMATS: Final[Mapping[str, Callable[[Settings], WireFormat]]] = {
    "openai_chat": OpenAIChat,
    "openai_responses": OpenAIResponses,
    "anthropic": Anthropic,
    "gradio": Gradio,
}
"""Every protocol besides the native one, by the name it has in the setting `protocols`."""
