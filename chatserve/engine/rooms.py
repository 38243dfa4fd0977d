"""The rooms of this process, by session; idle ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

from chatserve.contracts import Store
from chatserve.engine.log import SessionLog
from chatserve.engine.room import Room

MAX_IDLE_ROOMS: Final = 4096


class Rooms:
    """Rooms, the most recently used last. At most `MAX_IDLE_ROOMS` stay when nobody is in them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    @asynccontextmanager
    async def use(self, owner: str, session_id: str) -> AsyncIterator[Room]:
        """Enter a session's room; it is kept at least until it is left.

        Ownership is the store's to check: who asks for a stranger's session enters a room of his own, which leads
        nowhere and is gone when he leaves.
        """
        room = self.find(owner, session_id)
        if room is None:
            room = self._rooms[owner, session_id] = Room(owner, session_id)
            self._forget_idle()
        room.users += 1
        try:
            yield room
        finally:
            room.users -= 1
            if room.log is None and room.is_idle:
                self._rooms.pop((owner, session_id), None)

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
        surplus = len(self._rooms) - MAX_IDLE_ROOMS
        if surplus <= 0:
            return
        oldest = islice(self._rooms.items(), 4 * surplus)
        for key in [key for key, room in oldest if room.is_idle][:surplus]:
            del self._rooms[key]
