"""The closed set of events in a session's log, and the table of their order.

An event is one step of a turn; `NumberedEvent` gives it its place (`seq`, dense from 1) in the session's log.
Only `chatserve.answers.draft` and the engine create events. This module knows no wire format.

The grammar of one turn::

    turn+  ( message ( delta | replace | reasoning | part | part_delta | metadata | status )* )*  error?  done

`metadata`, and a `replace` with a `message_id`, may name any message of the turn. A `snapshot` may occur wherever an
answer was changed in a way that the other events cannot express, like removing messages. It is the whole answer so far,
and later events build on it. `history` and `bye` belong to the session, not to a turn.
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
    """`message`: a message begins; the text that follows belongs to it."""

    message_id: MessageId
    role: Role
    metadata: Mapping[str, Json] | None = None


class Delta(NamedTuple):
    """`delta`: append text to the open message. A named tuple for speed, as one is made per token."""

    text: str


@frozen
class Replaced:
    """`replace`: set the text of the open message, or of the named message."""

    text: str
    message_id: MessageId | None = None


@frozen
class ReasoningDelta:
    """`reasoning`: append text to the open message's reasoning."""

    text: str


@frozen
class PartAdded:
    """`part`: add a part other than text to a message."""

    message_id: MessageId
    part_id: Annotated[str, Within("part")]
    part: Part


@frozen
class PartDelta:
    """`part_delta`: append to a tool call's arguments."""

    part_id: str
    text: str


@frozen
class MetadataChanged:
    """`metadata`: merge metadata into the named message; null removes a key."""

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
    """`done`: the turn has ended and its answer is stored."""

    turn_id: TurnId
    status: FinalStatus
    finish_reason: str
    messages: tuple[Message, ...]
    usage: Usage | None = None
    version: Version = 0


@frozen
class Snapshot:
    """`snapshot`: the turn's messages so far, which replace everything sent before."""

    turn: Turn | None
    messages: tuple[Message, ...]


@frozen
class HistoryChanged:
    """`history`: the history changed by an operation other than a turn. Session streams only."""

    version: Version
    operation: HistoryOperation


@frozen
class Bye:
    """`bye`: the server is stopping; reconnect with the last id. Never numbered, never stored."""

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
"""Which events may follow which within one turn; tests check every stream against this table."""


class NumberedEvent(NamedTuple):
    """An event with its place in the session's log. `turn_id` is None for `history` events."""

    seq: int
    turn_id: str | None
    event: Event


class YieldedEvent(NumberedEvent):
    """An event of a yield that took several, or that was a list of messages. A log in memory tells these apart.

    `goes_on`: more events of the same yield follow. `is_list`: the function yielded a list.
    """

    goes_on: bool
    is_list: bool

    @classmethod
    def of(cls, seq: int, turn_id: str | None, event: Event, *, goes_on: bool, is_list: bool) -> YieldedEvent:
        """Return an event with its place in its yield."""
        yielded = cls(seq, turn_id, event)
        yielded.goes_on, yielded.is_list = goes_on, is_list
        return yielded


class Words(NamedTuple):
    """Consecutive deltas of one turn, numbered from `seq`, in the compact form that logs keep."""

    seq: int
    turn_id: str | None
    texts: list[str]


LogEntry: TypeAlias = NumberedEvent | Words
"""What logs pass to stores: single events and runs of deltas."""


def spelled_out(entries: Iterable[LogEntry]) -> Iterator[NumberedEvent]:
    """Yield the single events of log entries."""
    for entry in entries:
        if isinstance(entry, Words):
            yield from (delta_event(seq, entry.turn_id, text) for seq, text in enumerate(entry.texts, entry.seq))
        else:
            yield entry


def last_seq_of(entry: LogEntry) -> int:
    """Return the number of an entry's last event."""
    return entry.seq + len(entry.texts) - 1 if isinstance(entry, Words) else entry.seq


def delta_event(seq: int, turn_id: str | None, text: str) -> NumberedEvent:
    """Return a numbered delta, in a third of the time that the classes' own constructors take."""
    event: NumberedEvent = _new_tuple(NumberedEvent, (seq, turn_id, _new_tuple(Delta, (text,))))
    return event


def words_entry(seq: int, turn_id: str | None, texts: list[str]) -> Words:
    """Return a run of deltas, as quickly as `delta_event` makes one."""
    words: Words = _new_tuple(Words, (seq, turn_id, texts))
    return words


_new_tuple: Callable[..., Any] = tuple.__new__
