"""Whole sessions: how they are just now, their copies and their end.

The store keeps sessions; here stands what must happen beside it, so that rooms, cached histories, open streams and
the bytes of files agree with it. Runs no turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from chatserve.contracts.files import FileKeeper
from chatserve.contracts.store import Page, Purge, Store
from chatserve.core.errors import SessionBusy
from chatserve.core.types import Session
from chatserve.engine.readers import Readers
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.sessions.rooms import Rooms
from chatserve.settings import Settings

LOOSE_FILES_KEPT_S: Final = 24 * 3600.0
"""How long an upload may wait to be sent with a message."""

ORPHANS_KEPT_S: Final = 3600.0
"""How long bytes may lie without a record: those of an upload that is coming in have none yet."""

ENTRIES_PER_SWEEP: Final = 1000
"""How much of the files folder one pass looks at."""

SESSIONS_PER_PAGE: Final = 500


class Sessions:
    """Sessions beyond their turns."""

    def __init__(
        self,
        store: Store,
        files: FileKeeper,
        rooms: Rooms,
        histories: Histories,
        readers: Readers,
        settings: Settings,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._files = files
        self._rooms = rooms
        self._histories = histories
        self._readers = readers
        self._settings = settings
        self._clock = clock
        self._new_id = new_id

    # as they are now

    async def get(self, owner: str, session_id: str) -> Session:
        """Return a session; its `last_seq` is what readers have been shown. Raises: SessionUnknown."""
        return self.as_seen(await self._store.get_session(owner, session_id))

    async def list(self, owner: str, *, after: str | None, limit: int) -> Page:
        """Page through an owner's sessions. Raises: SessionUnknown (`after`)."""
        page = await self._store.list_sessions(owner, after=after, limit=limit)
        return Page(tuple(map(self.as_seen, page.items)), page.next)

    def as_seen(self, session: Session) -> Session:
        """Return the session with the number of the last event that was shown: a running turn is ahead of the store."""
        room = self._rooms.find(session.owner, session.session_id)
        if room is None or room.log is None:
            return session
        return replace(session, last_seq=max(session.last_seq, room.log.published_seq))

    # copies

    async def fork(self, owner: str, session_id: str, message_id: str | None, new_session_id: str) -> Session:
        """Copy a session's branch up to a message (None: all of it) into a new session.

        Raises:
            SessionUnknown, MessageUnknown: there is nothing to copy.
            SessionBusy: a turn runs or waits.
            SessionExists: the new id is taken.
        """
        async with self._rooms.locked(owner, session_id) as room:
            busy = room.current or next(iter(room.queue), None)
            if busy is not None:
                raise SessionBusy(f"session {session_id!r} is busy with turn {busy.turn_id!r}", turn_id=busy.turn_id)
            return await self._store.fork_session(
                owner,
                session_id,
                message_id=message_id,
                new_session_id=new_session_id,
                new_ids=lambda: self._new_id("m_"),
                now=self._clock(),
            )

    # their end

    async def delete(self, owner: str, session_id: str, *, if_version: int | None) -> None:
        """Delete a session with all that belongs to it. Raises: SessionUnknown, SessionBusy, VersionConflict."""
        async with self._rooms.locked(owner, session_id):
            file_ids = await self._store.delete_session(owner, session_id, if_version=if_version)
            self._forget([session_id])
        await self._files.remove(file_ids)

    async def erase(self, owner: str) -> None:
        """Remove all that belongs to an owner: sessions, logs, keys, files. Raises: SessionBusy (a turn runs)."""
        session_ids = await self._ids_of(owner)
        file_ids = await self._store.erase_owner(owner)
        self._forget(session_ids)
        await self._files.remove(file_ids)

    async def _ids_of(self, owner: str) -> Sequence[str]:
        page = await self._store.list_sessions(owner, after=None, limit=SESSIONS_PER_PAGE)
        ids = [session.session_id for session in page.items]
        while page.next is not None:
            page = await self._store.list_sessions(owner, after=page.next, limit=SESSIONS_PER_PAGE)
            ids += [session.session_id for session in page.items]
        return ids

    async def purge(self) -> None:
        """Remove what is past its time, in pieces that leave the store to others in between. Raises: StoreError."""
        now = self._clock()
        ttl_s = self._settings.session_ttl_s
        purge = Purge(
            now=now,
            events_before=now - self._settings.log_retention_s,
            files_before=now - LOOSE_FILES_KEPT_S,
            sessions_before=None if ttl_s is None else now - ttl_s,
        )
        while not (purged := await self._store.purge(purge)).is_empty:
            self._forget(purged.sessions)
            await self._files.remove(purged.file_ids)

    async def sweep_files(self) -> None:
        """Unlink bytes that a crash left without a record, a part of the folder at a time. Raises: StoreError."""
        before = self._clock() - ORPHANS_KEPT_S
        file_ids = await self._files.next_ids(ENTRIES_PER_SWEEP, leftovers_before=before)
        if file_ids:
            known = await self._store.known_files(file_ids)
            await self._files.remove([each for each in file_ids if each not in known], written_before=before)

    def _forget(self, session_ids: Collection[str]) -> None:
        """Drop what this process knows of sessions that are gone; their streams end."""
        for session_id in session_ids:
            self._histories.forget(session_id)
        for room in self._rooms.forget(session_ids):
            self._readers.close_room(room)
