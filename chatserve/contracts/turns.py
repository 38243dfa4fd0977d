"""The stages of a turn: what a client asks for, who asks, how the turn begins in the store, how it ends.

Each stage contains the one before: a `TurnCall` is decoded from the body, a `TurnRequest` adds the data of the request
around it, and a `BeginTurn` adds the engine's decisions. No stage copies fields of the one before.
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
    LocalFile,
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
    """A session to create. `messages` are its initial history (ids and parents already set, oldest first).

    `is_fresh`: its id was newly generated, so no session can have it yet and the store need not check.
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
    """A client's idempotency key for one POST. It is kept until `expires_at` and belongs to the owner."""

    key: str
    body_hash: str
    expires_at: float


@frozen
class TurnCall:
    """What a client asks for, independent of its protocol.

    The user sent `text` and `files`, or `tool_results` of tools that ran in the client. Only the ids of the files are
    used.

    `session_key` names the session: an id from the server (`s_…`; the session must exist), or any other text, whose
    first use creates a session for it. Without a key a session is created. With `is_kept` false the turn is stateless,
    and `history` is the whole history.

    `history` None: use the stored history. Otherwise `history` is everything before the message, and it replaces the
    stored branch. `preface` precedes the history for this turn only and is never stored.

    `operation`: `send` appends the message to `target_message_id` (None: to the newest message; a `history` takes
    precedence over both); `retry` answers the user message `target_message_id` again (None: the last one); `edit`
    replaces that message.

    `name` is the name of the message's author, where a conversation has several.

    `prefill` are the first words of the answer, which the client has already: the function continues them, and the
    session stores both as one message.

    `inputs` are raw values for the function's parameters; `example` is the example they come from, whose files are
    `local_files`: the developer's, stored when the turn is accepted. `params` are all
    other parameters of the client's protocol. `echo` is stored with the turn, and the protocol returns it to the
    client. `when_busy` and `on_disconnect` None: use the chat's options. `is_detached`: the turn goes on without
    readers. `delay_s`: how long after its acceptance the function is called at the earliest.
    `is_greeted`: a session that it creates begins with the chat's greeting, as the client shows what is stored.
    """

    chat: str
    text: str = ""
    files: tuple[FilePart, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()
    session_key: str | None = None
    is_kept: bool = True
    history: tuple[ParsedMessage | Message, ...] | None = None
    preface: tuple[ParsedMessage, ...] = ()
    name: str | None = None
    prefill: str | None = None
    operation: TurnOperation = "send"
    target_message_id: str | None = None
    if_version: int | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    example: int | None = None
    local_files: tuple[LocalFile, ...] = ()
    params: Mapping[str, Json] = field(default_factory=dict)
    tools: tuple[Json, ...] = ()
    echo: Mapping[str, Json] | None = None
    when_busy: WhenBusy | None = "queue"
    on_disconnect: OnDisconnect | None = None
    is_detached: bool = False
    delay_s: float = 0.0
    is_greeted: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content of the user's message."""
        if self.tool_results:
            return self.tool_results
        words: tuple[Part, ...] = (TextPart(self.text),) if self.text or not self.files else ()
        return (*words, *self.files)

    def message(self, message_id: str, now: float) -> Message:
        """Return the message that the call adds."""
        metadata = {"name": self.name} if self.name else None
        return Message(message_id, "tool" if self.tool_results else "user", self.parts, now, metadata=metadata)


@frozen
class TurnRequest:
    """A `TurnCall` with the owner, the session and the idempotency key of its request.

    `session_id` is "" for a stateless turn, which stores nothing. `creates` says whether the session may have to be
    created, or has to be. `history` and `preface` are those of the call as messages with ids; a session that is
    created begins with the `greeting`.
    """

    call: TurnCall
    owner: str = ""
    session_id: str = ""
    creates: Literal["nothing", "missing", "fresh"] = "nothing"
    history: tuple[Message, ...] | None = None
    preface: tuple[Message, ...] = ()
    greeting: tuple[Message, ...] = ()
    idempotency: Idempotency | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "native"
    http_request: Any = None

    @property
    def new_session(self) -> NewSession | None:
        """The session to create if it does not exist."""
        if self.creates == "nothing":
            return None
        return NewSession(self.session_id, self.owner, messages=self.greeting, is_fresh=self.creates == "fresh")


@frozen
class BeginTurn:
    """All changes that one accepted turn makes.

    `user_message` is the message to add; None for a `retry`. The head moves when the turn starts; a queued turn keeps
    its target. `create` is the session to create if it does not exist. `rollback_turn_id` names an ended turn whose
    messages are first removed from the branch. If the request has a `history`, the store keeps the longest start that
    it shares with the stored history (compared by the fields that clients send back) and branches there.
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

    `replayed`: the idempotency key was known; `turn` is the turn it started before, and nothing was changed.
    """

    session: Session
    turn: Turn
    user_message: Message | None
    replayed: bool = False

    @property
    def parent_id(self) -> str | None:
        """The message before the user message, which ends the history for the function."""
        return None if self.user_message is None else self.user_message.parent_id


@frozen
class CommitTurn:
    """The end of a turn: its answer, its status, the end of its log.

    `events` are those not filed yet, in order, including those of other turns of the session. `first_seq` is the number
    of the turn's first event, `done_seq` that of `done`, to which the store adds the new version.
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
    """A turn with its user message (None only if it was purged) and the messages of its answer."""

    turn: Turn
    user_message: Message | None
    messages: tuple[Message, ...]

    def as_events(self) -> tuple[Snapshot, Done]:
        """Return a snapshot and `done`, for readers that missed the turn's own events."""
        turn = self.turn
        status: FinalStatus = "interrupted" if turn.status == "queued" or turn.status == "running" else turn.status
        done = Done(turn.turn_id, status, turn.finish_reason or "", self.messages, turn.usage, turn.version or 0)
        return Snapshot(turn, self.messages), done

    def as_numbered(self, after: int = 0) -> tuple[NumberedEvent, NumberedEvent]:
        """Return those events with numbers; `done` gets the turn's last number or, if that is unknown, `after + 1`."""
        turn_id, seq = self.turn.turn_id, self.turn.done_seq or after + 1
        snapshot, done = self.as_events()
        return NumberedEvent(seq - 1, turn_id, snapshot), NumberedEvent(seq, turn_id, done)


TURN_OPEN: frozenset[TurnStatus] = frozenset({"queued", "running"})


RECOVERY_GAP = 10_000
"""How far a session's numbering jumps after a crash. It exceeds the number of events shown but not stored."""
