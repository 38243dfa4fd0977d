"""One message: a dict with `content`, a `ChatMessage`, or any object with `role` and `content` (Gradio's has both)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output
from chatserve.formats.shared.content import is_message, messages_answer, read_message


class MessageNormalizer:
    """Reads one message."""

    @staticmethod
    def accepts(value: object) -> bool:
        return is_message(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return messages_answer((read_message(value),), view)
