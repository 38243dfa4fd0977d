"""History as Gradio 6 gives it: every entry has `role`, `metadata`, `content` and `options`.

`content` is always a list, never empty, of texts and files in Gradio's shape. Source: gradio 6.31,
`Chatbot.preprocess` and `FileData`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import ParsedMessage, RenderOptions
from chatserve.core.types import FilePart, Json, Message
from chatserve.formats.shared.gradio_entries import copy_entry, entry_of, pieces_of
from chatserve.formats.shared.history_entries import parse_entries


class Gradio6History:
    """Renders and parses the messages of Gradio 6."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        return [
            entry_of(message, [_part(piece, options) for piece in pieces], message.options)
            for message in messages
            if (pieces := pieces_of(message))
        ]

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        return parse_entries(history)

    def copy(self, entries: list[Any]) -> list[Any]:
        return list(map(copy_entry, entries))


def _part(piece: str | FilePart, options: RenderOptions) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece, "type": "text"}
    file = {
        "path": options.path_of(piece),
        "url": None,
        "size": piece.size,
        "orig_name": piece.name,
        "mime_type": piece.media_type,
        "is_stream": False,
        "meta": {"_type": "gradio.FileData"},
    }
    return {"file": file, "alt_text": None, "type": "file"}
