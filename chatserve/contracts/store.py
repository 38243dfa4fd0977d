"""`Store`: the storage of sessions, and the values it takes and returns. Knows no implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from chatserve.contracts.turns import (
    BeginTurn,
    BegunTurn,
    CommittedTurn,
    CommitTurn,
    Idempotency,
    NewSession,
    TurnRecord,
)
from chatserve.core.events import LogEntry, NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    Feedback,
    Json,
    Message,
    Session,
    StoredFile,
    Turn,
)


@frozen
class Page:
    """One page of a list. `next` is the id to pass as `after`, or None at the end."""

    items: tuple[Any, ...]
    next: str | None


@frozen
class EventPage:
    """Stored events after a cursor.

    `first_seq` is the lowest number still retained, or `last_seq + 1` if none is. A reader whose cursor is below
    `first_seq - 1`, or above `last_seq`, has missed events and needs a snapshot.
    """

    events: tuple[NumberedEvent, ...]
    first_seq: int
    last_seq: int


@frozen
class SessionChanges:
    """Changes to a session; None leaves a field as it is. `title=""` removes the title."""

    title: str | None = None
    metadata: Mapping[str, Json] | None = None
    state: Mapping[str, Json] | None = None


@frozen
class HistoryMove:
    """A history operation that runs no function. `seq` numbers the `history` event the store writes with it.

    `undo` moves the head before the last user message of the branch, which the outcome returns. `clear` moves it
    before the first message, or behind those of `messages` with which the branch begins, and empties the session's
    state. `replace` makes `messages` the whole history, as
    `BeginTurn` does: the store keeps the longest common start and appends the rest, with the given ids and as messages
    of no turn. The state stays.
    """

    owner: str
    session_id: str
    operation: Literal["undo", "clear", "replace"]
    now: float
    seq: int
    if_version: int | None = None
    messages: tuple[Message, ...] = ()


@frozen
class MovedHistory:
    """The session after a history operation and, for `undo`, the user message that was undone."""

    session: Session
    message: Message | None


@frozen
class SessionRecord:
    """Everything that belongs to one session, for export and import: every branch, not only the current one."""

    session: Session
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    files: tuple[StoredFile, ...]


@frozen
class Purge:
    """What one janitor pass removes, at most `limit` rows of each kind.

    It removes log segments of ended turns stored before `events_before`, idempotency keys and sessions whose
    `expires_at` is before `now`, sessions last changed before `sessions_before` (None: none), and files that belong to
    no session and were created before `files_before`. It skips sessions with an open turn.
    """

    now: float
    events_before: float
    files_before: float
    sessions_before: float | None = None
    limit: int = 1000


@frozen
class Purged:
    """What a janitor pass removed. `file_ids` are files whose bytes must now be unlinked."""

    sessions: tuple[str, ...]
    file_ids: tuple[str, ...]
    segments: int
    idempotency_keys: int

    @property
    def is_empty(self) -> bool:
        """True if the pass removed nothing."""
        return not (self.sessions or self.file_ids or self.segments or self.idempotency_keys)


class Store(Protocol):
    """Stores sessions, messages, turns, file records and the newest part of each log.

    Each method is one transaction: it completes durably, or it raises and changes nothing. Every method that takes an
    `owner` treats another owner's id exactly as an unknown one. Messages are append-only rows with a `parent_id`; a
    session's `head` is the newest row of its current branch. All methods may raise `StoreError` (out of reach: 503,
    retryable) or `StoreFull` (disk full: 507).

    The version of a session starts at 1 when it is created. It grows by one with every accepted change: begin of a turn
    that runs, start of a queued turn, commit of a turn, update, history operation, feedback. A queued turn changes it
    only when it starts.
    """

    shared: bool
    """True if several processes may open the store at the same time."""

    async def open(self, *, now: float) -> tuple[Turn, ...]:
        """Claim the store, migrate its schema, and end the turns that a crash left open; return those turns.

        Every turn found `running` or `queued` becomes `interrupted`: its answer so far is rebuilt from its stored
        events (`chatserve.answers.fold`) and kept with that status. Before that, messages of queued turns join the
        branch, in the order in which they were accepted. The log of such a session continues with `done`, 10,000
        numbers further on, and earlier events are dropped from the log. So numbers that were shown but not stored are
        never used twice, and a reader with an older cursor gets a snapshot.

        Raises:
            ConfigurationError: another process owns the store, its schema is newer, or it is not writable.
        """
        ...

    async def close(self) -> None:
        """Finish pending writes and release the store; idempotent."""
        ...

    async def check(self) -> None:
        """Return if the store responds, else raise `StoreError`."""
        ...

    # sessions

    async def create_session(self, new: NewSession, *, now: float) -> Session:
        """Create a session. Raises: SessionExists."""
        ...

    async def get_session(self, owner: str, session_id: str) -> Session:
        """Return a session. Raises: SessionUnknown."""
        ...

    async def list_sessions(self, owner: str, *, after: str | None, limit: int) -> Page:
        """Return a page of an owner's sessions, most recently created first."""
        ...

    async def update_session(
        self, owner: str, session_id: str, changes: SessionChanges, *, now: float, if_version: int | None = None
    ) -> Session:
        """Change title, metadata or state. Raises: SessionUnknown, VersionConflict."""
        ...

    async def delete_session(self, owner: str, session_id: str, *, if_version: int | None = None) -> tuple[str, ...]:
        """Delete a session and everything that belongs to it; return the ids of its files, to be unlinked.

        Raises: SessionUnknown, VersionConflict, SessionBusy (a turn runs or waits in it).
        """
        ...

    # turns

    async def begin_turn(self, begin: BeginTurn) -> BegunTurn:
        """Accept a turn: store user message, turn, idempotency key and version in one transaction.

        Raises: SessionUnknown (it does not exist, and `create` is None), MessageUnknown (bad target), SessionBusy (a
        turn is open and `status` is "running", or the target is the message of a turn that still waits; `turn_id` names
        that turn), VersionConflict, IdempotencyConflict.
        """
        ...

    async def start_turn(self, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
        """Start a queued turn: its user message joins the branch. Raises: TurnUnknown, SessionBusy."""
        ...

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[LogEntry]]], *, now: float, durable: bool
    ) -> None:
        """Write the newest events of many running turns to the journal, as (session id, its events) pairs.

        The events then survive a crash of the process. They survive a power failure as soon as the write is on disk:
        with `durable` when this returns, otherwise with the next commit.
        The journal is for recovery only. It has one record for the whole batch, which is dropped once every turn in it
        is committed. `open` rebuilds answers from filed events and the journal together.
        """
        ...

    async def append_events(self, session_id: str, events: Sequence[LogEntry], *, now: float) -> None:
        """File events of a running turn, in order, for `read_events` to find. Numbers already filed are ignored."""
        ...

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        """End a turn: store answer, status, version and end of log together. The head becomes the last answer message.

        A turn that was still queued ends without joining the branch; its user message stays readable as a branch of its
        own. Raises: LeaseLost (the turn is no longer open).
        """
        ...

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Return a turn with its messages. Raises: TurnUnknown."""
        ...

    async def last_turn(self, owner: str, session_id: str) -> TurnRecord | None:
        """Return the session's newest turn that has begun, or None. Raises: SessionUnknown."""
        ...

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        """Delete the record and idempotency key of an ended turn; return how many turns its session has left.

        Its messages stay in the history, as messages of no turn; its events stay in the log until they are purged. The
        session's version stays, because its history does not change. Raises: TurnUnknown, SessionBusy (it is open).
        """
        ...

    # messages

    async def get_message(self, owner: str, message_id: str) -> Message:
        """Return one message, from any session and branch. Raises: MessageUnknown."""
        ...

    async def read_branch(self, owner: str, session_id: str, head: str | None) -> tuple[Message, ...]:
        """Return the messages from the first to `head`, oldest first; () for None. Raises: SessionUnknown."""
        ...

    async def list_messages(
        self, owner: str, session_id: str, *, after: str | None, limit: int, branches: bool
    ) -> Page:
        """Return a page of the current branch, or with `branches` of all messages in order of creation.

        Raises: SessionUnknown, MessageUnknown (`after`).
        """
        ...

    async def move_history(self, move: HistoryMove) -> MovedHistory:
        """Undo, clear or replace.

        Raises:
            SessionUnknown, VersionConflict: the session does not exist, or is at another version.
            SessionBusy: a turn runs or waits.
            NothingToUndo: the history has no user message.
            InputsInvalid: a message to append has the id of another message.
        """
        ...

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
        """Copy the branch up to `message_id` (None: the head) into a new session, with new message ids.

        The copy shares the files, which exist as long as any session refers to them.
        Raises: SessionUnknown, MessageUnknown.
        """
        ...

    async def set_feedback(
        self, owner: str, message_id: str, feedback: Feedback, *, now: float, if_version: int | None = None
    ) -> tuple[Session, Message]:
        """Set the feedback on an answer message, in place of any earlier feedback.

        Raises: MessageUnknown, VersionConflict.
        """
        ...

    # keys of requests that create something other than a turn

    async def claim_key(self, owner: str, idempotency: Idempotency, made_id: str, *, now: float) -> str | None:
        """Bind a client's key to the id of what is about to be created; return the id it was bound to before, or None.

        The first request with the key creates `made_id`. Later requests find it, or create it under the same id, so
        that a retry repairs a crash between claim and creation. Keys of turns share the same namespace.

        Raises:
            IdempotencyConflict: the key was used with another body.
            SessionExists: the key is new, and a session with the id `made_id` already exists.
        """
        ...

    # the log

    async def read_events(self, session_id: str, *, after: int, limit: int) -> EventPage:
        """Return stored events with `seq > after`, at most about `limit` of them, in order."""
        ...

    # files (records only; the file folder has the bytes)

    async def add_file(self, file: StoredFile) -> None:
        """Record a file whose bytes are already stored. Raises: SessionUnknown."""
        ...

    async def get_files(self, owner: str, file_ids: Sequence[str]) -> tuple[StoredFile, ...]:
        """Return these files, in order. Raises: FileUnknown."""
        ...

    async def known_files(self, file_ids: Sequence[str]) -> frozenset[str]:
        """Return those of the ids that are recorded, for any owner. Bytes under other ids are orphans."""
        ...

    async def attach_files(self, owner: str, session_id: str, file_ids: Sequence[str]) -> None:
        """Attach files to a session, besides those they belong to already. Raises: FileUnknown, SessionUnknown."""
        ...

    # moving and removing

    async def export_session(self, owner: str, session_id: str) -> SessionRecord:
        """Return everything that belongs to a session. Raises: SessionUnknown."""
        ...

    async def import_session(self, record: SessionRecord) -> Session:
        """Store a session exactly as exported, with its ids, times and version. Raises: SessionExists."""
        ...

    async def erase_owner(self, owner: str) -> tuple[str, ...]:
        """Remove everything that belongs to an owner; return file ids to be unlinked. Raises: SessionBusy."""
        ...

    async def purge(self, purge: Purge) -> Purged:
        """Remove expired data in one short transaction; call again until nothing is left."""
        ...
