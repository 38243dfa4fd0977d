"""What the engine and a store say to each other of a turn: its beginning, its end, its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from chatserve.core.events import Done, LogEntry, NumberedEvent, Snapshot
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    FinalStatus,
    Json,
    Message,
    Session,
    Turn,
    TurnError,
    TurnOperation,
    TurnStatus,
    Usage,
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

    def as_numbered(self, after: int = 0) -> tuple[NumberedEvent, NumberedEvent]:
        """Return those events with their numbers: those of the turn's end, else the next two."""
        turn_id, seq = self.turn.turn_id, self.turn.done_seq or after + 1
        snapshot, done = self.as_events()
        return NumberedEvent(seq - 1, turn_id, snapshot), NumberedEvent(seq, turn_id, done)


TURN_OPEN: frozenset[TurnStatus] = frozenset({"queued", "running"})


RECOVERY_GAP = 10_000
"""How far a session's numbering jumps after a crash: above the number of events that may be shown but not stored."""
