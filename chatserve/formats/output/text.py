"""Plain strings: the whole answer so far, or, in deltas mode, text to append. None: nothing to say, or nothing yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output, TextAppended
from chatserve.formats.shared.content import messages_answer, plain_text, read_text


class TextNormalizer:
    """Reads `str`, None and `TextAppended`.

    `chat_function` wraps a streamer's text in the latter: it is always appended.
    """

    @staticmethod
    def accepts(value: object) -> bool:
        return value is None or isinstance(value, str | TextAppended)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        if not isinstance(value, str):
            return () if value is None else (value,)
        if view.yields == "deltas":
            return (TextAppended(plain_text(value)),)
        return messages_answer((read_text(value),), view)
