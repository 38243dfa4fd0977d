"""History as Gradio 5 gives it with `type="messages"`: every entry has `role`, `metadata`, `content` and `options`.

`content` is a text or `(path,)`. A message with several of them is as many entries, each with the message's metadata;
its options are those of the last one. Source: gradio 5.49, `Chatbot.preprocess`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chatserve.contracts.formats import ParsedMessage, RenderOptions
from chatserve.core.types import FilePart, Json, Message
from chatserve.formats.shared.gradio_entries import copy_entry, entry_of, pieces_of
from chatserve.formats.shared.history_entries import parse_entries


class Gradio5History:
    """Renders and parses the messages of Gradio 5."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        return [entry for message in messages for entry in _entries(message, options)]

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        return parse_entries(history)

    def copy(self, entries: list[Any]) -> list[Any]:
        return list(map(copy_entry, entries))


def _entries(message: Message, options: RenderOptions) -> Iterator[dict[str, Any]]:
    *before, last = pieces_of(message) or (None,)
    for piece in before:
        yield entry_of(message, _content(piece, options), None)
    if last is not None:
        yield entry_of(message, _content(last, options), message.options)


def _content(piece: str | FilePart | None, options: RenderOptions) -> str | tuple[str]:
    return (options.path_of(piece),) if isinstance(piece, FilePart) else piece or ""
