"""A turn on its way: what a client asks for, who asks, how it begins in the store, how it ends.

One value grows: a `TurnCall` is decoded, a `TurnRequest` holds it together with what the request around it says, and a
`BeginTurn` holds that together with what the engine decides. Nothing is copied from one to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from chatserve.contracts.formats import ParsedMessage
from chatserve.core.events import Done, LogEntry, NumberedEvent, Snapshot
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    FilePart,
    FinalStatus,
    Json,
    Message,
    OnDisconnect,
    Part,
    Session,
    TextPart,
    ToolResultPart,
    Turn,
    TurnError,
    TurnOperation,
    TurnStatus,
    Usage,
    WhenBusy,
)


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
class TurnCall:
    """What a client asks for, in chatserve's words, whatever protocol it speaks.

    The user sent `text` and `files`, or `tool_results` of tools that ran in the client. Of a file only its id counts.

    `session_key` names the session: an id the server gave (`s_…`; it must exist), or any other text, which stands for a
    session of its own that its first use creates. Without a key a session is created. With `is_kept` false nothing is
    kept, and `history` is all there is.

    `history` None: the server's. Else it is everything before the message and authoritative: the stored branch is
    replaced. `preface` stands before the history for this turn only and is never stored.

    `operation`: `send` puts the message behind `target_message_id` (None: behind the newest; a `history` wins over
    both); `retry` answers the user message `target_message_id` again (None: the last one); `edit` replaces that one.

    `inputs` are raw values for the function's parameters; `example` is the example they come from. `params` is all else
    the client's protocol carried. `echo` is kept with the turn, for the protocol to give back. `when_busy` and
    `on_disconnect` None: as the chat says. `is_detached`: the turn goes on though nobody reads it.
    """

    chat: str
    text: str = ""
    files: tuple[FilePart, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()
    session_key: str | None = None
    is_kept: bool = True
    history: tuple[ParsedMessage | Message, ...] | None = None
    preface: tuple[ParsedMessage, ...] = ()
    operation: TurnOperation = "send"
    target_message_id: str | None = None
    if_version: int | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    example: int | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    tools: tuple[Json, ...] = ()
    echo: Mapping[str, Json] | None = None
    when_busy: WhenBusy | None = "queue"
    on_disconnect: OnDisconnect | None = None
    is_detached: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content of the message this becomes."""
        if self.tool_results:
            return self.tool_results
        words: tuple[Part, ...] = (TextPart(self.text),) if self.text or not self.files else ()
        return (*words, *self.files)


@frozen
class TurnRequest:
    """A call, with what the request that brought it says: who asks, in which session, under which key.

    `session_id` is "" for a stateless turn, of which nothing is kept. `creates` says whether the session may be, or is,
    yet to be created. `history` and `preface` are those of the call as messages with ids.
    """

    call: TurnCall
    owner: str = ""
    session_id: str = ""
    creates: Literal["nothing", "missing", "fresh"] = "nothing"
    history: tuple[Message, ...] | None = None
    preface: tuple[Message, ...] = ()
    idempotency: Idempotency | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "native"
    http_request: Any = None

    @property
    def new_session(self) -> NewSession | None:
        """The session to create where it does not exist."""
        if self.creates == "nothing":
            return None
        return NewSession(self.session_id, self.owner, is_fresh=self.creates == "fresh")


@frozen
class BeginTurn:
    """All that one accepted turn changes.

    `user_message` is the message to add; None for a `retry`. The head moves when the turn runs; a queued turn keeps its
    target. `create` is the session to create where it does not exist. `rollback_turn_id` names a turn, already ended,
    whose messages are first taken off the branch. Of a request's `history` the store keeps the longest start that it
    has in common with the stored one (by what clients send back of messages) and branches there.
    """

    request: TurnRequest
    turn_id: str
    status: Literal["queued", "running"]
    user_message: Message | None
    now: float
    create: NewSession | None = None
    rollback_turn_id: str | None = None


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

    def as_numbered(self, after: int = 0) -> tuple[NumberedEvent, NumberedEvent]:
        """Return those events with their numbers: those of the turn's end, else the next two."""
        turn_id, seq = self.turn.turn_id, self.turn.done_seq or after + 1
        snapshot, done = self.as_events()
        return NumberedEvent(seq - 1, turn_id, snapshot), NumberedEvent(seq, turn_id, done)


TURN_OPEN: frozenset[TurnStatus] = frozenset({"queued", "running"})


RECOVERY_GAP = 10_000
"""How far a session's numbering jumps after a crash: above the number of events that may be shown but not stored."""
