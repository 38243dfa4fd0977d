"""Whole sessions: read them, change their history, copy them, delete them.

The store keeps sessions. This module keeps rooms, cached histories, open streams and the bytes of files consistent with
the store. Runs no turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from chatserve.contracts.store import HistoryMove, MovedHistory, Page, Purge
from chatserve.core.errors import SessionBusy, StoreError
from chatserve.core.events import HistoryChanged
from chatserve.core.types import Message, Session
from chatserve.engine.parts import EngineParts
from chatserve.engine.readers import Readers
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.sessions.rooms import Rooms

SESSIONS_PER_PAGE: Final = 500

HistoryOperation: TypeAlias = Literal["undo", "clear", "replace"]

logger = logging.getLogger("chatserve.engine")


class Sessions:
    """Operations on whole sessions."""

    def __init__(self, parts: EngineParts, rooms: Rooms, histories: Histories, readers: Readers) -> None:
        self._chats = parts.chats
        self._store = parts.store
        self._files = parts.files
        self._settings = parts.settings
        self._clock = parts.clock
        self._new_id = parts.new_id
        self._pace = parts.pace
        self._attachments = Attachments(parts.store)
        self._rooms = rooms
        self._histories = histories
        self._readers = readers

    # read

    async def get(self, owner: str, session_id: str) -> Session:
        """Return a session; its `last_seq` is the last published event. Raises: SessionUnknown."""
        return self.as_seen(await self._store.get_session(owner, session_id))

    async def list(self, owner: str, *, after: str | None, limit: int) -> Page:
        """Return a page of an owner's sessions. Raises: SessionUnknown (`after`)."""
        page = await self._store.list_sessions(owner, after=after, limit=limit)
        return Page(tuple(map(self.as_seen, page.items)), page.next)

    def as_seen(self, session: Session) -> Session:
        """Return the session with the last published event's number: a running turn is ahead of the store."""
        room = self._rooms.find(session.owner, session.session_id)
        if room is None or room.log is None:
            return session
        return replace(session, last_seq=max(session.last_seq, room.log.published_seq))

    # history

    async def move_history(
        self,
        owner: str,
        session_id: str,
        operation: HistoryOperation,
        if_version: int | None,
        messages: Sequence[Message] = (),
    ) -> MovedHistory:
        """Undo the last turn, clear the history but for its greeting, or replace it with a client's messages.

        The start that the messages share with the stored history stays. The others are added under new ids, so they may
        include stored messages.

        Raises:
            FileUnknown: a message names a file that does not exist.
            SessionUnknown, SessionBusy, VersionConflict, NothingToUndo: as `Store.move_history`.
        """
        if operation == "clear":
            messages = await self._greeting_of(owner, session_id)
        checked = await self._attachments.check(owner, messages)
        added = tuple(replace(message, message_id=self._new_id("m_")) for message in checked)
        async with self._rooms.locked(owner, session_id) as room:
            log = await self._rooms.log_of(room)
            move = HistoryMove(owner, session_id, operation, self._clock(), log.last_seq + 1, if_version, added)
            moved = await self._store.move_history(move)
            log.add_filed(HistoryChanged(moved.session.version, operation))
            self._histories.forget(session_id)
            return moved

    async def _greeting_of(self, owner: str, session_id: str) -> Sequence[Message]:
        """Return the messages at the start of a session that are the greeting of a chat."""
        greetings = [chat.options.greeting for chat in self._chats.values() if chat.options.greeting]
        if not greetings:
            return ()
        limit = max(map(len, greetings))
        first = await self._store.list_messages(owner, session_id, after=None, limit=limit, branches=False)
        for greeting in sorted(greetings, key=len, reverse=True):
            begun = first.items[: len(greeting)]
            if [(each.role, each.content) for each in begun] == [(each.role, each.content) for each in greeting]:
                return begun
        return ()

    # copies

    async def fork(self, owner: str, session_id: str, message_id: str | None, new_session_id: str) -> Session:
        """Copy a session's branch up to a message (None: all of it) into a new session.

        Raises:
            SessionUnknown, MessageUnknown: there is nothing to copy.
            SessionBusy: a turn runs or waits.
            SessionExists: the new id is taken.
        """
        async with self._rooms.locked(owner, session_id) as room:
            busy = room.open_turn_id
            if busy is not None:
                raise SessionBusy(f"session {session_id!r} is busy with turn {busy!r}", turn_id=busy)
            return await self._store.fork_session(
                owner,
                session_id,
                message_id=message_id,
                new_session_id=new_session_id,
                new_ids=lambda: self._new_id("m_"),
                now=self._clock(),
            )

    # removal

    async def delete(self, owner: str, session_id: str, *, if_version: int | None) -> None:
        """Delete a session and everything that belongs to it. Raises: SessionUnknown, SessionBusy, VersionConflict."""
        async with self._rooms.locked(owner, session_id):
            file_ids = await self._store.delete_session(owner, session_id, if_version=if_version)
            self._forget([session_id])
        await self._files.remove(file_ids)

    async def erase(self, owner: str) -> None:
        """Remove everything of an owner: sessions, logs, keys, files. Raises: SessionBusy (a turn runs)."""
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

    async def keep_clean(self) -> None:
        """Remove expired data and orphaned bytes at regular intervals, until cancelled.

        If the store or folder is out of reach, the next pass tries again.
        """
        while True:
            await _try(self.sweep_files())
            await asyncio.sleep(self._pace.sweep_every_s)
            await _try(self.purge())

    async def purge(self) -> None:
        """Remove expired data in pieces, so that others can use the store in between. Raises: StoreError."""
        now = self._clock()
        ttl_s = self._settings.session_ttl_s
        purge = Purge(
            now=now,
            events_before=now - self._settings.log_retention_s,
            files_before=now - self._pace.loose_files_kept_s,
            sessions_before=None if ttl_s is None else now - ttl_s,
        )
        while not (purged := await self._store.purge(purge)).is_empty:
            self._forget(purged.sessions)
            await self._files.remove(purged.file_ids)

    async def sweep_files(self) -> None:
        """Unlink bytes that a crash left without a record, in one part of the folder per pass. Raises: StoreError."""
        before = self._clock() - self._pace.orphans_kept_s
        file_ids = await self._files.next_ids(self._pace.entries_per_sweep, leftovers_before=before)
        if file_ids:
            known = await self._store.known_files(file_ids)
            await self._files.remove([each for each in file_ids if each not in known], written_before=before)

    def _forget(self, session_ids: Collection[str]) -> None:
        """Drop this process's state of deleted sessions and end their streams."""
        for session_id in session_ids:
            self._histories.forget(session_id)
        for room in self._rooms.forget(session_ids):
            self._readers.close_room(room)


async def _try(cleaning: Coroutine[Any, Any, None]) -> None:
    try:
        await cleaning
    except (StoreError, OSError) as error:
        logger.warning("what is past its time could not be removed yet: %s", error)
