"""The stream of a simple call, for `curl`: named events with complete values. Source: gradio 6.31 `routes.py`."""

from __future__ import annotations

from chatserve.core.events import (
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
    YieldedEvent,
)
from chatserve.core.types import Turn, TurnError
from chatserve.formats.wire.gradio import frames
from chatserve.formats.wire.gradio.growing import GrowingAnswer
from chatserve.formats.wire.gradio.outcomes import failure_of, gone_error
from chatserve.formats.wire.gradio.values import answer_value


class CallEncoder:
    """Encodes one turn: `generating` for each change of the answer, then `complete` or `error`."""

    is_per_turn = True
    is_complete = False  # its reader detects the end of the turn

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._answer = GrowingAnswer(base_url)
        self._error: TurnError | None = None
        self._is_owed = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        event = numbered.event
        goes_on = isinstance(numbered, YieldedEvent) and numbered.goes_on
        if type(event) is not Done:
            self._answer.is_list = isinstance(numbered, YieldedEvent) and numbered.is_list
        match event:
            case Failed(error):
                self._error = error
                return b""
            case Done():
                return self._end(event)
            case Snapshot(turn=Turn(error=TurnError() as error)):
                self._error = error
                return b""
            case (
                Delta()
                | HistoryChanged()
                | MessageOpened()
                | MetadataChanged()
                | PartAdded()
                | PartDelta()
                | ReasoningDelta()
                | Replaced()
                | Snapshot()
                | StatusReported()
                | TurnAccepted()
            ):
                return self._take(event, goes_on=goes_on)

    def _take(self, event: Event, *, goes_on: bool) -> bytes:
        grew = isinstance(event, Delta | ReasoningDelta) and self._answer.grow(event)
        self._is_owed = grew or self._answer.take(event) or self._is_owed
        if goes_on or not self._is_owed:
            return b""
        self._is_owed = False
        self._answer.settle()
        return frames.call_frame("generating", [self._answer.value])

    def _end(self, done: Done) -> bytes:
        error = self._error or failure_of(done.status, done.finish_reason)
        if error is not None:
            return frames.call_frame("error", frames.error_output(error))
        value = answer_value(done.messages, self._base_url, is_open=False, is_list=self._answer.is_list)
        return frames.call_frame("complete", [value])

    def farewell(self) -> bytes:
        return frames.call_frame("error", frames.error_output(gone_error()))
