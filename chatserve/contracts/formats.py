"""Contracts of history formats, output normalizers and wire encoders, and the values they exchange.

Contracts are documented here once; an implementation documents only its difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, TypeAlias

from chatserve.core.events import NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    DraftPart,
    FilePart,
    HistoryFormatName,
    Json,
    Message,
    ToolCallPart,
    Usage,
    YieldMode,
)


@frozen
class RenderOptions:
    """How to render history. `path_of` returns the local path of a file part, which the function may open."""

    multimodal: bool
    path_of: Callable[[FilePart], str]


class HistoryFormat(Protocol):
    """Renders stored messages in the shape that a chat function takes."""

    def render(self, messages: Sequence[Message], options: RenderOptions) -> list[Any]:
        """Return fresh plain values (lists, dicts, str) for `messages`, oldest first.

        Rendering is incremental at turn boundaries: for messages `a` that end with a whole turn and messages
        `b` that follow, `render(a) + render(b) == render(a + b)`.
        """
        ...

    def copy(self, entries: list[Any]) -> list[Any]:
        """Return a deep copy of entries that `render` returned, as the function may change its history."""
        ...

    def parse(self, history: Json) -> tuple[ParsedMessage, ...]:
        """Parse a history in this shape, from a client or a developer.

        Raises:
            InputsInvalid: `history` does not have this shape; the message names the entry.
        """
        ...


@frozen
class ParsedMessage:
    """A parsed message, which has no id yet."""

    role: str
    content: tuple[DraftPart, ...]
    metadata: Mapping[str, Json] | None = None
    options: tuple[Mapping[str, Json], ...] | None = None


@frozen
class AnswerSnapshot:
    """Replaces the whole answer so far with these messages. `is_list`: the function yielded a list of them."""

    messages: tuple[ParsedMessage, ...]
    is_list: bool = field(default=False, compare=False)


@frozen
class MessageAppended:
    """A complete message to append after all existing ones (deltas mode)."""

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
    """A complete part to append: a file, data, a source, a tool's result."""

    part: DraftPart


@frozen
class ToolCallOpened:
    """The beginning of a tool call; its arguments may follow in pieces."""

    call: ToolCallPart


@frozen
class ToolArgumentsAppended:
    """JSON text to append to the arguments of the named call."""

    tool_call_id: str
    text: str


@frozen
class AnswerFinished:
    """What a model reported at its end: `finish_reason` as chatserve names it, and usage; either may be unknown."""

    finish_reason: str | None = None
    usage: Usage | None = None


@frozen
class StateChanged:
    """The session's state after the turn."""

    state: Mapping[str, Json]


@frozen
class Remark:
    """What the developer should know about a value. Never published: `chatserve dev` logs it."""

    text: str


Output: TypeAlias = (
    AnswerSnapshot
    | MessageAppended
    | TextAppended
    | ReasoningAppended
    | PartAppended
    | ToolCallOpened
    | ToolArgumentsAppended
    | AnswerFinished
    | StateChanged
    | Remark
)
"""The meaning of one returned or yielded value. Finish reasons: stop, length, tool_calls, content_filter."""


@frozen
class AnswerView:
    """What a normalizer may need to know about the turn.

    `given` is the history as the function was given it, whatever the function did to its copy. `message` is the current
    message as passed. `yields`: whether plain strings are snapshots or deltas. `history`: the name of the history's
    format. `additional_outputs`: the names of what follows the answer in a tuple.
    """

    given: Sequence[Any]
    message: Any
    yields: YieldMode
    history: HistoryFormatName = "messages"
    additional_outputs: tuple[str, ...] = ()


class OutputNormalizer(Protocol):
    """Recognizes and interprets one family of values. One instance serves one turn, so it may keep state."""

    @staticmethod
    def accepts(value: object) -> bool:
        """Whether the value belongs to the family; must be cheap and must not raise."""
        ...

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        """Interpret `value`. The result holds copies only, because the function may change the value later.

        Raises:
            AnswerInvalid: the value belongs to the family but is malformed.
        """
        ...


class Interpreter(Protocol):
    """Finds the normalizer for each value of one turn; it serves one turn."""

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        """Interpret `value`. Raises: AnswerInvalid."""
        ...


class FrameEncoder(Protocol):
    """Turns the events of a log into bytes of one format; pure: no clock, no randomness, no I/O.

    `is_per_turn`: the encoder remembers what it has encoded, so each reader has its own; it gets the events of a turn
    from their beginning. `is_complete`: a stream of a whole session may end here.
    """

    is_per_turn: bool

    @property
    def is_complete(self) -> bool: ...

    def encode(self, numbered: NumberedEvent) -> bytes:
        """Return the frames of one event, or b"" if the format cannot express it."""
        ...
