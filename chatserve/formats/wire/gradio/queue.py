"""The stream of a session's queue, which delivers all its waiting turns, distinguished by their ids.

    estimation  process_starts  process_generating+  process_completed      of each turn
    close_stream                                                            behind all of them

The first `process_generating` has the complete value, each later one the edits to the next (protocol `sse_v3`);
`process_completed` has the complete last value. `close_stream`, the `ending` of the stream's form, is never omitted:
without it a Python process that used the client does not end, and a JavaScript client waits forever at its next call.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from chatserve.codec import dumps, escape_line_ends
from chatserve.contracts.streams import StreamForm
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
from chatserve.core.types import Json, Turn, TurnError
from chatserve.formats.wire.gradio import frames
from chatserve.formats.wire.gradio.diffs import compare
from chatserve.formats.wire.gradio.growing import GrowingAnswer
from chatserve.formats.wire.gradio.inboxes import Inbox
from chatserve.formats.wire.gradio.outcomes import failure_of, gone_error
from chatserve.formats.wire.gradio.values import answer_value

FORM: Final = StreamForm(ping=frames.HEARTBEAT, ending=frames.CLOSE_STREAM)

JOINED: Final = "is_collected"
"""The key of `Turn.echo` that marks a joined turn, so that a stream recognizes it before the inbox has it."""


class _Event:
    """A turn that is being delivered.

    `before` are the bytes before appended text, while the text only grows. `owed` has the value that the client has,
    while the events of a yield change it, which is sent as one.
    """

    def __init__(self, event_id: str, base_url: str) -> None:
        self.event_id = event_id
        self.answer = GrowingAnswer(base_url)
        self.before = b""
        self.owed: tuple[Json] | None = None
        self.is_begun = False
        self.was_estimated = False
        self.error: TurnError | None = None

    def take(self, event: Event, *, goes_on: bool = False) -> bytes:
        """Return the frames for an event's change of the answer; b"" while its yield goes on."""
        if isinstance(event, ReasoningDelta) and not goes_on and self.owed is None and self.answer.grow(event):
            return self.text_frame(event.text)
        self.answer.settle()
        (old,) = self.owed or (self.answer.value,)
        if self.answer.take(event):
            self.owed = (old,)
        if goes_on or self.owed is None:
            return b""
        self.owed, tail = None, self.answer.tail
        self.before = b"" if tail is None else frames.before_text(self.event_id, tail)
        return self._change_frame(old)

    def text_frame(self, text: str) -> bytes:
        """Return the frame for appended text."""
        words = dumps(text)
        return self.before + (words if words.isascii() else escape_line_ends(words)) + frames.AFTER_TEXT

    def _change_frame(self, old: object) -> bytes:
        value = self.answer.value
        if not self.is_begun:
            self.is_begun = True
            return frames.process_generating(self.event_id, value)
        edits = compare(old, value)
        return frames.process_generating(self.event_id, edits) if edits else b""


class QueueEncoder:
    """Encodes the events of a session for a client of its queue. Turns that are not in the inbox are ignored."""

    is_per_turn = True

    def __init__(self, waiting: Collection[str], base_url: str) -> None:
        self.told: set[str] = set()
        self._waiting = waiting
        self._base_url = base_url
        self._events: dict[str | None, _Event] = {}

    @property
    def is_complete(self) -> bool:
        """True while the client waits for no turn."""
        return not self._events and self.told.issuperset(self._waiting)

    def encode(self, numbered: NumberedEvent) -> bytes:
        _, turn_id, event = numbered
        known = self._events.get(turn_id)
        if type(numbered) is YieldedEvent:
            return self._take_yielded(known, numbered)
        if type(event) is Delta and known is not None and known.answer.grow(event):  # the hot path: one per token
            return known.text_frame(event.text)
        match event:
            case Snapshot():
                return self._take_snapshot(event)
            case TurnAccepted(turn=turn):
                known = self._find(turn.turn_id, turn)
            case Done():
                known = self._find(event.turn_id)
            case (
                Delta()
                | HistoryChanged()
                | MessageOpened()
                | MetadataChanged()
                | PartAdded()
                | PartDelta()
                | ReasoningDelta()
                | Replaced()
                | Failed()
                | StatusReported()
            ):
                pass
        return b"" if known is None else self._take(known, event)

    def farewell(self) -> bytes:
        """Return an end for every waiting turn, because no client reconnects for the rest."""
        open_ids = [known.event_id for known in self._events.values()]
        left = dict.fromkeys([*open_ids, *(turn_id for turn_id in self._waiting if turn_id not in self.told)])
        failed = [frames.process_failed(turn_id, gone_error()) for turn_id in left]
        return b"".join(failed) + frames.CLOSE_STREAM

    def _take_yielded(self, known: _Event | None, yielded: YieldedEvent) -> bytes:
        if known is None:
            return b""
        known.answer.is_list = yielded.is_list
        return known.take(yielded.event, goes_on=yielded.goes_on)

    def refuse(self, event_id: str, error: TurnError) -> bytes:
        """Return the end of a call that is no turn; b"" if it was sent before."""
        if event_id in self.told:
            return b""
        self.told.add(event_id)
        return frames.process_failed(event_id, error)

    def _find(self, turn_id: str, turn: Turn | None = None) -> _Event | None:
        """Return the event of a turn, if the client waits for the turn and has not received its end."""
        known = self._events.get(turn_id)
        if known is not None or turn_id in self.told:
            return known
        is_asked = turn_id in self._waiting or (turn is not None and JOINED in (turn.echo or {}))
        if not is_asked:
            return None
        known = self._events[turn_id] = _Event(turn_id, self._base_url)
        return known

    def _take(self, known: _Event, event: Event) -> bytes:
        match event:
            case TurnAccepted():
                return self._accept(known, event)
            case StatusReported():
                return frames.progress(known.event_id, event)
            case Failed(error):
                known.error = error
                return b""
            case Done():
                is_list = known.answer.is_list
                value = answer_value(event.messages, self._base_url, is_open=False, is_list=is_list)
                return self._end(known, value, known.error or failure_of(event.status, event.finish_reason))
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
            ):
                known.answer.is_list = False
                return known.take(event)

    def _accept(self, known: _Event, event: TurnAccepted) -> bytes:
        waited, known.was_estimated = known.was_estimated, True
        estimated = b"" if waited else frames.estimation(event)
        return estimated + (frames.process_starts(known.event_id) if event.turn.status == "running" else b"")

    def _take_snapshot(self, event: Snapshot) -> bytes:
        """Encode a complete answer so far, or the end of a turn that has ended and whose log is gone."""
        turn = event.turn
        known = None if turn is None else self._find(turn.turn_id, turn)
        if known is None or turn is None:
            return b""
        said = known.take(event)
        if turn.status in ("queued", "running"):
            return said
        value = answer_value(event.messages, self._base_url, is_open=False)
        return said + self._end(known, value, turn.error or failure_of(turn.status, turn.finish_reason))

    def _end(self, known: _Event, value: object, error: TurnError | None) -> bytes:
        """End a turn. An answer that was never sent in pieces is sent as one, for clients that iterate."""
        event_id = known.event_id
        if error is not None:
            said = frames.process_failed(event_id, error)
        else:
            first = b"" if known.is_begun else frames.process_generating(event_id, value)
            said = first + frames.process_completed(event_id, value)
        self.told.add(event_id)
        del self._events[event_id]
        return said


class QueueDelivery:
    """Delivers refusals, and removes events from the inbox once their stream was sent to its end.

    If a stream was cut, it is unknown how much of it arrived, so all its events are delivered again.
    """

    def __init__(self, inbox: Inbox, encoder: QueueEncoder) -> None:
        self._inbox = inbox
        self._encoder = encoder

    def take(self, now: float) -> bytes:
        refusals = self._inbox.refusals
        due = [(event_id, each.error) for event_id, each in refusals.items() if each.due_at <= now]
        return b"".join([self._encoder.refuse(*each) for each in due]) if due else b""

    def complete(self, now: float) -> None:
        self._inbox.close(self._encoder.told, now=now)
