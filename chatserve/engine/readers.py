"""Readers of logs: cursors that take what is new, and what feeds those that lag.

A reader never holds a queue and never the generator; whatever becomes of it, the turn does not notice. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from chatserve.contracts.formats import FrameEncoder
from chatserve.contracts.store import EventPage, Store
from chatserve.contracts.turns import TurnRecord
from chatserve.core.errors import Overloaded
from chatserve.core.events import Done, NumberedEvent, Snapshot, TurnAccepted
from chatserve.core.types import Message, Turn
from chatserve.engine.log.log import SessionLog
from chatserve.engine.pace import Pace
from chatserve.engine.sessions.rooms import Room
from chatserve.engine.timeouts import Timeouts
from chatserve.engine.turns.registry import TurnRegistry


class Outlet(Protocol):
    """Where a reader's frames may go at once."""

    def offer(self, frames: bytes) -> bool:
        """Send frames; False: that would have to wait, and nothing was sent. Raises: whatever the server does."""
        ...


class Reader:
    """A cursor in a session's log: all of it, or the events of one turn.

    `cursor` is the number of the last event taken. A reader whose next event the log no longer keeps, or whose
    cursor the log never reached, is fed by `Readers.catch_up`.
    """

    __slots__ = (
        "_loop",
        "_waiter",
        "closed",
        "cursor",
        "encoder",
        "is_stalled",
        "log",
        "outlet",
        "read_events",
        "room",
        "says_bye",
        "silent_ticks",
        "task",
        "ticked_at",
        "turn_id",
    )

    def __init__(self, room: Room, encoder: FrameEncoder, cursor: int, turn_id: str | None = None) -> None:
        assert room.log is not None
        self._loop = asyncio.get_running_loop()
        self.read_events = 512
        self.room = room
        self.log = room.log
        self.encoder = encoder
        self.cursor = cursor
        self.turn_id = turn_id
        self.outlet: Outlet | None = None
        self.closed = False
        self.says_bye = False
        self.silent_ticks = 0
        self.ticked_at = cursor
        self.is_stalled = False
        self.task: asyncio.Task[object] | None = None
        self._waiter: asyncio.Future[bytes] | None = None

    @property
    def needs_store(self) -> bool:
        """True when the log cannot tell what comes next: it is too old, or from a time the log never saw."""
        log = self.log
        return not log.base <= self.cursor <= log.published_seq

    @property
    def is_at_end(self) -> bool:
        """True when a turn's reader has taken `done`, or a session's has all it wanted."""
        if self.turn_id is None:
            return self.encoder.is_complete
        return self.cursor >= self.log.done_seqs.get(self.turn_id, self.cursor + 1)

    @property
    def has_more(self) -> bool:
        """True when there is something to take."""
        return self.cursor < self.log.published_seq

    @property
    def awaits_words(self) -> bool:
        """True when all there is of a turn, and taken, is that it was accepted."""
        log, turn_id = self.log, self.turn_id
        return turn_id is not None and self.cursor == log.last_seq == log.first_seqs.get(turn_id)

    @property
    def owes_rest(self) -> bool:
        """True when the server goes away, and the client, who may never come back, has not got all there is."""
        return self.says_bye and self.has_more and not self.needs_store

    def take(self) -> bytes:
        """Return the frames of all that is new, joined; b"" when there is nothing, or nothing for this reader."""
        log = self.log
        cursor, until = self.cursor, log.published_seq
        if cursor >= until or cursor < log.base:
            return b""
        until = min(until, cursor + self.read_events)
        self.cursor = until
        if self.encoder.is_per_turn:
            return self.encode(log.numbered(cursor, until))
        return log.encoded(self.encoder, self.turn_id, cursor, until, share=self.room.readers > 1)

    def encode(self, events: Iterable[NumberedEvent]) -> bytes:
        """Return the frames of those events that are for this reader."""
        encode, turn_id = self.encoder.encode, self.turn_id
        return b"".join([encode(event) for event in events if turn_id is None or event.turn_id == turn_id])

    @property
    def is_waiting(self) -> bool:
        """True while there is nothing to do for it; else its client takes what it was sent, or should."""
        return self._waiter is not None and not self._waiter.done()

    def news(self) -> asyncio.Future[bytes]:
        """Return a future of the frames that come next; b"": there may be something to take, or it is to look up.

        What is handed over is taken: the cursor stands behind it.
        """
        waiter = self._waiter = self._loop.create_future()
        self.log.waiters.append(self)
        return waiter

    def hand(self, frames: bytes) -> bool:
        """Send frames at once, where that is possible, and wait on; else let `news` be done."""
        if frames and self.outlet is not None and self.outlet.offer(frames):
            return True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(frames)
        return False

    def fail(self, error: Exception) -> None:
        """Let `news` raise."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def wake(self) -> None:
        """Let `news` be done, whether there are any or not."""
        if self in self.log.waiters:
            self.log.waiters.remove(self)
        self.hand(b"")

    def close(self, *, bye: bool = False) -> None:
        """Let the reader end: its client has gone, or (`bye`) the server goes."""
        self.closed = True
        self.says_bye = self.says_bye or bye
        self.wake()


class Readers:
    """All readers of this process. `max_readers` bounds them."""

    def __init__(self, store: Store, turns: TurnRegistry, max_readers: int, pace: Pace) -> None:
        self._store = store
        self._turns = turns
        self._read_events = pace.read_events
        self._max_readers = max_readers
        self._readers: set[Reader] = set()
        self._awaiting_words = Timeouts[Reader](pace.first_words_s, Reader.wake)

    def __len__(self) -> int:
        return len(self._readers)

    def attach(self, reader: Reader) -> None:
        """Count a reader in. Raises: Overloaded."""
        if len(self._readers) >= self._max_readers:
            raise Overloaded(
                f"{len(self._readers)} streams are open, the limit is {self._max_readers}; try again later"
            )
        self._readers.add(reader)
        reader.room.readers += 1
        reader.read_events = self._read_events

    def detach(self, reader: Reader) -> bool:
        """Count a reader out, whose response is over; True when it was the last one in its room."""
        reader.outlet = None
        if reader not in self._readers:
            return False
        self._readers.remove(reader)
        reader.room.readers -= 1
        return reader.room.readers == 0

    def tick(self, ping_ticks: int, stall_ticks: int) -> None:
        """Count the silence of every reader; wake those that owe a ping, drop those whose client takes nothing.

        Called once a second, so that no stream needs a timer of its own. What is dropped may come back with its cursor.
        """
        for reader in list(self._readers):
            reader.silent_ticks = reader.silent_ticks + 1 if reader.cursor == reader.ticked_at else 1
            reader.ticked_at = reader.cursor
            if reader.is_waiting:
                if reader.silent_ticks >= ping_ticks:
                    reader.wake()
            elif reader.silent_ticks > stall_ticks and reader.task is not None:
                reader.is_stalled = True
                reader.task.cancel()

    def close_room(self, room: Room) -> None:
        """End the streams of a room whose session is gone."""
        for reader in [reader for reader in self._readers if reader.room is room]:
            reader.close()

    def say_bye(self) -> None:
        """Let every reader tell its client that the server goes away."""
        for reader in list(self._readers):
            reader.close(bye=True)

    async def first_words(self, reader: Reader) -> bytes:
        """Return the frames with which an answer begins; b"" if it does not begin soon."""
        self._awaiting_words.add(reader)
        try:
            return await reader.news()
        finally:
            self._awaiting_words.discard(reader)

    async def catch_up(self, reader: Reader) -> bytes:
        """Return what comes after a cursor the log cannot serve, from the store or as a snapshot; move the cursor."""
        log = reader.log
        if log.published_seq < log.last_seq:
            return await reader.news()  # a snapshot tells of all there is, so it must not run ahead of what is shown
        if not log.session_id or reader.cursor > log.published_seq:
            return await self._restart(reader)
        page = await self._store.read_events(log.session_id, after=reader.cursor, limit=reader.read_events)
        if not page.events or (reader.cursor < page.first_seq - 1 and reader.turn_id is not None):
            return await self._restart(reader)
        if reader.cursor < page.first_seq - 1:
            return await self._enter_at(reader, page)
        if reader.encoder.is_per_turn and reader.turn_id is not None and _has_hole(reader.cursor, page.events):
            return await self._restart(reader)
        reader.cursor = page.events[-1].seq
        self._note_ends(log, page.events)
        return reader.encode(page.events)

    def _note_ends(self, log: SessionLog, events: Sequence[NumberedEvent]) -> None:
        log.done_seqs.update({e.turn_id: e.seq for e in events if isinstance(e.event, Done) and e.turn_id})

    async def _restart(self, reader: Reader) -> bytes:
        """Tell how things are now, and go on from there."""
        log, room = reader.log, reader.room
        seq = log.published_seq
        for turn in self._turns.turns_in(room):
            if reader.turn_id in (None, turn.turn_id):
                return self._skip_to(reader, seq, turn.turn, turn.now().messages)
        record = await self._record(reader)
        if record is None:
            return self._skip_to(reader, seq, None, ())
        if reader.turn_id is None:
            return self._skip_to(reader, seq, record.turn, record.messages)
        reader.cursor = log.done_seqs[reader.turn_id] = record.turn.done_seq or seq
        return ended_turn_frames(record, reader.encoder, seq)

    async def _record(self, reader: Reader) -> TurnRecord | None:
        owner = reader.room.owner
        if reader.turn_id is not None:
            ended = self._turns.find(owner, reader.turn_id)  # a stateless one
            return ended.record if ended is not None else await self._store.get_turn(owner, reader.turn_id)
        return await self._store.last_turn(owner, reader.room.session_id)

    async def _enter_at(self, reader: Reader, page: EventPage) -> bytes:
        """Skip to what is retained: to a turn's beginning, or to the end of the one that is cut there."""
        first = page.events[0]
        if first.turn_id is None or isinstance(first.event, TurnAccepted):
            return self._skip_to(reader, first.seq - 1, None, ())
        record = await self._store.get_turn(reader.room.owner, first.turn_id)
        return self._skip_to(reader, (record.turn.done_seq or first.seq) - 1, record.turn, record.messages)

    def _skip_to(self, reader: Reader, seq: int, turn: Turn | None, messages: tuple[Message, ...]) -> bytes:
        reader.cursor = seq
        return reader.encoder.encode(NumberedEvent(seq, reader.turn_id, Snapshot(turn, messages)))


def _has_hole(cursor: int, events: Sequence[NumberedEvent]) -> bool:
    """Whether a crash took events from between these: numbers are dense otherwise, and no turn is but its end."""
    dense = all(event.seq == seq for seq, event in enumerate(events, cursor + 1))
    return not dense or isinstance(events[0].event, Done)


def ended_turn_frames(record: TurnRecord, encoder: FrameEncoder, cursor: int) -> bytes:
    """Return the stream of a turn that is over and whose log is gone: its snapshot and its `done`."""
    turn = record.turn
    seq = turn.done_seq or cursor + 1
    snapshot, done = record.as_events()
    return b"".join(
        map(encoder.encode, (NumberedEvent(seq - 1, turn.turn_id, snapshot), NumberedEvent(seq, turn.turn_id, done)))
    )
