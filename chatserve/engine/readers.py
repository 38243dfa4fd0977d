"""Readers: who follows a log at this moment, and what becomes of those that are silent, stalled or let go.

Whatever becomes of a reader, the turn does not notice. Knows no HTTP.
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
    """Somebody who follows a log, and where they are in it.

    `closed_by` tells who let the stream end before its own end: its client left, its session was removed, or the server
    goes. `task` is what sends to the client, while something does.
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
        """Return the frames of all that is new, as `Cursor.take` does."""
        return self.cursor.take(share=self.room.readers > 1)

    @property
    def owes_rest(self) -> bool:
        """True when a stream that others than its client end has not yet sent all that the log has in memory."""
        cursor = self.cursor
        return self.closed_by != "client" and cursor.has_more and not cursor.needs_store

    @property
    def is_owed(self) -> bool:
        """True while a client that still reads has not got all of a turn that is over, or of what its session said."""
        cursor = self.cursor
        if self.closed_by is not None:
            return False
        return cursor.turn_id is not None or cursor.has_more or not cursor.is_waiting

    @property
    def is_over(self) -> bool:
        """True when the stream has all that it will get: it is at its end, or was closed and has what there is."""
        return self.cursor.is_at_end or (self.closed_by is not None and not self.owes_rest)

    def close(self, by: Literal["client", "session", "server"]) -> None:
        """Let the stream end. A client that has left gets nothing more, whoever else closes it."""
        if self.closed_by != "client":
            self.closed_by = by
        self.cursor.wake()


class Readers:
    """All readers of this process, and requests that wait for a turn's end. `max_readers` bounds both."""

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
        """Count somebody in who is interested in a room's turns. Raises: Overloaded."""
        if self._count >= self._max_readers:
            raise Overloaded(f"{self._count} streams are open, the limit is {self._max_readers}; try again later")
        self._count += 1
        room.readers += 1

    def leave(self, room: Room) -> bool:
        """Count somebody out; True when it was the last one in the room."""
        self._count -= 1
        room.readers -= 1
        return room.readers == 0

    def attach(self, reader: Reader) -> None:
        """Count a reader in. Raises: Overloaded."""
        self.enter(reader.room)
        self._readers.add(reader)

    def detach(self, reader: Reader) -> bool:
        """Count a reader out, whose response is over; True when it was the last one in its room."""
        reader.cursor.outlet = None
        if reader not in self._readers:
            return False
        self._readers.remove(reader)
        return self.leave(reader.room)

    def tick(self, ping_ticks: int, stall_ticks: int) -> None:
        """Count the silence of every reader; wake those that owe a ping, drop those whose client takes nothing.

        Called once a second, so that no stream needs a timer of its own. What is dropped may come back with its cursor.
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

    def close_room(self, room: Room) -> None:
        """End the streams of a room whose session is gone."""
        for reader in [reader for reader in self._readers if reader.room is room]:
            reader.close("session")

    async def settle(self, timeout_s: float) -> None:
        """Return when all that was said has been sent to those who still read, or when the time is up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while loop.time() < until and any(reader.is_owed for reader in self._readers):  # noqa: ASYNC110 - see `tick`
            await asyncio.sleep(self._pace.settle_poll_s)

    def say_bye(self) -> None:
        """Let every reader tell its client that the server goes away."""
        for reader in list(self._readers):
            reader.close("server")

    async def first_words(self, reader: Reader) -> bytes:
        """Return the frames with which an answer begins; b"" if it does not begin soon."""
        cursor = reader.cursor
        self._awaiting_words.add(cursor)
        try:
            return await cursor.news()
        finally:
            self._awaiting_words.discard(cursor)

    async def first_frames(self, reader: Reader) -> bytes:
        """Return the first frames there are; b"" if the stream is over before. Raises: as `next_frames`."""
        while not (frames := reader.take() or (b"" if reader.is_over else await self.next_frames(reader))):
            if reader.is_over:
                break
        return frames

    async def next_frames(self, reader: Reader) -> bytes:
        """Return the frames that come next, when none can be taken; b"" when it is time to look again.

        Raises:
            StoreError, NotFound: the log is gone from memory, and the store does not have it.
        """
        cursor = reader.cursor
        if cursor.needs_store:
            return await self._feed.catch_up(reader.room, cursor)
        return b"" if cursor.has_more else await cursor.news()
