"""The store that keeps everything in this process, for tests and for servers that may lose their sessions.

Nothing outlives the process. Within it, every promise of the contract holds: no method awaits anything between its
first read and its last change, so each is one transaction. Knows no disk and no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from chatserve.contracts.store import (
    EventPage,
    HistoryMove,
    MovedHistory,
    Page,
    Purge,
    Purged,
    SessionChanges,
    SessionRecord,
)
from chatserve.contracts.turns import (
    BeginTurn,
    BegunTurn,
    CommittedTurn,
    CommitTurn,
    Idempotency,
    NewSession,
    TurnRecord,
)
from chatserve.core.errors import ChatserveError, ConfigurationError, StoreError
from chatserve.core.events import LogEntry, spelled_out
from chatserve.core.frozen import replace
from chatserve.core.types import Feedback, Message, Session, StoredFile, Turn
from chatserve.stores import branches as trees
from chatserve.stores import refusals, transitions
from chatserve.stores.memory.files import FileRecords
from chatserve.stores.memory.rooms import Room, copied


class MemoryStore:
    """A `Store` in dicts. `open` after `close` finds the same content, as after a crash."""

    shared = False

    def __init__(self, url: str = "memory://") -> None:
        if url != "memory://":
            raise ConfigurationError(f"store: {url!r} is not a memory store URL; write memory://")
        self._is_open = False
        self._rooms: dict[str, Room] = {}
        self._room_of_turn: dict[str, Room] = {}
        self._room_of_message: dict[str, Room] = {}
        self._files = FileRecords()
        self._keys: dict[tuple[str, str], tuple[Idempotency, str]] = {}

    async def open(self, *, now: float) -> tuple[Turn, ...]:
        self._is_open = True
        return tuple(turn for room in self._rooms.values() for turn in self._recover(room, now))

    def _recover(self, room: Room, now: float) -> Iterator[Turn]:
        events = [event for segment in room.segments for event in spelled_out(segment.events)]
        for place, turn in enumerate(room.open_turns()):
            if place == 0:
                room.segments.clear()
            begun = turn if turn.status == "running" else room.join_turn(turn, now).turn
            done_seq = transitions.next_done_seq(room.session, is_first=place == 0)
            yield self._end_turn(room, transitions.interrupt_turn(room.session, begun, events, done_seq, now)).turn

    async def close(self) -> None:
        self._is_open = False

    async def check(self) -> None:
        if not self._is_open:
            raise StoreError("the store is closed")

    # sessions

    async def create_session(self, new: NewSession, *, now: float) -> Session:
        if new.session_id in self._rooms:
            raise refusals.session_exists(new.session_id)
        return copied(self._create(new, now).session)

    def _create(self, new: NewSession, now: float) -> Room:
        room = self._rooms[new.session_id] = Room(copied(transitions.create_session(new, now)))
        self._add_messages(room, new.messages)
        return room

    def _room(self, owner: str, session_id: str) -> Room:
        return _owned(self._rooms.get(session_id), owner, refusals.session_unknown(session_id))

    async def get_session(self, owner: str, session_id: str) -> Session:
        return copied(self._room(owner, session_id).session)

    async def list_sessions(self, owner: str, *, after: str | None, limit: int) -> Page:
        own = [room.session for room in reversed(self._rooms.values()) if room.session.owner == owner]
        own.sort(key=lambda session: session.created_at, reverse=True)
        page = _page({session.session_id: session for session in own}, after, limit, refusals.session_unknown)
        return replace(page, items=tuple(map(copied, page.items)))

    async def update_session(
        self, owner: str, session_id: str, changes: SessionChanges, *, now: float, if_version: int | None = None
    ) -> Session:
        room = self._room(owner, session_id)
        refusals.check_version(room.session, if_version)
        room.session = copied(transitions.update_session(room.session, changes, now))
        return copied(room.session)

    async def delete_session(self, owner: str, session_id: str, *, if_version: int | None = None) -> tuple[str, ...]:
        room = self._room(owner, session_id)
        refusals.check_version(room.session, if_version)
        refusals.check_idle(session_id, room.open_turn_id)
        return self._remove([room])

    def _remove(self, rooms: Sequence[Room]) -> tuple[str, ...]:
        """Remove sessions with everything that belongs to them; return the ids of files that now belong to none."""
        for room in rooms:
            del self._rooms[room.session.session_id]
            for message_id in room.messages:
                del self._room_of_message[message_id]
        self._forget_turns({turn_id for room in rooms for turn_id in room.turns})
        return tuple(self._files.detach({room.session.session_id for room in rooms}))

    def _forget_turns(self, turn_ids: Collection[str]) -> None:
        for turn_id in turn_ids:
            del self._room_of_turn[turn_id]
        self._keys = {key: kept for key, kept in self._keys.items() if kept[1] not in turn_ids}

    # turns

    async def begin_turn(self, begin: BeginTurn) -> BegunTurn:
        if (replayed := self._replay(begin)) is not None:
            return replayed
        room = self._room_for(begin)
        refusals.check_version(room.session, begin.request.call.if_version)
        if begin.status == "running":
            refusals.check_idle(begin.request.session_id, room.open_turn_id)
        added, prompt, place = room.place_turn(begin)
        if begin.request.session_id not in self._rooms:
            self._rooms[begin.request.session_id] = room
            self._add_messages(room, tuple(room.messages.values()))
        self._add_messages(room, added)
        self._room_of_turn[begin.turn_id] = room
        if begin.request.idempotency is not None:
            self._keys[begin.request.owner, begin.request.idempotency.key] = begin.request.idempotency, begin.turn_id
        return room.accept_turn(begin, prompt, place)

    def _replay(self, begin: BeginTurn) -> BegunTurn | None:
        if begin.request.idempotency is None:
            return None
        turn_id = self._known_id(begin.request.owner, begin.request.idempotency, begin.now)
        if turn_id is None:
            return None
        if turn_id not in self._room_of_turn:
            refusals.check_key(begin.request.idempotency, None)
        room = self._room_of_turn[turn_id]
        return replace(room.begun(room.turns[turn_id]), replayed=True)

    def _known_id(self, owner: str, idempotency: Idempotency, now: float) -> str | None:
        """Return the id that a key stands for, or None. Raises: IdempotencyConflict."""
        kept, made_id = self._keys.get((owner, idempotency.key), (None, ""))
        if kept is None or kept.expires_at <= now:
            return None
        refusals.check_key(idempotency, kept.body_hash)
        return made_id

    async def claim_key(self, owner: str, idempotency: Idempotency, made_id: str, *, now: float) -> str | None:
        known_id = self._known_id(owner, idempotency, now)
        if known_id is None:
            if made_id in self._rooms:
                raise refusals.session_exists(made_id)
            self._keys[owner, idempotency.key] = idempotency, made_id
        return known_id

    def _room_for(self, begin: BeginTurn) -> Room:
        """Return the session's room. The caller keeps a new one only when nothing can fail any more."""
        if begin.request.session_id in self._rooms or begin.create is None:
            return self._room(begin.request.owner, begin.request.session_id)
        room = Room(copied(transitions.create_session(begin.create, begin.now)))
        room.messages = {message.message_id: message for message in begin.create.messages}
        return room

    async def start_turn(self, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
        room = self._room_of(owner, turn_id)
        turn = room.turns[turn_id]
        if (turn.session_id, turn.status) != (session_id, "queued"):
            raise refusals.turn_unknown(turn_id)
        refusals.check_idle(session_id, room.running_turn_id)
        return room.join_turn(turn, now)

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[LogEntry]]], *, now: float, durable: bool
    ) -> None:
        """Do nothing: the process would take the journal with it."""

    async def append_events(self, session_id: str, events: Sequence[LogEntry], *, now: float) -> None:
        if session_id not in self._rooms:
            raise refusals.session_unknown(session_id)
        self._rooms[session_id].append_events(events, now)

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        lost = refusals.lease_lost(commit.turn_id)
        room = _owned(self._rooms.get(commit.session_id), commit.owner, lost)
        if commit.turn_id not in room.open_turn_ids:
            raise lost
        return self._end_turn(room, commit)

    def _end_turn(self, room: Room, commit: CommitTurn) -> CommittedTurn:
        committed = room.end_turn(commit)
        self._add_messages(room, committed.done.messages)
        return committed

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        room = self._room_of(owner, turn_id)
        return room.record_of(room.turns[turn_id])

    def _room_of(self, owner: str, turn_id: str) -> Room:
        return _owned(self._room_of_turn.get(turn_id), owner, refusals.turn_unknown(turn_id))

    async def last_turn(self, owner: str, session_id: str) -> TurnRecord | None:
        room = self._room(owner, session_id)
        turn = transitions.last_begun(room.turns.values())
        return None if turn is None else room.record_of(turn)

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        left = self._room_of(owner, turn_id).forget_turn(turn_id)
        self._forget_turns([turn_id])
        return left

    # messages

    def _add_messages(self, room: Room, messages: Sequence[Message]) -> None:
        """Keep messages, and attach the files they refer to to their session."""
        for message in messages:
            room.messages[message.message_id] = message
            self._room_of_message[message.message_id] = room
        self._files.attach(room.session, trees.file_ids(messages))

    async def get_message(self, owner: str, message_id: str) -> Message:
        return self._room_with(owner, message_id).messages[message_id]

    def _room_with(self, owner: str, message_id: str) -> Room:
        return _owned(self._room_of_message.get(message_id), owner, refusals.message_unknown(message_id))

    async def read_branch(self, owner: str, session_id: str, head: str | None) -> tuple[Message, ...]:
        room = self._room(owner, session_id)
        if head is not None and head not in room.messages:
            raise refusals.message_unknown(head)
        return room.branch(head)

    async def list_messages(
        self, owner: str, session_id: str, *, after: str | None, limit: int, branches: bool
    ) -> Page:
        room = self._room(owner, session_id)
        branch = room.messages.values() if branches else room.branch(room.session.head)
        return _page({message.message_id: message for message in branch}, after, limit, refusals.message_unknown)

    async def move_history(self, move: HistoryMove) -> MovedHistory:
        room = self._room(move.owner, move.session_id)
        refusals.check_version(room.session, move.if_version)
        refusals.check_idle(move.session_id, room.open_turn_id)
        end = room.end_of(move)
        refusals.check_new(end.added, self._room_of_message)
        self._add_messages(room, end.added)
        return room.move_history(move, end)

    async def fork_session(
        self,
        owner: str,
        session_id: str,
        *,
        message_id: str | None,
        new_session_id: str,
        new_ids: Callable[[], str],
        now: float,
    ) -> Session:
        session = self._room(owner, session_id).session
        copies = trees.copy_branch(await self.read_branch(owner, session_id, message_id or session.head), new_ids)
        return await self.create_session(transitions.fork(session, new_session_id, copies), now=now)

    async def set_feedback(
        self, owner: str, message_id: str, feedback: Feedback, *, now: float, if_version: int | None = None
    ) -> tuple[Session, Message]:
        room = self._room_with(owner, message_id)
        if room.messages[message_id].role == "user":
            raise refusals.message_unknown(message_id)
        refusals.check_version(room.session, if_version)
        message = room.messages[message_id] = replace(room.messages[message_id], feedback=feedback)
        room.session = transitions.next_version(room.session, now)
        return copied(room.session), message

    # the log and files

    async def read_events(self, session_id: str, *, after: int, limit: int) -> EventPage:
        if session_id not in self._rooms:
            raise refusals.session_unknown(session_id)
        return self._rooms[session_id].read_events(after, limit)

    async def add_file(self, file: StoredFile) -> None:
        if file.session_id is not None:
            self._room(file.owner, file.session_id)
        self._files.add(file)

    async def get_files(self, owner: str, file_ids: Sequence[str]) -> tuple[StoredFile, ...]:
        return tuple(self._files.get(owner, file_id) for file_id in file_ids)

    async def known_files(self, file_ids: Sequence[str]) -> frozenset[str]:
        return self._files.known(file_ids)

    async def attach_files(self, owner: str, session_id: str, file_ids: Sequence[str]) -> None:
        room = self._room(owner, session_id)
        await self.get_files(owner, file_ids)  # all of them, or none
        self._files.attach(room.session, file_ids)

    # moving and removing

    async def export_session(self, owner: str, session_id: str) -> SessionRecord:
        room = self._room(owner, session_id)
        messages, turns = tuple(room.messages.values()), tuple(room.turns.values())
        return SessionRecord(copied(room.session), messages, turns, self._files.of_session(session_id))

    async def import_session(self, record: SessionRecord) -> Session:
        trees.check_tree(record.messages, record.session.head)
        session = record.session
        if self._is_taken(record):
            raise refusals.session_exists(session.session_id)
        room = self._rooms[session.session_id] = Room(copied(session))
        for file in record.files:
            self._files.add(replace(file, session_id=session.session_id))
        self._add_messages(room, transitions.imported_messages(record))
        for turn, place in transitions.imported_turns(record):
            room.turns[turn.turn_id], room.places[turn.turn_id] = turn, place
            self._room_of_turn[turn.turn_id] = room
        return copied(session)

    def _is_taken(self, record: SessionRecord) -> bool:
        owner = record.session.owner
        return (
            record.session.session_id in self._rooms
            or any(message.message_id in self._room_of_message for message in record.messages)
            or any(turn.turn_id in self._room_of_turn for turn in record.turns)
            or any(self._files.is_foreign(file, owner) for file in record.files)
        )

    async def erase_owner(self, owner: str) -> tuple[str, ...]:
        rooms = [room for room in self._rooms.values() if room.session.owner == owner]
        for room in rooms:
            refusals.check_idle(room.session.session_id, room.open_turn_id)
        freed = self._remove(rooms)
        self._keys = {key: kept for key, kept in self._keys.items() if key[0] != owner}
        return (*freed, *self._files.drop_owned(owner))

    async def purge(self, purge: Purge) -> Purged:
        rooms = [room for room in self._rooms.values() if _is_expired(room, purge)][: purge.limit]
        freed = self._remove(rooms)
        loose = self._files.drop_loose(purge.files_before, purge.limit)
        keys = [key for key, kept in self._keys.items() if kept[0].expires_at < purge.now][: purge.limit]
        for key in keys:
            del self._keys[key]
        segments = 0
        for room in self._rooms.values():
            segments += room.purge_segments(purge.events_before, purge.limit - segments)
        return Purged(tuple(room.session.session_id for room in rooms), (*freed, *loose), segments, len(keys))


def _is_expired(room: Room, purge: Purge) -> bool:
    session = room.session
    is_over = session.expires_at is not None and session.expires_at < purge.now
    is_old = purge.sessions_before is not None and session.updated_at < purge.sessions_before
    return (is_over or is_old) and room.open_turn_id is None


def _owned(room: Room | None, owner: str, unknown: Exception) -> Room:
    """Return a room if the owner has it. Raises: `unknown`."""
    if room is None or room.session.owner != owner:
        raise unknown
    return room


def _page(items: Mapping[str, object], after: str | None, limit: int, unknown: Callable[[str], ChatserveError]) -> Page:
    """Return the items behind that of the id `after`. Raises: `unknown`, if there is no such item."""
    if after is not None and after not in items:
        raise unknown(after)
    ids = list(items)
    start = 0 if after is None else ids.index(after) + 1
    chosen = ids[start : start + limit]
    return Page(tuple(items[each] for each in chosen), chosen[-1] if start + limit < len(ids) else None)
