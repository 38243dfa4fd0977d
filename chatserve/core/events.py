"""The closed set of events a session's log is made of, and the table of what may follow what.

An event is one step of a turn; `NumberedEvent` gives it its place (`seq`, dense from 1) in the session's log.
Events are born in `chatserve.answers.draft` and in the engine, nowhere else. This module knows no wire format.

The grammar of one turn::

    turn+  ( message ( delta | replace | reasoning | part | part_delta | metadata | status )* )*  error?  done

`metadata`, and a `replace` that carries a `message_id`, may name any message of the turn. A `snapshot` may
stand wherever an answer was rewritten in a way the other events cannot say (messages taken back): it is the whole
answer so far, and what follows builds on it. `history` and `bye` belong to the session, not to a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from chatserve.core.frozen import frozen
from chatserve.core.members import Count, Inlined, MessageId, TurnId, Version, Within
from chatserve.core.types import FinalStatus, Json, Message, Part, Role, Turn, TurnError, Usage

HistoryOperation: TypeAlias = Literal["undo", "retry", "edit", "clear", "replace", "feedback"]


@frozen
class TurnAccepted:
    """`turn`: the turn is queued (with its place in the queue) or runs. `user_message` is None on a retry."""

    turn: Annotated[
        Turn,
        Inlined("turn_id", "session_id", "chat", "status", "created_at", status=Literal["running", "queued"]),
    ]
    user_message: Message | None
    version: Version
    position: Count | None = None
    eta_s: float | None = None


@frozen
class MessageOpened:
    """`message`: a message opens; text that follows belongs to it."""

    message_id: MessageId
    role: Role
    metadata: Mapping[str, Json] | None = None


class Delta(NamedTuple):
    """`delta`: append to the open message. A named tuple, as it is the one event made per token."""

    text: str


@frozen
class Replaced:
    """`replace`: the text of the open message, or of the message named, is now this."""

    text: str
    message_id: MessageId | None = None


@frozen
class ReasoningDelta:
    """`reasoning`: append to the open message's reasoning."""

    text: str


@frozen
class PartAdded:
    """`part`: a part other than text joins a message."""

    message_id: MessageId
    part_id: Annotated[str, Within("part")]
    part: Part


@frozen
class PartDelta:
    """`part_delta`: a tool call's arguments as they stream."""

    part_id: str
    text: str


@frozen
class MetadataChanged:
    """`metadata`: merged into the message named; null removes a key."""

    message_id: MessageId
    metadata: Mapping[str, Json] | None = None
    options: tuple[Mapping[str, Json], ...] | None = None


@frozen
class StatusReported:
    """`status`: what the function says it is doing; not kept in history."""

    text: str | None = None
    done: float | None = None
    total: float | None = None


@frozen
class Failed:
    """`error`: why the turn failed; `done` follows."""

    error: Annotated[TurnError, Inlined("code", "detail", "error_id", "retryable")]


@frozen
class Done:
    """`done`: the turn is over and its answer is stored."""

    turn_id: TurnId
    status: FinalStatus
    finish_reason: str
    messages: tuple[Message, ...]
    usage: Usage | None = None
    version: Version = 0


@frozen
class Snapshot:
    """`snapshot`: the turn's messages so far; what was sent before no longer counts."""

    turn: Turn | None
    messages: tuple[Message, ...]


@frozen
class HistoryChanged:
    """`history`: the history changed by other means than a turn. Session streams only."""

    version: Version
    operation: HistoryOperation


@frozen
class Bye:
    """`bye`: the server is going away; reconnect with the last id. Never numbered, never stored."""

    reconnect: bool = True


Event: TypeAlias = (
    TurnAccepted
    | MessageOpened
    | Delta
    | Replaced
    | ReasoningDelta
    | PartAdded
    | PartDelta
    | MetadataChanged
    | StatusReported
    | Failed
    | Done
    | Snapshot
    | HistoryChanged
)

EVENT_NAMES: Mapping[type, str] = {
    TurnAccepted: "turn",
    MessageOpened: "message",
    Delta: "delta",
    Replaced: "replace",
    ReasoningDelta: "reasoning",
    PartAdded: "part",
    PartDelta: "part_delta",
    MetadataChanged: "metadata",
    StatusReported: "status",
    Failed: "error",
    Done: "done",
    Snapshot: "snapshot",
    HistoryChanged: "history",
    Bye: "bye",
}

_IN_MESSAGE = frozenset({"delta", "replace", "reasoning", "part", "part_delta", "metadata", "status", "message"})
_ENDING = frozenset({"error", "done"})
MAY_FOLLOW: Mapping[str, frozenset[str]] = {
    "": frozenset({"turn"}),
    "turn": frozenset({"turn", "message", "status", "snapshot"}) | _ENDING,
    "status": _IN_MESSAGE | {"snapshot"} | _ENDING,
    "error": frozenset({"done"}),
    "done": frozenset(),
    **{
        name: _IN_MESSAGE | {"snapshot"} | _ENDING
        for name in ("message", "delta", "replace", "reasoning", "part", "part_delta", "metadata", "snapshot")
    },
}
"""What may follow what within one turn; tests hold every stream against it."""


class NumberedEvent(NamedTuple):
    """An event with its place in the session's log. `turn_id` is None for `history` events."""

    seq: int
    turn_id: str | None
    event: Event


class Words(NamedTuple):
    """Deltas of one turn that follow one another, numbered from `seq`: an answer in one piece, as logs keep it."""

    seq: int
    turn_id: str | None
    texts: list[str]


LogEntry: TypeAlias = NumberedEvent | Words
"""What logs hand to stores: events, where deltas may stand together."""


def spelled_out(entries: Iterable[LogEntry]) -> Iterator[NumberedEvent]:
    """Yield the events that entries stand for."""
    for entry in entries:
        if isinstance(entry, Words):
            yield from (delta_event(seq, entry.turn_id, text) for seq, text in enumerate(entry.texts, entry.seq))
        else:
            yield entry


def last_seq_of(entry: LogEntry) -> int:
    """Return the number of an entry's last event."""
    return entry.seq + len(entry.texts) - 1 if isinstance(entry, Words) else entry.seq


def delta_event(seq: int, turn_id: str | None, text: str) -> NumberedEvent:
    """Return a numbered delta: one is made per word, in a third of the time the classes take by themselves."""
    event: NumberedEvent = _new_tuple(NumberedEvent, (seq, turn_id, _new_tuple(Delta, (text,))))
    return event


def words_entry(seq: int, turn_id: str | None, texts: list[str]) -> Words:
    """Return words in a row, as quickly as `delta_event` does."""
    words: Words = _new_tuple(Words, (seq, turn_id, texts))
    return words


_new_tuple: Callable[..., Any] = tuple.__new__
