"""Lists: several messages of one answer, or the whole history with the answer at its end (Gradio Blocks style).

A list is the whole history if it starts with the history that the function got or, if that was empty, with the current
user message. Only the entries after both are the answer. Whole histories come as messages or as `[user, assistant]`
pairs. A list without messages is data.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from chatserve.contracts.formats import AnswerView, Output, ParsedMessage
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import DraftPart, LocalFile, TextPart
from chatserve.formats.shared.content import (
    is_file,
    is_message,
    messages_answer,
    part_answer,
    read_content,
    read_data,
    read_message,
    read_text,
)
from chatserve.formats.shared.model_answer import member


class MessageListNormalizer:
    """Reads lists."""

    @staticmethod
    def accepts(value: object) -> bool:
        return isinstance(value, list)

    def normalize(self, value: list[Any], view: AnswerView) -> Sequence[Output]:
        if (added := _added_to_history(value, view)) is not None:
            return messages_answer(added, view)
        if any(map(is_message, value)) or all(isinstance(item, str) or is_file(item) for item in value):
            return messages_answer(tuple(_read_entry(item, number) for number, item in enumerate(value)), view)
        return part_answer(read_data(value), view)


def _read_entry(entry: Any, number: int) -> ParsedMessage:
    if isinstance(entry, str):
        return read_text(entry)
    if is_file(entry):
        return ParsedMessage("assistant", read_content(entry))
    if is_message(entry):
        return read_message(entry)
    raise AnswerInvalid(
        f"item {number} of a list of messages is {entry!r:.200}; "
        'make it a str, a ChatMessage, a file or a dict with "role" and "content"'
    )


def _added_to_history(entries: list[Any], view: AnswerView) -> tuple[ParsedMessage, ...] | None:
    """Return the answer's messages at the end of a whole history, or None if the list is not a whole history."""
    length = view.history_length
    if not entries or (length and (len(entries) < length or entries[0] != view.first_entry)):
        return None
    if _is_pair(entries[0]):
        asked, answer = _split_pairs(entries[length:], view.message)
    elif is_message(entries[0]):
        asked, answer = _split_messages(entries[length:], view.message)
    else:
        return None
    return answer if length or asked else None


Split = tuple[bool, tuple[ParsedMessage, ...]]
"""Whether the entries began with the current user message, and the messages after it."""


def _split_messages(entries: list[Any], current: Any) -> Split:
    asked = len(list(takewhile(lambda entry: is_message(entry) and _is_users(entry, current), entries)))
    return asked > 0, tuple(_read_entry(entry, number) for number, entry in enumerate(entries[asked:], asked))


def _is_users(entry: Any, current: Any) -> bool:
    return member(entry, "role") == "user" and _is_current(read_content(member(entry, "content")), current)


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 2 and not isinstance(entry[0], dict)


def _split_pairs(entries: list[Any], current: Any) -> Split:
    asked, answer = False, list[ParsedMessage]()
    for number, entry in enumerate(entries):
        if not _is_pair(entry):
            raise AnswerInvalid(
                f"item {number} of the pairs added to the history is {entry!r:.200}; use [user, assistant]"
            )
        user, reply = map(read_content, entry)
        if user and not answer and _is_current(user, current):
            asked = True
        elif user:
            answer.append(ParsedMessage("user", user))
        if reply:
            answer.append(ParsedMessage("assistant", reply))
    return asked, tuple(answer)


def _is_current(parts: tuple[DraftPart, ...], current: Any) -> bool:
    """Whether the parts are the current user message, its text, or some of its files."""
    text, files = (current, []) if isinstance(current, str) else (current["text"], current["files"])
    known = {Path(file) for file in files}
    return bool(parts) and all(
        part.text == text if isinstance(part, TextPart) else isinstance(part, LocalFile) and part.source in known
        for part in parts
    )
