"""Lists: several messages of one answer, or the whole history with the answer at its end (Gradio Blocks style).

What of a whole history is the answer is said in `shared.whole_history`. Whole histories come as messages or as
`[user, assistant]` pairs. A list of neither is data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chatserve.contracts.formats import AnswerView, Output, ParsedMessage, Remark
from chatserve.core.errors import AnswerInvalid
from chatserve.formats.shared.components import is_shown
from chatserve.formats.shared.content import (
    is_message,
    messages_answer,
    parts_answer,
    read_content,
    read_data,
    read_message,
    read_text,
)
from chatserve.formats.shared.whole_history import added_to, holds, is_pair, names_turn

_DOUBT: Final = Remark(
    "answers with a list that neither holds the history it was given nor ends in the current message and the answer: "
    "what follows the last message of the user was taken for the answer. "
    'Append to the history, or answer with what is new only, as a str or {"role": "assistant", "content": …}'
)


class MessageListNormalizer:
    """Reads lists. Whether an unclear one holds the history takes long to find out, so that is done once in a turn."""

    def __init__(self) -> None:
        self._has_looked = False

    @staticmethod
    def accepts(value: object) -> bool:
        return isinstance(value, list)

    def normalize(self, value: list[Any], view: AnswerView) -> Sequence[Output]:
        entries = list.__getitem__(value, slice(None))  # a long history copies each entry that is asked for
        is_history = _are_pairs(entries, view)
        if not is_history and not _are_messages(entries):
            return parts_answer((read_data(entries),), view)
        added = added_to(view.given, entries, view.message)
        messages = tuple(_read_entry(entry, number) for number, entry in enumerate(added.entries))
        return (*messages_answer(messages, view, is_list=True), *(() if added.is_sure else self._doubt(entries, view)))

    def _doubt(self, entries: list[Any], view: AnswerView) -> Sequence[Output]:
        has_looked, self._has_looked = self._has_looked, True
        return () if has_looked or holds(entries, view.given) else (_DOUBT,)


def _are_messages(entries: list[Any]) -> bool:
    return any(map(is_message, entries)) or all(isinstance(entry, str) or is_shown(entry) for entry in entries)


def _are_pairs(entries: list[Any], view: AnswerView) -> bool:
    """Whether a list holds pairs of a history. A chat of another history format may answer with a table of texts."""
    if not entries or not is_pair(entries[0]):
        return False
    return view.history == "tuples" or (all(map(is_pair, entries)) and names_turn(entries, view.message))


def _read_entry(entry: Any, number: int) -> ParsedMessage:
    if isinstance(entry, str):
        return read_text(entry)
    if is_shown(entry):
        return ParsedMessage("assistant", read_content(entry))
    if is_message(entry):
        return read_message(entry)
    raise AnswerInvalid(
        f"item {number} of a list of messages is of type {type(entry).__name__}; "
        'make it a str, a ChatMessage, a file, a pair [user, assistant] or a dict with "role" and "content"'
    )
