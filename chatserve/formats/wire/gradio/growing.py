"""One turn's answer as a client has it, and how each event changes it. Knows values, and no frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatserve.answers.fold import Answer
from chatserve.core.events import (
    Delta,
    Event,
    MessageOpened,
    MetadataChanged,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
)
from chatserve.core.types import Json, ReasoningPart, TextPart
from chatserve.formats.wire.gradio.values import answer_value, tail_path

_GROWS: Final[Mapping[type, type[Delta] | type[ReasoningDelta]]] = {TextPart: Delta, ReasoningPart: ReasoningDelta}
_CHANGES: Final = (Delta, ReasoningDelta, Replaced, PartAdded, PartDelta, MetadataChanged, Snapshot)


class GrowingAnswer:
    """An answer from its first event on.

    Most events append text to the end of the value. `grow` accepts those, and `tail` is the path of the growing text.
    `take` accepts all events that `grow` refuses, and makes the value again.
    """

    def __init__(self, base_url: str) -> None:
        self.value: Json = None
        self.tail: list[str | int] | None = None
        self.is_list = False
        self._base_url = base_url
        self._answer = Answer("", lambda: 0.0)
        self._grows: type[Delta] | type[ReasoningDelta] | None = None
        self._pieces: list[str] = []
        self._is_begun = False

    def grow(self, event: Delta | ReasoningDelta) -> bool:
        """Append text at `tail`; False if the text belongs elsewhere. The hot path."""
        if type(event) is not self._grows:
            return False
        self._pieces.append(event.text)
        return True

    def take(self, event: Event) -> bool:
        """Apply any event; return whether the value may have changed. There is no value before the first message."""
        self.settle()
        if isinstance(event, MessageOpened):
            self._answer.apply(event)
            self._grows = None
            if not event.metadata:
                return False  # it is sent with its first text, as the function did not yield an empty message
        elif isinstance(event, _CHANGES):
            self._answer.apply(event)
        else:
            return False
        self._look()
        return self._is_begun

    def settle(self) -> None:
        """Add the text from `grow` to `value`."""
        if not self._pieces or self.tail is None:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        self.value = _appended(self.value, self.tail, text)
        if self._grows is Delta:
            self._answer.append_text(text)
        else:
            self._answer.open.append_reasoning(text)

    def _look(self) -> None:
        messages = self._answer.freeze()
        self._is_begun = self._is_begun or bool(messages)
        self.value = answer_value(messages, self._base_url, is_open=True, is_list=self.is_list)
        last = messages[-1].content[-1] if messages else None
        grows = _GROWS.get(type(last))
        self.tail = None if grows is None else tail_path(self.value)
        self._grows = None if self.tail is None else grows


def _appended(value: Json, path: list[str | int], text: str) -> Json:
    """Return a copy of a value with text appended at a path."""
    if not path:
        return value + text
    step, *rest = path
    if isinstance(value, list):
        return [*value[:-1], _appended(value[-1], rest, text)]
    return {**value, step: _appended(value[step], rest, text)}
