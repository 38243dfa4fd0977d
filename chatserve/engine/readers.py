"""Readers of logs: counting, pings on silent streams, disconnecting stalled clients, draining.

Nothing that happens to a reader affects its turn directly. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from chatserve.core.errors import Overloaded
from chatserve.engine.cursors import Cursor, StoreFeed
from chatserve.engine.pace import Pace
from chatserve.engine.sessions.rooms import Room
from chatserve.engine.timeouts import Timeouts


class Reader:
    """A client that follows a log, with its position.

    `closed_by` says why the stream ended early: its client left, its session was deleted, or the server stops. `task`
    is the task that sends to the client, if there is one.
    """

    __slots__ = ("closed_by", "cursor", "is_stalled", "room", "silent_ticks", "task", "ticked_at")

    def __init__(self, room: Room, cursor: Cursor) -> None:
        self.room = room
        self.cursor = cursor
        self.closed_by: Literal["client", "session", "server"] | None = None
        self.silent_ticks = 0
        self.ticked_at = cursor.seq
        self.is_stalled = False
        self.task: asyncio.Task[object] | None = None

    def take(self) -> bytes:
        """Return the frames of new events, as `Cursor.take` does."""
        return self.cursor.take(share=self.room.readers > 1)

    @property
    def owes_rest(self) -> bool:
        """True if the client has not left and the log in memory has events that were not taken yet."""
        cursor = self.cursor
        return self.closed_by != "client" and cursor.has_more and not cursor.needs_store

    @property
    def is_owed(self) -> bool:
        """True while a client has not received everything: its turn up to the end, or its session's events so far."""
        cursor = self.cursor
        if self.closed_by is not None:
            return False
        return cursor.turn_id is not None or cursor.has_more or not cursor.is_waiting

    @property
    def is_over(self) -> bool:
        """True when the stream gets no more frames: it is at its end, or was closed and has all existing events."""
        return self.cursor.is_at_end or (self.closed_by is not None and not self.owes_rest)

    def close(self, by: Literal["client", "session", "server"]) -> None:
        """End the stream early. If the client has left, later calls do not change the reason."""
        if self.closed_by != "client":
            self.closed_by = by
        self.cursor.wake()


class Readers:
    """All readers of this process, and requests that wait for a turn's end. `max_readers` limits both together."""

    def __init__(self, feed: StoreFeed, max_readers: int, pace: Pace) -> None:
        self._feed = feed
        self._pace = pace
        self._max_readers = max_readers
        self._readers: set[Reader] = set()
        self._count = 0
        self._awaiting_words = Timeouts[Cursor](pace.first_words_s, Cursor.wake)

    def __len__(self) -> int:
        return self._count

    def enter(self, room: Room) -> None:
        """Count a reader or a waiting request of a room. Raises: Overloaded."""
        if self._count >= self._max_readers:
            raise Overloaded(f"{self._count} streams are open, the limit is {self._max_readers}; try again later")
        self._count += 1
        room.readers += 1

    def leave(self, room: Room) -> bool:
        """Remove a reader or a waiting request from the count; return whether it was the room's last."""
        self._count -= 1
        room.readers -= 1
        return room.readers == 0

    def attach(self, reader: Reader) -> None:
        """Add a reader. Raises: Overloaded."""
        self.enter(reader.room)
        self._readers.add(reader)

    def detach(self, reader: Reader) -> bool:
        """Remove a reader whose response has ended; return whether it was the room's last."""
        reader.cursor.outlet = None
        if reader not in self._readers:
            return False
        self._readers.remove(reader)
        return self.leave(reader.room)

    def tick(self, ping_ticks: int, stall_ticks: int) -> None:
        """Count the silence of every reader; wake those due for a ping, end those whose client receives nothing.

        Called once per tick, so that no stream needs its own timer. A disconnected client may resume with its cursor.
        """
        for reader in list(self._readers):
            seq = reader.cursor.seq
            reader.silent_ticks = reader.silent_ticks + 1 if seq == reader.ticked_at else 1
            reader.ticked_at = seq
            if reader.cursor.is_waiting:
                if reader.silent_ticks >= ping_ticks:
                    reader.cursor.wake()
            elif reader.silent_ticks > stall_ticks and reader.task is not None:
                reader.is_stalled = True
                reader.task.cancel()

    def wake_later(self, owner: str, session_id: str, delay_s: float) -> None:
        """Wake the readers that a session has then, so that each asks for frames that no event brings."""
        asyncio.get_running_loop().call_later(delay_s, self._wake, owner, session_id)

    def _wake(self, owner: str, session_id: str) -> None:
        for reader in self._readers:
            if (reader.room.owner, reader.room.session_id) == (owner, session_id):
                reader.cursor.wake()

    def close_room(self, room: Room) -> None:
        """End the streams of a room whose session was deleted."""
        for reader in [reader for reader in self._readers if reader.room is room]:
            reader.close("session")

    async def settle(self, timeout_s: float) -> None:
        """Return when all readers were sent everything that was published, or when the time is up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while loop.time() < until and any(reader.is_owed for reader in self._readers):  # noqa: ASYNC110 - see `tick`
            await asyncio.sleep(self._pace.settle_poll_s)

    def say_bye(self) -> None:
        """End all streams because the server stops; each sends its farewell."""
        for reader in list(self._readers):
            reader.close("server")

    async def first_words(self, reader: Reader) -> bytes:
        """Return the first frames of an answer; b"" if it does not begin soon."""
        cursor = reader.cursor
        self._awaiting_words.add(cursor)
        try:
            return await cursor.news()
        finally:
            self._awaiting_words.discard(cursor)

    async def first_frames(self, reader: Reader) -> bytes:
        """Return the first frames of a stream; b"" if it ends without any. Raises: as `next_frames`."""
        while not (frames := reader.take() or (b"" if reader.is_over else await self.next_frames(reader))):
            if reader.is_over:
                break
        return frames

    async def next_frames(self, reader: Reader) -> bytes:
        """Wait for the next frames, when none can be taken, and return them; b"": check the reader again.

        Raises:
            StoreError, NotFound: the log is gone from memory, and the store does not have it.
        """
        cursor = reader.cursor
        if cursor.needs_store:
            return await self._feed.catch_up(reader.room, cursor)
        return b"" if cursor.has_more else await cursor.news()
