"""What history formats, output normalizers and wire encoders are, and the values they exchange.

Contracts are documented here once; an implementation documents only its difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from chatserve.core.events import NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    DraftPart,
    FilePart,
    Json,
    Message,
    ToolCallPart,
    Usage,
)


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
