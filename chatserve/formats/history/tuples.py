"""History as pairs: `[user, assistant]` lists with None for a missing side. This was Gradio's shape before version 5.

A reply joins the pair that its user message opened; further replies become `[None, reply]`. Thoughts, tool steps,
reasoning and system messages do not exist in this shape and are left out. In multimodal chats a file is `(path,)`: each
file of the user is a pair of its own, and the text comes last. A message with files only leaves no pair open for the
reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from chatserve.contracts.formats import ParsedMessage, RenderOptions
from chatserve.core.types import FilePart, Json, Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.history_content import entries_of, parse_content, refuse, text_of

Side: TypeAlias = str | tuple[str]


class TuplesHistory:
    """Renders and parses the tuples shape."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        pairs: list[Any] = []
        is_open = False
        previous: Message | None = None
        for message in messages:
            if message.role == "user":
                sides = _sides(message.content, options, files_first=True)
                pairs.extend([side, None] for side in sides)
                is_open = bool(sides) and isinstance(sides[-1], str)
            elif message.role == "assistant":
                if not message.is_thought:
                    is_open = _add_replies(pairs, _sides(message.content, options, files_first=False), is_open)
            elif previous is None or previous.turn_id != message.turn_id:
                is_open = False  # a new turn began with tool results instead of a user message
            previous = message
        return pairs

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        return tuple(
            message for number, entry in enumerate(entries_of(history)) for message in _parse_pair(entry, number)
        )

    def copy(self, entries: list[Any]) -> list[Any]:
        return list(map(list.copy, entries))  # the sides of a pair are immutable: text, None, tuples


def _add_replies(pairs: list[Any], replies: list[Side], is_open: bool) -> bool:
    for reply in replies:
        if is_open:
            pairs[-1][1] = reply
            is_open = False
        else:
            pairs.append([None, reply])
    return is_open


def _sides(content: Sequence[Part], options: RenderOptions, *, files_first: bool) -> list[Side]:
    """Return the sides for a message: its text and, for multimodal chats, its files."""
    if len(content) == 1 and type(content[0]) is TextPart:
        return [content[0].text]
    shown = [part for part in content if not isinstance(part, ReasoningPart | ToolCallPart | ToolResultPart)]
    files: list[Side] = []
    if options.multimodal:
        files = [(options.path_of(part),) for part in shown if isinstance(part, FilePart)]
        shown = [part for part in shown if not isinstance(part, FilePart)]
    texts: list[Side] = [text_of(shown)] if shown else []
    return files + texts if files_first else texts + files


def _parse_pair(pair: Json, number: int) -> list[ParsedMessage]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        refuse(number, f"it is {pair!r:.200}; make it a list [user, assistant]")
    return [
        ParsedMessage(role, parse_content(side, number))
        for role, side in zip(("user", "assistant"), pair, strict=True)
        if side is not None
    ]
