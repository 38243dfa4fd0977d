"""Readers of logs: cursors that take what is new, and what feeds those that lag.

A reader never holds a queue and never the generator; whatever becomes of it, the turn does not notice. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from chatserve.contracts import EventPage, FrameEncoder, Store, TurnRecord
from chatserve.engine.log import SessionLog
from chatserve.engine.room import Room
from chatserve.errors import Overloaded
from chatserve.events import Done, NumberedEvent, Snapshot
from chatserve.types import FinalStatus, Message, Turn

READ_EVENTS: Final = 512
"""How many events a reader takes in one piece at the most."""


class Reader:
    """A cursor in a session's log: all of it, or the events of one turn.

    `cursor` is the number of the last event taken. A reader whose next event the log no longer keeps, or whose cursor the
    log never reached, is fed by `Readers.catch_up`.
    """

    __slots__ = (
        "_waiter",
        "closed",
        "cursor",
        "encoder",
        "heard_at",
        "is_stalled",
        "room",
        "says_bye",
        "sending_since",
        "task",
        "turn_id",
    )

    def __init__(self, room: Room, encoder: FrameEncoder, cursor: int, turn_id: str | None = None) -> None:
        self.room = room
        self.encoder = encoder
        self.cursor = cursor
        self.turn_id = turn_id
        self.closed = False
        self.says_bye = False
        self.heard_at = 0.0
        self.is_stalled = False
        self.task: asyncio.Task[object] | None = None
        self.sending_since: float | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def log(self) -> SessionLog:
        """The log this reader follows."""
        log = self.room.log
        assert log is not None
        return log

    @property
    def needs_store(self) -> bool:
        """True when the log cannot tell what comes next: it is too old, or from a time the log never saw."""
        log = self.log
        return not log.base <= self.cursor <= log.published_seq

    @property
    def is_at_end(self) -> bool:
        """True when a turn's reader has taken `done`."""
        return self.turn_id is not None and self.cursor >= self.log.done_seqs.get(self.turn_id, self.cursor + 1)

    @property
    def has_more(self) -> bool:
        """True when there is something to take."""
        return self.cursor < self.log.published_seq

    def take(self) -> bytes:
        """Return the frames of all that is new, joined; b"" when there is nothing, or nothing for this reader."""
        log = self.room.log
        assert log is not None
        cursor = self.cursor
        until = log.published_seq
        if cursor >= until or cursor < log.base:
            return b""
        until = min(until, cursor + READ_EVENTS)
        frames = log.encoded(self.encoder, cursor, until)
        self.cursor = until
        turn_id = self.turn_id
        if turn_id is None:
            return b"".join(frames)
        events = log.events[cursor - log.base : until - log.base]
        return b"".join([frame for frame, event in zip(frames, events, strict=True) if event.turn_id == turn_id])

    async def wait(self) -> None:
        """Wait until there may be something to take, or the reader is woken or closed."""
        log = self.log
        if self.closed or self.cursor < log.published_seq:
            return
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        log.waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if waiter.cancelled() and waiter in log.waiters:
                log.waiters.remove(waiter)

    def wake(self) -> None:
        """Let `wait` return, though nothing is new."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if waiter in self.log.waiters:
                self.log.waiters.remove(waiter)
            waiter.set_result(None)

    def close(self, *, bye: bool = False) -> None:
        """Let the reader end: its client has gone, or (`bye`) the server goes."""
        self.closed = True
        self.says_bye = self.says_bye or bye
        self.wake()


class Readers:
    """All readers of this process. `max_readers` bounds them."""

    def __init__(self, store: Store, max_readers: int) -> None:
        self._store = store
        self._max_readers = max_readers
        self._readers: set[Reader] = set()

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

    def detach(self, reader: Reader) -> bool:
        """Count a reader out; True when it was the last one in its room."""
        if reader not in self._readers:
            return False
        self._readers.remove(reader)
        reader.room.readers -= 1
        if reader.encoder.is_per_turn:
            reader.log.frames.pop(reader.encoder, None)
        return reader.room.readers == 0

    def wake_silent(self, heard_before: float) -> None:
        """Wake readers that have heard nothing since, so that they can send a ping."""
        for reader in self._readers:
            if reader.heard_at <= heard_before:
                reader.wake()

    def drop_stalled(self, sending_before: float) -> None:
        """Drop readers whose client has taken nothing since; they may come back with their cursor."""
        for reader in list(self._readers):
            if reader.sending_since is not None and reader.sending_since <= sending_before and reader.task is not None:
                reader.is_stalled = True
                reader.task.cancel()

    def say_bye(self) -> None:
        """Let every reader tell its client that the server goes away."""
        for reader in list(self._readers):
            reader.close(bye=True)

    async def catch_up(self, reader: Reader) -> bytes:
        """Return what comes after a cursor that the log cannot serve, from the store or as a snapshot; move the cursor."""
        log = reader.log
        if not log.session_id or reader.cursor > log.published_seq:
            return self._skip_to(reader, log.published_seq, *await self._newest(reader))
        page = await self._store.read_events(log.session_id, after=reader.cursor, limit=READ_EVENTS)
        if not page.events:
            return self._skip_to(reader, max(log.base, page.last_seq), *await self._newest(reader))
        if reader.cursor < page.first_seq - 1:
            return self._skip_to(reader, page.first_seq - 1, *await self._before(reader, page))
        reader.cursor = page.events[-1].seq
        self._note_ends(log, page.events)
        return b"".join(reader.encoder.encode(e) for e in page.events if reader.turn_id in (None, e.turn_id))

    def _note_ends(self, log: SessionLog, events: Sequence[NumberedEvent]) -> None:
        log.done_seqs.update({e.turn_id: e.seq for e in events if isinstance(e.event, Done) and e.turn_id})

    def _skip_to(self, reader: Reader, seq: int, turn: Turn | None, messages: tuple[Message, ...]) -> bytes:
        reader.cursor = seq
        return reader.encoder.encode(NumberedEvent(seq, reader.turn_id, Snapshot(turn, messages)))

    async def _newest(self, reader: Reader) -> tuple[Turn | None, tuple[Message, ...]]:
        """Return the open turn and its messages so far, or the session's last turn."""
        current = reader.room.current
        if current is not None:
            return current.turn, current.draft.messages() if current.draft else ()
        if reader.room.is_stateless:
            return None, ()
        record = await self._store.last_turn(reader.room.owner, reader.room.session_id)
        return (None, ()) if record is None else (record.turn, record.messages)

    async def _before(self, reader: Reader, page: EventPage) -> tuple[Turn | None, tuple[Message, ...]]:
        """Return the turn that was open before the first event retained: only one that a crash ended can be."""
        first = page.events[0]
        if not isinstance(first.event, Done) or first.turn_id is None:
            return None, ()
        record: TurnRecord = await self._store.get_turn(reader.room.owner, first.turn_id)
        return record.turn, record.messages


def ended_turn_frames(record: TurnRecord, encoder: FrameEncoder, cursor: int) -> bytes:
    """Return the stream of a turn that is over and whose log is gone: its snapshot and its `done`."""
    turn = record.turn
    seq = turn.done_seq or cursor + 1
    status: FinalStatus = "interrupted" if turn.status == "queued" or turn.status == "running" else turn.status
    done = Done(turn.turn_id, status, turn.finish_reason or "", record.messages, turn.usage, turn.version or 0)
    snapshot = Snapshot(turn, record.messages)
    return b"".join(encoder.encode(NumberedEvent(seq, turn.turn_id, event)) for event in (snapshot, done))
