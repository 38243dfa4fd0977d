"""The rooms of this process, by session; idle ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

from chatserve.contracts.store import Store
from chatserve.engine.log.log import SessionLog
from chatserve.engine.sessions.room import Room

MAX_IDLE_ROOMS: Final = 4096

LOOKED_AT: Final = 4
"""How many rooms are looked at when one is added: more than one, so that a surplus of idle ones shrinks."""


class Rooms:
    """Rooms, the most recently used last. At most `MAX_IDLE_ROOMS` stay when nobody is in them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    def use(self, owner: str, session_id: str) -> Visit:
        """Enter a session's room; it is kept at least until it is left.

        Ownership is the store's to check: who asks for a stranger's session enters a room of his own, which leads
        nowhere and is gone when he leaves.
        """
        return Visit(self, owner, session_id)

    def locked(self, owner: str, session_id: str) -> LockedVisit:
        """Enter a session's room, and be the only one to change the session until it is left."""
        return LockedVisit(self, owner, session_id)

    def enter(self, owner: str, session_id: str) -> Room:
        """Return a session's room, which is kept until `leave`."""
        room = self.find(owner, session_id)
        if room is None:
            self._forget_idle()
            room = self._rooms[owner, session_id] = Room(owner, session_id)
        room.users += 1
        return room

    def leave(self, room: Room) -> None:
        """Give up a room that was entered."""
        room.users -= 1
        if room.log is None and room.is_idle:
            self._rooms.pop((room.owner, room.session_id), None)

    def find(self, owner: str, session_id: str) -> Room | None:
        """Return the room of a session if there is one."""
        room = self._rooms.get((owner, session_id))
        if room is not None:
            self._rooms.move_to_end((owner, session_id))
        return room

    async def log_of(self, room: Room) -> SessionLog:
        """Return the log of a room; the caller holds its lock. Raises: SessionUnknown."""
        if room.log is None:
            session = await self._store.get_session(room.owner, room.session_id)
            room.open_log(session.last_seq)
        assert room.log is not None
        return room.log

    def forget(self, session_ids: Collection[str]) -> Sequence[Room]:
        """Forget sessions that are gone; return the rooms they had.

        Where others wait to enter, the room stays for them, and its numbering goes on should they make the session
        anew.
        """
        gone = set(session_ids)
        rooms = [room for room in self._rooms.values() if room.session_id in gone]
        for room in rooms:
            if room.users <= 1 and not room.is_busy:
                del self._rooms[room.owner, room.session_id]
        return rooms

    def _forget_idle(self) -> None:
        """Make place for one more: look at the oldest few; those in use become the newest, and are not asked again."""
        for _ in range(min(LOOKED_AT, len(self._rooms) + 1 - MAX_IDLE_ROOMS)):
            key, room = next(iter(self._rooms.items()))
            if room.is_idle:
                del self._rooms[key]
            else:
                self._rooms.move_to_end(key)


class Visit:
    """Somebody in a room, from `with` to its end."""

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
    """Somebody in a room with its lock, from `async with` to its end."""

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
