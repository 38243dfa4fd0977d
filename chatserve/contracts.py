"""Every plug-in contract, and the values plug-ins exchange, on one page.

Four kinds of plug-in: history formats (what the chat function is given), output normalizers (what it gives back),
wire formats (what clients speak) and stores (where sessions live). Each is one file and one registry line in
its package's `__init__`. Contracts are documented here once; an implementation documents only its difference.
This module knows no implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Protocol, TypeAlias

from chatserve.events import Done, LogEntry, NumberedEvent, Snapshot
from chatserve.frozen import frozen
from chatserve.types import (
    DraftPart,
    Feedback,
    FilePart,
    FinalStatus,
    Json,
    LocalFile,
    Message,
    Session,
    StoredFile,
    ToolCallPart,
    Turn,
    TurnError,
    TurnOperation,
    TurnStatus,
    Usage,
)

# --- history formats ---------------------------------------------------------------------------------------------


@frozen
class RenderOptions:
    """How history is rendered. `path_of` turns a file's part into the local path the function may open."""

    multimodal: bool
    path_of: Callable[[FilePart], str]


class HistoryFormat(Protocol):
    """Renders stored messages in the shape the chat function wants."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        """Return fresh plain values (lists, dicts, str) for `messages`, oldest first.

        Rendering is incremental at turn boundaries: for messages `a` that end with a whole turn and messages
        `b` that follow, `render(a) + render(b) == render(a + b)`.
        """
        ...

    def copy(self, entries: list[Any]) -> list[Any]:
        """Return a deep copy of entries that `render` returned: the function may change what it is given."""
        ...

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        """Read history a client or developer sent in this shape.

        Raises:
            InputsInvalid: `history` does not have this shape; the message names the entry.
        """
        ...


@frozen
class ParsedMessage:
    """A message before it has an id."""

    role: str
    content: tuple[DraftPart, ...]
    metadata: Mapping[str, Json] | None = None
    options: tuple[Mapping[str, Json], ...] | None = None


# --- output normalizers ------------------------------------------------------------------------------------------


@frozen
class AnswerSnapshot:
    """The whole answer so far is these messages."""

    messages: tuple[ParsedMessage, ...]


@frozen
class MessageAppended:
    """One more complete message, after all that were there (deltas mode)."""

    message: ParsedMessage


@frozen
class TextAppended:
    """Text to append to the answer."""

    text: str


@frozen
class ReasoningAppended:
    """Reasoning to append to the answer."""

    text: str


@frozen
class PartAppended:
    """A whole part to append: a file, data, a source, a tool's result."""

    part: DraftPart


@frozen
class ToolCallOpened:
    """A tool call begins; its arguments may follow in pieces."""

    call: ToolCallPart


@frozen
class ToolArgumentsAppended:
    """JSON text to append to the arguments of the call named."""

    tool_call_id: str
    text: str


@frozen
class AnswerFinished:
    """What a model said of its end: `finish_reason` in chatserve's words, usage; either may be unknown."""

    finish_reason: str | None = None
    usage: Usage | None = None


Output: TypeAlias = (
    AnswerSnapshot
    | MessageAppended
    | TextAppended
    | ReasoningAppended
    | PartAppended
    | ToolCallOpened
    | ToolArgumentsAppended
    | AnswerFinished
)
"""What one returned or yielded value means. Finish reasons: stop, length, tool_calls, content_filter."""


@frozen
class AnswerView:
    """What a normalizer may need to know of the turn.

    How many entries of history the function was given (in its own shape), the first of them, the current message as
    given, and how plain strings are meant.
    """

    history_length: int
    first_entry: Any
    message: Any
    yields: Literal["snapshots", "deltas"]
    streaming: bool = False
    """True for a value that was yielded, False for one that was returned."""


class OutputNormalizer(Protocol):
    """Recognizes one family of values and says what they mean. One instance serves one turn, so it may keep state."""

    @staticmethod
    def accepts(value: object) -> bool:
        """Whether this value is one of the family; must be cheap and must not raise."""
        ...

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        """Say what `value` means; everything kept of it is copied, for the function may change it later.

        Raises:
            AnswerInvalid: the value is of the family, but broken.
        """
        ...


class Interpreter(Protocol):
    """Finds the normalizer for each value of one turn; it serves one turn."""

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        """Say what `value` means. Raises: AnswerInvalid."""
        ...


# --- wire formats ------------------------------------------------------------------------------------------------


class FrameEncoder(Protocol):
    """Turns the events of a log into bytes of one format; pure: no clock, no randomness, no I/O.

    `is_per_turn`: the encoder remembers what it has encoded, so each reader has its own; it sees the events of a turn
    from their beginning. `is_complete`: a stream of a whole session may end here.
    """

    is_per_turn: bool

    @property
    def is_complete(self) -> bool: ...

    def encode(self, numbered: NumberedEvent) -> bytes:
        """Return the frames of one event, or b"" where the format has no word for it."""
        ...


# --- files -------------------------------------------------------------------------------------------------------


class FileKeeper(Protocol):
    """Where the bytes of files lie."""

    def path_of(self, file: FilePart) -> str:
        """Return the local path of a file, which ends in its name; computed, without a look at the disk."""
        ...

    async def store_local(self, file_id: str, file: LocalFile) -> tuple[str, str, int]:
        """Copy a file the chat function answered with; return its name, media type and size. Raises: AnswerInvalid."""
        ...

    async def remove(self, file_ids: Iterable[str], *, written_before: float | None = None) -> None:
        """Unlink files, or those of them that were last written before a time; what is gone already does not matter."""
        ...

    async def next_ids(self, limit: int, *, leftovers_before: float) -> tuple[str, ...]:
        """Look at the next `limit` entries, round after round through all, and return the ids of files among them.

        What uploads left that broke off before a time is unlinked on the way.
        """
        ...


# --- stores ------------------------------------------------------------------------------------------------------


@frozen
class NewSession:
    """A session to create. `messages` seed its history (ids and parents already set, oldest first).

    `is_fresh`: its id was made for it, so that nobody need look whether there is one of this id.
    """

    session_id: str
    owner: str
    title: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    state: Mapping[str, Json] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    expires_at: float | None = None
    is_fresh: bool = False


@frozen
class Idempotency:
    """A client's key for one POST. Kept `expires_at`; scoped to the owner."""

    key: str
    body_hash: str
    expires_at: float


@frozen
class BeginTurn:
    """All that one accepted turn changes.

    `operation`: `send` adds `user_message` after `target_message_id`, any message of the session (None: after whatever
    is the head when the turn runs), or after `history`, which wins where both are given; `retry` answers an earlier
    user message again (`target_message_id`, None: the last one); `edit` adds `user_message` as a sibling of the user
    message `target_message_id`. `user_message` is None for `retry`. The head moves when the turn runs; a queued turn
    keeps its target. `create` is the session to make when it is not there yet. `rollback_turn_id` names a turn, already
    ended, whose messages are first taken off the branch. `history` is the whole history before the message, in place of
    the stored one: the store keeps the longest common start (by what clients send back of messages) and branches there.
    `echo` is kept with the turn.
    """

    owner: str
    session_id: str
    turn_id: str
    chat: str
    status: Literal["queued", "running"]
    user_message: Message | None
    now: float
    operation: TurnOperation = "send"
    target_message_id: str | None = None
    create: NewSession | None = None
    history: tuple[Message, ...] | None = None
    rollback_turn_id: str | None = None
    idempotency: Idempotency | None = None
    if_version: int | None = None
    echo: Mapping[str, Json] | None = None


@frozen
class BegunTurn:
    """The outcome of `begin_turn` or `start_turn`.

    `replayed`: the idempotency key was known; `turn` is the turn made then, and nothing was changed.
    `parent_id` is the message before the user message: the end of the history the function is given.
    """

    session: Session
    turn: Turn
    user_message: Message | None
    parent_id: str | None
    replayed: bool = False


@frozen
class CommitTurn:
    """The end of a turn: its answer, its status, the end of its log.

    `events` are those not filed yet, in order, those of other turns of the session included; `first_seq` is the number
    of the turn's first event, `done_seq` that of `done`, which the store completes with the version it writes.
    """

    owner: str
    session_id: str
    turn_id: str
    now: float
    status: FinalStatus
    finish_reason: str
    messages: tuple[Message, ...]
    events: tuple[LogEntry, ...]
    done_seq: int
    first_seq: int | None = None
    usage: Usage | None = None
    error: TurnError | None = None
    state: Mapping[str, Json] | None = None
    title: str | None = None


@frozen
class CommittedTurn:
    """The session and turn after the commit, and the `done` event as it was stored."""

    session: Session
    turn: Turn
    done: Done


@frozen
class TurnRecord:
    """A turn with its user message (None only where it was purged) and the messages of its answer."""

    turn: Turn
    user_message: Message | None
    messages: tuple[Message, ...]

    def as_events(self) -> tuple[Snapshot, Done]:
        """Return what a reader is told who comes too late for the turn's own events: its snapshot and its `done`."""
        turn = self.turn
        status: FinalStatus = "interrupted" if turn.status == "queued" or turn.status == "running" else turn.status
        done = Done(turn.turn_id, status, turn.finish_reason or "", self.messages, turn.usage, turn.version or 0)
        return Snapshot(turn, self.messages), done


@frozen
class Page:
    """One page of a list. `next` is the id to pass as `after`, or None at the end."""

    items: tuple[Any, ...]
    next: str | None


@frozen
class EventPage:
    """Stored events after a cursor.

    `first_seq` is the lowest number still retained (`last_seq + 1` when none is): a reader whose cursor is below
    `first_seq - 1`, or above `last_seq`, has missed something and needs a snapshot.
    """

    events: tuple[NumberedEvent, ...]
    first_seq: int
    last_seq: int


@frozen
class SessionChanges:
    """What PATCH may change; None leaves a field as it is. `title=""` removes the title."""

    title: str | None = None
    metadata: Mapping[str, Json] | None = None
    state: Mapping[str, Json] | None = None


@frozen
class HistoryMove:
    """A history operation that runs no function. `seq` numbers the `history` event the store writes with it.

    `undo` moves the head before the last user message of the branch (which the outcome returns); `clear` moves it
    before the first message and empties the session's state. `replace` makes `messages` the whole history, as
    `BeginTurn.history` does: the store keeps the longest common start and adds the rest behind it, under the ids given
    and as messages of no turn; the state stays.
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
    """The session after a history operation; for `undo` the user message taken back."""

    session: Session
    message: Message | None


@frozen
class SessionRecord:
    """All that belongs to one session, for export and import: every branch, not only the current one."""

    session: Session
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...]
    files: tuple[StoredFile, ...]


@frozen
class Purge:
    """What one janitor pass removes, at most `limit` rows of each kind.

    Log segments of ended turns stored before `events_before`, idempotency keys and sessions whose `expires_at` is
    before `now`, sessions last changed before `sessions_before` (None: none), files that belong to no session and were
    made before `files_before`. A session with an open turn is left alone.
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
        """True when there was nothing to do."""
        return not (self.sessions or self.file_ids or self.segments or self.idempotency_keys)


class Store(Protocol):
    """Where sessions, messages, turns, file records and the log's tail live.

    Each method is one intent and one transaction: it happens whole, durably, or raises and changes nothing.
    Every method that takes an `owner` treats a foreign id exactly as an unknown one. Messages are append-only rows
    with a `parent_id`; a session's `head` is the newest row of its current branch. All methods may raise `StoreError`
    (out of reach: 503, retryable) or `StoreFull` (disk full: 507).

    The version of a session grows by one with every accepted change: create (it starts at 1), begin of a turn that
    runs, start of a queued turn, commit of a turn, update, history operation, feedback. A queued turn changes it only
    when it starts.
    """

    shared: bool
    """True when several processes may open the store at once."""

    async def open(self, *, now: float) -> tuple[Turn, ...]:
        """Claim the store, bring its schema up to date, and end what a crash left open; return those turns.

        Every turn found `running` or `queued` becomes `interrupted`: its answer so far is rebuilt from its stored
        events (`chatserve.answer.fold_events`) and kept with that status. A queued turn's message joins the branch
        first, in the order in which they were accepted. The log of such a session continues 10,000 numbers on with
        `done`, and what was stored before is dropped from the log: numbers that were shown but not yet stored are
        never used twice, and a reader with an older cursor gets a snapshot.

        Raises:
            ConfigurationError: owned by another process, newer schema, not writable.
        """
        ...

    async def close(self) -> None:
        """Finish pending writes and release the store; idempotent."""
        ...

    async def check(self) -> None:
        """Return when the store answers; raise `StoreError` when it does not."""
        ...

    # sessions

    async def create_session(self, new: NewSession, *, now: float) -> Session:
        """Create a session. Raises: SessionExists."""
        ...

    async def get_session(self, owner: str, session_id: str) -> Session:
        """Return a session. Raises: SessionUnknown."""
        ...

    async def list_sessions(self, owner: str, *, after: str | None, limit: int) -> Page:
        """Page through an owner's sessions, most recently created first."""
        ...

    async def update_session(
        self, owner: str, session_id: str, changes: SessionChanges, *, now: float, if_version: int | None = None
    ) -> Session:
        """Change title, metadata or state. Raises: SessionUnknown, VersionConflict."""
        ...

    async def delete_session(self, owner: str, session_id: str, *, if_version: int | None = None) -> tuple[str, ...]:
        """Delete a session with all that belongs to it; return the ids of its files, to be unlinked.

        Raises: SessionUnknown, VersionConflict, SessionBusy (a turn runs or waits in it).
        """
        ...

    # turns

    async def begin_turn(self, begin: BeginTurn) -> BegunTurn:
        """Accept a turn: user message, turn, idempotency key and version in one transaction.

        Raises: SessionUnknown (not there, and `create` is None), MessageUnknown (bad target), SessionBusy (a turn is
        open and `status` is "running", or the target is the message of a turn that still waits; `turn_id` tells
        which), VersionConflict, IdempotencyConflict.
        """
        ...

    def foresee_turn(self, begin: BeginTurn) -> BegunTurn | None:
        """Return what `begin_turn` will return, where only a failure of the store itself can prevent it.

        The turn's function may then run while the turn is written down; nobody is told of it before. What is asked of
        the turn once `begin_turn` was called is done after it. None: only `begin_turn` knows, or it takes no time, or
        the store has failed of late.
        """
        ...

    async def start_turn(self, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
        """Let a queued turn run: its user message joins the branch. Raises: TurnUnknown, SessionBusy."""
        ...

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[LogEntry]]], *, now: float, durable: bool
    ) -> None:
        """Make the newest events of many running turns durable at once: (session id, its events) pairs.

        Without `durable` they survive a crash of the process at once, and a power failure with whatever is committed
        next.
        The journal is for recovery only: one record for the whole batch, whatever the number of sessions, dropped once
        every turn in it is committed. `open` rebuilds answers from filed events and the journal together.
        """
        ...

    async def append_events(self, session_id: str, events: Sequence[LogEntry], *, now: float) -> None:
        """File events of a running turn where `read_events` finds them, in order; numbers already filed are ignored."""
        ...

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        """End a turn: answer, status, version and end of log together. The head becomes the last answer message.

        A turn that was still queued ends without joining the branch; its user message stays readable as a branch of its
        own. Raises: LeaseLost (the turn is not open any more).
        """
        ...

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Return a turn with its messages. Raises: TurnUnknown."""
        ...

    async def last_turn(self, owner: str, session_id: str) -> TurnRecord | None:
        """Return the session's newest turn that has begun, or None. Raises: SessionUnknown."""
        ...

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        """Let an ended turn be unknown from now on, and its idempotency key; return how many its session has left.

        Its messages stay where they are, as messages of no turn; its events stay in the log until they are purged. The
        session's version does not change, for its history does not. Raises: TurnUnknown, SessionBusy (it is open).
        """
        ...

    # messages

    async def get_message(self, owner: str, message_id: str) -> Message:
        """Return one message, of whatever session and branch. Raises: MessageUnknown."""
        ...

    async def read_branch(self, owner: str, session_id: str, head: str | None) -> tuple[Message, ...]:
        """Return the messages from the first to `head`, oldest first; () for None. Raises: SessionUnknown."""
        ...

    async def list_messages(
        self, owner: str, session_id: str, *, after: str | None, limit: int, branches: bool
    ) -> Page:
        """Page through the current branch, or with `branches` through all rows in the order they were made.

        Raises: SessionUnknown, MessageUnknown (`after`).
        """
        ...

    async def move_history(self, move: HistoryMove) -> MovedHistory:
        """Undo, clear or replace.

        Raises:
            SessionUnknown, VersionConflict: there is no such session, or it is at another version.
            SessionBusy: a turn runs or waits.
            NothingToUndo: the history has no user message.
            InputsInvalid: a message to be added has the id of another message.
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

        Files are shared by id and live as long as any session refers to them.
        Raises: SessionUnknown, MessageUnknown.
        """
        ...

    async def set_feedback(
        self, owner: str, message_id: str, feedback: Feedback, *, now: float, if_version: int | None = None
    ) -> tuple[Session, Message]:
        """Set what a reader thought of an answer message, in place of what was there.

        Raises: MessageUnknown, VersionConflict.
        """
        ...

    # keys of requests that create something other than a turn

    async def claim_key(self, owner: str, idempotency: Idempotency, made_id: str, *, now: float) -> str | None:
        """Let a client's key stand for what is about to be made; return the id it stands for already, or None.

        Whoever claims first makes `made_id`; everybody after makes or finds what the first one claimed, so that a crash
        between claim and creation is healed by the next try. Keys of turns and these are of one namespace.

        Raises:
            IdempotencyConflict: the key came with another body.
            SessionExists: the key is new, and `made_id` is a session that is there already.
        """
        ...

    # the log

    async def read_events(self, session_id: str, *, after: int, limit: int) -> EventPage:
        """Return stored events with `seq > after`, at most about `limit` of them, in order."""
        ...

    # files (records only; the bytes are the file folder's business)

    async def add_file(self, file: StoredFile) -> None:
        """Record a file whose bytes are in place. Raises: SessionUnknown."""
        ...

    async def get_files(self, owner: str, file_ids: Sequence[str]) -> tuple[StoredFile, ...]:
        """Return these files, in order. Raises: FileUnknown."""
        ...

    async def known_files(self, file_ids: Sequence[str]) -> frozenset[str]:
        """Return those of the ids that are recorded, whoever owns them: bytes under any other id are nobody's."""
        ...

    async def attach_files(self, owner: str, session_id: str, file_ids: Sequence[str]) -> None:
        """Let files belong to a session (besides those they belong to already). Raises: FileUnknown, SessionUnknown."""
        ...

    # moving and removing

    async def export_session(self, owner: str, session_id: str) -> SessionRecord:
        """Return all that belongs to a session. Raises: SessionUnknown."""
        ...

    async def import_session(self, record: SessionRecord) -> Session:
        """Write a session as it was exported, ids, times and version included. Raises: SessionExists."""
        ...

    async def erase_owner(self, owner: str) -> tuple[str, ...]:
        """Remove all that belongs to an owner; return file ids to be unlinked. Raises: SessionBusy."""
        ...

    async def purge(self, purge: Purge) -> Purged:
        """Remove what is past its time, in one short transaction; call again until nothing is left."""
        ...


TURN_OPEN: frozenset[TurnStatus] = frozenset({"queued", "running"})
RECOVERY_GAP = 10_000
"""How far a session's numbering jumps after a crash: above the number of events that may be shown but not stored."""
