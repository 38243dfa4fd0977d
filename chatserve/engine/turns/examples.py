"""Answers to examples, kept so that they cost nothing the second time."""

from __future__ import annotations

from collections.abc import Sequence

from chatserve.contracts.formats import AnswerSnapshot, ParsedMessage
from chatserve.core.types import Message


class ExampleCache:
    """Answers by chat and index of the example. As many as there are examples, so it needs no bound."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], AnswerSnapshot] = {}

    def get(self, chat: str, example: int) -> AnswerSnapshot | None:
        """Return what the function answered, as one whole output."""
        return self._answers.get((chat, example))

    def put(self, chat: str, example: int, messages: Sequence[Message]) -> None:
        """Keep an answer."""
        parsed = [ParsedMessage(m.role, m.content, m.metadata, m.options) for m in messages]
        self._answers[chat, example] = AnswerSnapshot(tuple(parsed))
