"""Rooms: this process's state of each session in use, with its log, its lock and its open turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

from chatserve.contracts.store import Store
from chatserve.engine.log.log import SessionLog
from chatserve.engine.pace import Pace

LOOKED_AT: Final = 4
"""How many rooms are examined when one is added: more than one, so that a surplus of idle rooms shrinks."""


class Room:
    """This process's state of one session.

    `lock` serializes changes of the session: begin, commit, history operations. A running turn appends its events
    without it, as only one runs at a time. `session_id` is "" for a stateless turn, which has its own room.
    `running` and `waiting` are ids of turns.
    """

    __slots__ = ("_pace", "lock", "log", "owner", "readers", "running", "session_id", "users", "waiting")

    def __init__(self, owner: str, session_id: str, pace: Pace) -> None:
        self.owner = owner
        self.session_id = session_id
        self.lock = asyncio.Lock()
        self.log: SessionLog | None = None
        self.running: str | None = None
        self.waiting: list[str] = []
        self.readers = 0
        self.users = 0
        self._pace = pace

    @property
    def is_stateless(self) -> bool:
        """True for the room of a stateless turn."""
        return not self.session_id

    @property
    def is_idle(self) -> bool:
        """True when the room can be dropped without losing state."""
        return not (self.is_busy or self.readers or self.users or self.lock.locked()) and (
            self.log is None or self.log.filed_seq == self.log.last_seq
        )

    @property
    def is_busy(self) -> bool:
        """True while a turn runs or waits."""
        return self.running is not None or bool(self.waiting)

    @property
    def open_turn_id(self) -> str | None:
        """The running turn, or else the one that has waited longest, or None."""
        return self.running or (self.waiting[0] if self.waiting else None)

    def open_log(self, last_seq: int) -> SessionLog:
        """Return the log; if it is not open yet, open it after `last_seq`."""
        if self.log is None:
            self.log = SessionLog(self.session_id, last_seq, self._pace)
        return self.log

    def is_free_for(self, turn_id: str) -> bool:
        """True when the turn waits and is the next one to run."""
        return self.running is None and self.waiting[:1] == [turn_id]

    def queue(self, turn_id: str) -> None:
        """Add a turn to the end of the queue."""
        self.waiting.append(turn_id)

    def run(self, turn_id: str) -> None:
        """Make a turn the running one, whether it waited or not."""
        if turn_id in self.waiting:
            self.waiting.remove(turn_id)
        self.running = turn_id

    def end(self, turn_id: str) -> None:
        """Remove an ended turn, so that the next one can run."""
        if turn_id in self.waiting:
            self.waiting.remove(turn_id)
        if self.running == turn_id:
            self.running = None


class Rooms:
    """Rooms, the most recently used last. At most `Pace.max_idle_rooms` unused rooms stay."""

    def __init__(self, store: Store, pace: Pace) -> None:
        self._store = store
        self._pace = pace
        self._rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    def stateless(self, owner: str, *, last_seq: int = 0) -> Room:
        """Return a new room for a stateless turn, with its log open after `last_seq`."""
        room = Room(owner, "", self._pace)
        room.open_log(last_seq)
        return room

    def use(self, owner: str, session_id: str) -> Visit:
        """Enter a session's room, which stays in memory at least until it is left.

        The store checks who owns a session. A request for another owner's session gets an empty room, which is dropped
        when it is left.
        """
        return Visit(self, owner, session_id)

    def locked(self, owner: str, session_id: str) -> LockedVisit:
        """Enter a session's room and hold its lock, which allows changes of the session."""
        return LockedVisit(self, owner, session_id)

    def enter(self, owner: str, session_id: str) -> Room:
        """Return a session's room, which stays in memory until `leave`."""
        room = self.find(owner, session_id)
        if room is None:
            self._forget_idle()
            room = self._rooms[owner, session_id] = Room(owner, session_id, self._pace)
        room.users += 1
        return room

    def leave(self, room: Room) -> None:
        """Leave a room that was entered."""
        room.users -= 1
        if room.log is None and room.is_idle:
            self._rooms.pop((room.owner, room.session_id), None)

    def find(self, owner: str, session_id: str) -> Room | None:
        """Return the room of a session, or None."""
        room = self._rooms.get((owner, session_id))
        if room is not None:
            self._rooms.move_to_end((owner, session_id))
        return room

    async def log_of(self, room: Room) -> SessionLog:
        """Return the log of a room; the caller holds its lock. Raises: SessionUnknown."""
        if room.log is None:
            session = await self._store.get_session(room.owner, room.session_id)
            return room.open_log(session.last_seq)
        return room.log

    def forget(self, session_ids: Collection[str]) -> Sequence[Room]:
        """Drop the rooms of deleted sessions and return them.

        A room that other tasks wait to enter stays. If they create the session again, its numbering continues.
        """
        gone = set(session_ids)
        rooms = [room for room in self._rooms.values() if room.session_id in gone]
        for room in rooms:
            if room.users <= 1 and not room.is_busy:
                del self._rooms[room.owner, room.session_id]
        return rooms

    def _forget_idle(self) -> None:
        """Make space for one more room: of the oldest few, drop idle ones and mark those in use as the newest."""
        for _ in range(min(LOOKED_AT, len(self._rooms) + 1 - self._pace.max_idle_rooms)):
            key, room = next(iter(self._rooms.items()))
            if room.is_idle:
                del self._rooms[key]
            else:
                self._rooms.move_to_end(key)


class Visit:
    """A context manager that enters a room and leaves it at the end."""

    __slots__ = ("_owner", "_rooms", "_session_id", "room")

    room: Room

    def __init__(self, rooms: Rooms, owner: str, session_id: str) -> None:
        self._rooms, self._owner, self._session_id = rooms, owner, session_id

    def __enter__(self) -> Room:
        self.room = self._rooms.enter(self._owner, self._session_id)
        return self.room

    def __exit__(self, *_: object) -> None:
        self._rooms.leave(self.room)


class LockedVisit(Visit):
    """A context manager that enters a room, holds its lock, and leaves it at the end."""

    __slots__ = ()

    async def __aenter__(self) -> Room:
        room = self.__enter__()
        try:
            await room.lock.acquire()
        except BaseException:
            self._rooms.leave(room)
            raise
        return room

    async def __aexit__(self, *_: object) -> None:
        self.room.lock.release()
        self._rooms.leave(self.room)
