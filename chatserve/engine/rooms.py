"""The rooms of this process, by session; idle ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chatserve.contracts import Store
from chatserve.engine.log import SessionLog
from chatserve.engine.room import Room
from chatserve.errors import SessionUnknown

MAX_IDLE_ROOMS: Final = 4096


class Rooms:
    """Rooms, the most recently used last. At most `MAX_IDLE_ROOMS` stay when nobody is in them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: OrderedDict[str, Room] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    @asynccontextmanager
    async def use(self, owner: str, session_id: str) -> AsyncIterator[Room]:
        """Enter a session's room; it is kept at least until it is left. Ownership is the store's to check.

        Raises:
            SessionUnknown: somebody else is in that room.
        """
        room = self.find(session_id)
        if room is None:
            room = self._rooms[session_id] = Room(owner, session_id)
            self._forget_idle()
        elif room.owner != owner:
            raise SessionUnknown(f"no session {session_id!r}")
        room.users += 1
        try:
            yield room
        finally:
            room.users -= 1

    def find(self, session_id: str) -> Room | None:
        """Return the room of a session if there is one."""
        room = self._rooms.get(session_id)
        if room is not None:
            self._rooms.move_to_end(session_id)
        return room

    async def log_of(self, room: Room) -> SessionLog:
        """Return the log of a room; the caller holds its lock. Raises: SessionUnknown."""
        if room.log is None:
            session = await self._store.get_session(room.owner, room.session_id)
            room.open_log(session.last_seq)
        assert room.log is not None
        return room.log

    def forget(self, session_id: str) -> None:
        """Forget a session that was deleted."""
        self._rooms.pop(session_id, None)

    def _forget_idle(self) -> None:
        surplus = len(self._rooms) - MAX_IDLE_ROOMS
        if surplus <= 0:
            return
        for session_id in [s for s, room in list(self._rooms.items())[: 4 * surplus] if room.is_idle][:surplus]:
            del self._rooms[session_id]
