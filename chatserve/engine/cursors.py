"""Cursors: positions in a session's log, and the feed for those that lag.

A cursor has no queue and no reference to the chat function's generator. Only the log and this module move it; its owner
takes the frames and asks for more. Knows no HTTP and no reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from chatserve.contracts.formats import FrameEncoder
from chatserve.contracts.store import EventPage, Store
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import Done, NumberedEvent, Snapshot, TurnAccepted
from chatserve.core.types import Message, Turn
from chatserve.engine.log.log import SessionLog
from chatserve.engine.sessions.rooms import Room
from chatserve.engine.turns.registry import TurnRegistry


class Outlet(Protocol):
    """Sends a cursor's frames directly, without waiting."""

    def offer(self, frames: bytes) -> bool:
        """Send frames; False: sending would have to wait, and nothing was sent. Raises: the server's exceptions."""
        ...


class Cursor:
    """A position in a session's log, for all of its events or for those of one turn, in one format.

    `seq` is the number of the last event that was taken. A `StoreFeed` serves a cursor whose next event is no longer in
    the log, or whose position the log never reached.
    """

    __slots__ = ("_is_woken", "_loop", "_waiter", "encoder", "log", "outlet", "seq", "turn_id")

    def __init__(self, log: SessionLog, encoder: FrameEncoder, seq: int, turn_id: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bytes] | None = None
        self._is_woken = False
        self.log = log
        self.encoder = encoder
        self.seq = seq
        self.turn_id = turn_id
        self.outlet: Outlet | None = None

    @property
    def needs_store(self) -> bool:
        """True when the log does not have the next event: it is too old, or beyond the end of the log."""
        log = self.log
        return not log.base <= self.seq <= log.published_seq

    @property
    def is_at_end(self) -> bool:
        """True when a turn's cursor has taken `done`, or a session's encoder is complete."""
        if self.turn_id is None:
            return self.encoder.is_complete
        return self.seq >= self.log.done_seqs.get(self.turn_id, self.seq + 1)

    @property
    def has_more(self) -> bool:
        """True when there are events to take."""
        return self.seq < self.log.published_seq

    @property
    def awaits_words(self) -> bool:
        """True when the turn's only event so far is its first, and the cursor has taken it."""
        log, turn_id = self.log, self.turn_id
        return turn_id is not None and self.seq == log.last_seq == log.first_seqs.get(turn_id)

    def take(self, *, share: bool = False) -> bytes:
        """Return the frames of new events, joined; b"" if there are none, or none for this cursor.

        `share`: other readers will probably take the same frames.
        """
        log = self.log
        seq, until = self.seq, log.published_seq
        if seq >= until or seq < log.base:
            return b""
        until = min(until, seq + log.pace.read_events)
        self.seq = until
        if self.encoder.is_per_turn:
            return self.encode(log.numbered(seq, until))
        return log.encoded(self.encoder, self.turn_id, seq, until, share=share)

    def encode(self, events: Iterable[NumberedEvent]) -> bytes:
        """Return the frames of those events that are for this cursor."""
        encode, turn_id = self.encoder.encode, self.turn_id
        return b"".join([encode(event) for event in events if turn_id is None or event.turn_id == turn_id])

    def skip_to(self, seq: int, turn: Turn | None, messages: tuple[Message, ...]) -> bytes:
        """Move to another position; return the frames of the snapshot that replaces the skipped events."""
        self.seq = seq
        return self.encoder.encode(NumberedEvent(seq, self.turn_id, Snapshot(turn, messages)))

    # waiting at the end of the log

    @property
    def is_waiting(self) -> bool:
        """True while the owner waits for events; false while it has frames to send."""
        return self._waiter is not None and not self._waiter.done()

    def news(self) -> asyncio.Future[bytes]:
        """Return a future of the next frames; b"": check whether there are events to take.

        When the future completes, the cursor has already moved past its frames.
        """
        waiter = self._waiter = self._loop.create_future()
        if self._is_woken:
            self._is_woken = False
            waiter.set_result(b"")
        else:
            self.log.waiters.append(self)
        return waiter

    def hand(self, frames: bytes) -> bool:
        """Send frames directly and keep waiting, if the outlet accepts them; otherwise complete `news` with them."""
        if frames and self.outlet is not None and self.outlet.offer(frames):
            return True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(frames)
        return False

    def fail(self, error: Exception) -> None:
        """Make `news` raise."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def wake(self) -> None:
        """Complete `news` without frames, now or when it is asked for, so that the owner checks the cursor."""
        self._is_woken = not self.is_waiting
        if self in self.log.waiters:
            self.log.waiters.remove(self)
        self.hand(b"")


class StoreFeed:
    """Serves cursors that the log in memory cannot serve, with events from the store or with a snapshot."""

    def __init__(self, store: Store, turns: TurnRegistry) -> None:
        self._store = store
        self._turns = turns

    async def catch_up(self, room: Room, cursor: Cursor) -> bytes:
        """Return the next frames, and move the cursor past their events. Raises: StoreError, NotFound."""
        log = cursor.log
        if log.published_seq < log.last_seq:
            return await cursor.news()  # a snapshot includes unpublished events, so wait until they are published
        if not log.session_id or cursor.seq > log.published_seq:
            return await self._restart(room, cursor)
        page = await self._store.read_events(log.session_id, after=cursor.seq, limit=log.pace.read_events)
        if not page.events or (cursor.seq < page.first_seq - 1 and cursor.turn_id is not None):
            return await self._restart(room, cursor)
        if cursor.seq < page.first_seq - 1:
            return await self._enter_at(room, cursor, page)
        if cursor.encoder.is_per_turn and cursor.turn_id is not None and _has_hole(cursor.seq, page.events):
            return await self._restart(room, cursor)
        cursor.seq = page.events[-1].seq
        log.note_dones(page.events)
        return cursor.encode(page.events)

    async def _restart(self, room: Room, cursor: Cursor) -> bytes:
        """Return the frames of a snapshot of the present state, and move the cursor there."""
        log, turn_id = cursor.log, cursor.turn_id
        seq = log.published_seq
        for turn in self._turns.turns_in(room):
            if turn_id in (None, turn.turn_id):
                return cursor.skip_to(seq, turn.turn, turn.now().messages)
        record = await self._record(room, turn_id)
        if record is None:
            return cursor.skip_to(seq, None, ())
        if turn_id is None:
            return cursor.skip_to(seq, record.turn, record.messages)
        cursor.seq = record.turn.done_seq or seq
        log.note_done(turn_id, cursor.seq)
        return ended_turn_frames(record, cursor.encoder, seq)

    async def _record(self, room: Room, turn_id: str | None) -> TurnRecord | None:
        if turn_id is not None:
            ended = self._turns.find(room.owner, turn_id)  # a stateless one
            return ended.record if ended is not None else await self._store.get_turn(room.owner, turn_id)
        return await self._store.last_turn(room.owner, room.session_id)

    async def _enter_at(self, room: Room, cursor: Cursor, page: EventPage) -> bytes:
        """Skip to the retained events: to the beginning of a turn, or to the end of a partly purged one."""
        first = page.events[0]
        if first.turn_id is None or isinstance(first.event, TurnAccepted):
            return cursor.skip_to(first.seq - 1, None, ())
        record = await self._store.get_turn(room.owner, first.turn_id)
        return cursor.skip_to((record.turn.done_seq or first.seq) - 1, record.turn, record.messages)


def _has_hole(seq: int, events: Sequence[NumberedEvent]) -> bool:
    """Whether a crash lost events here. Otherwise numbers are dense, and `done` is not the first event."""
    dense = all(event.seq == expected for expected, event in enumerate(events, seq + 1))
    return not dense or isinstance(events[0].event, Done)


def ended_turn_frames(record: TurnRecord, encoder: FrameEncoder, after: int) -> bytes:
    """Return the frames of an ended turn whose log is gone: its snapshot and its `done`."""
    return b"".join(map(encoder.encode, record.as_numbered(after)))
