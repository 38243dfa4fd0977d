"""The changes that lead from one snapshot of an answer to the next. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from chatserve.answers.fold import MessageState
from chatserve.answers.parts import without_none
from chatserve.contracts.formats import ParsedMessage
from chatserve.core.events import MetadataChanged, PartDelta, Replaced
from chatserve.core.frozen import replace
from chatserve.core.types import Part, ReasoningPart, TextPart, ToolCallPart

Change: TypeAlias = TextPart | ReasoningPart | Replaced | MetadataChanged | PartDelta | Part
"""One step of a message: an event, or a part to append to the open message."""


def find_changes(
    state: MessageState, message: ParsedMessage, parts: Sequence[Part], *, is_open: bool
) -> Sequence[Change] | None:
    """Return the changes that turn `state` into `message`, or None when no event can express them.

    `parts` are the message's parts as `checked_parts` returns them; only the open message can take more parts.
    """
    if state.role != message.role:
        return None
    content = _content_changes(state, parts, is_open=is_open)
    return None if content is None else [*content, *_metadata_changes(state, message)]


def _content_changes(state: MessageState, new: Sequence[Part], *, is_open: bool) -> Sequence[Change] | None:
    old = state.content()
    if old == new:
        return ()
    if is_open and (extension := _extension(state, old, new)) is not None:
        return extension
    if all(isinstance(part, TextPart) for part in (*old, *new)):
        return (Replaced("".join(part.text for part in new if isinstance(part, TextPart))),)
    return None


def _extension(state: MessageState, old: Sequence[Part], new: Sequence[Part]) -> Sequence[Change] | None:
    """Return the changes if `new` is `old` with more at its end, else None."""
    if len(new) < len(old) or list(new[: len(old) - 1]) != list(old[:-1]):
        return None
    if not old:
        return list(new)
    added: list[Change] = list(new[len(old) :])
    last, now = old[-1], new[len(old) - 1]
    if last == now:
        return added
    if isinstance(last, TextPart) and isinstance(now, TextPart) and now.text.startswith(last.text):
        return [TextPart(now.text[len(last.text) :]), *added]
    if isinstance(last, ReasoningPart) and isinstance(now, ReasoningPart) and now.text.startswith(last.text):
        return [ReasoningPart(now.text[len(last.text) :]), *added]
    if isinstance(last, ToolCallPart) and isinstance(now, ToolCallPart) and now.arguments.startswith(last.arguments):
        grown = replace(last, arguments=now.arguments)
        return [PartDelta(state.last_part_id, now.arguments[len(last.arguments) :]), *added] if grown == now else None
    return None


def _metadata_changes(state: MessageState, message: ParsedMessage) -> Sequence[Change]:
    new = without_none(message.metadata) or {}
    changed = {key: value for key, value in new.items() if state.metadata.get(key) != value}
    removed = dict.fromkeys(state.metadata.keys() - new.keys())
    options = tuple(message.options or ())
    if not changed and not removed and options == state.options:
        return ()
    return (
        MetadataChanged(state.message_id, changed | removed or None, options if options != state.options else None),
    )
