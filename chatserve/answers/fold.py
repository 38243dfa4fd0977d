"""Events folded into messages: for the draft itself, for recovery after a crash, for readers that need a snapshot.

`Answer` reads back the events that `MessageDraft` makes; tests check that the two agree. Knows no event loop, no store
and no wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

from chatserve.core.events import (
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
)
from chatserve.core.frozen import replace
from chatserve.core.types import FinalStatus, Json, Message, Part, ReasoningPart, Role, TextPart, ToolCallPart


class MessageState:
    """One message as described by the events so far."""

    __slots__ = ("created_at", "message_id", "metadata", "options", "part_ids", "role", "segments")

    def __init__(self, message_id: str, role: Role, metadata: Mapping[str, Json] | None, created_at: float) -> None:
        self.message_id = message_id
        self.role = role
        self.metadata = dict(metadata or {})
        self.options: tuple[Mapping[str, Json], ...] = ()
        self.created_at = created_at
        self.segments: list[list[str] | _Reasoning | _ToolCall | Part] = []  # a bare list of str is text in pieces
        self.part_ids: dict[str, int] = {}

    def open_text(self) -> list[str]:
        """Return the pieces of the text at the end of the message; begin a text there if it ends with another part."""
        last = self.segments[-1] if self.segments else None
        if type(last) is list:
            return last
        pieces: list[str] = []
        self.segments.append(pieces)
        return pieces

    def append_reasoning(self, text: str) -> None:
        """Append to the reasoning at the end of the message, or begin a reasoning there."""
        if self.segments and isinstance(self.segments[-1], _Reasoning):
            self.segments[-1].append(text)
        else:
            self.segments.append(_Reasoning([text]))

    def replace_text(self, text: str) -> None:
        """Replace all the text of the message by `text`, at the place of its first text."""
        places = [index for index, segment in enumerate(self.segments) if type(segment) is list]
        if not places:
            self.segments.append([text])
            return
        self.segments[places[0]] = [text]
        for place in places[1:]:
            self.segments[place] = []

    def add_part(self, part_id: str, part: Part) -> None:
        """Add a part at the end."""
        self.part_ids[part_id] = len(self.segments)
        self.segments.append(_ToolCall(part) if isinstance(part, ToolCallPart) else part)

    @property
    def last_part_id(self) -> str:
        """The id of the part at the end."""
        return next(reversed(self.part_ids))

    def content(self) -> list[Part]:
        """Return the parts, without empty text."""
        return [_frozen(segment) for segment in self.segments if segment not in ([], [""])]

    def text(self) -> str:
        """Return the text of the message, without its other parts."""
        return "".join(part.text for part in self.content() if isinstance(part, TextPart))


class _Reasoning(list[str]):
    """A reasoning in pieces."""


class _ToolCall:
    """A tool call whose arguments still grow."""

    __slots__ = ("call", "pieces")

    def __init__(self, call: ToolCallPart) -> None:
        self.call = call
        self.pieces = [call.arguments]


def _frozen(segment: list[str] | _Reasoning | _ToolCall | Part) -> Part:
    if isinstance(segment, list):
        segment[:] = ["".join(segment)]  # what was joined once is not joined again
        return ReasoningPart(segment[0]) if isinstance(segment, _Reasoning) else TextPart(segment[0])
    if isinstance(segment, _ToolCall):
        return replace(segment.call, arguments="".join(segment.pieces))
    return segment


class Answer:
    """The messages that a turn's events describe.

    `pieces` is the text at the end of the open message as long as only deltas follow; else None.
    """

    __slots__ = ("_clock", "_turn_id", "messages", "pieces")

    def __init__(self, turn_id: str, clock: Callable[[], float]) -> None:
        self.messages: list[MessageState] = []
        self._turn_id = turn_id
        self._clock = clock
        self.pieces: list[str] | None = None

    @property
    def open(self) -> MessageState:
        """The message that text is appended to: the last one."""
        return self.messages[-1]

    def append_text(self, text: str) -> None:
        """Append the text of a delta. The hot path: one call per token."""
        if self.pieces is None:
            self.pieces = self.open.open_text()
        self.pieces.append(text)

    def apply(self, event: Event) -> None:
        """Apply one event of the turn. Events that change no message are ignored."""
        if type(event) is Delta:
            self.append_text(event.text)
            return
        self.pieces = None
        match event:
            case ReasoningDelta():
                self.open.append_reasoning(event.text)
            case MessageOpened():
                self.messages.append(MessageState(event.message_id, event.role, event.metadata, self._clock()))
            case Replaced():
                (self._named(event.message_id) if event.message_id else self.open).replace_text(event.text)
            case PartAdded():
                self._named(event.message_id).add_part(event.part_id, event.part)
            case PartDelta():
                self._extend_arguments(event)
            case MetadataChanged():
                self._merge_metadata(event)
            case Snapshot():
                numbers = count(1)
                self.messages = [_thawed(message, numbers) for message in event.messages]
            case Delta() | TurnAccepted() | StatusReported() | Failed() | Done() | HistoryChanged():
                pass

    def _named(self, message_id: str) -> MessageState:
        return next(state for state in self.messages if state.message_id == message_id)

    def _extend_arguments(self, event: PartDelta) -> None:
        for state in self.messages:
            segment = state.segments[state.part_ids[event.part_id]] if event.part_id in state.part_ids else None
            if isinstance(segment, _ToolCall):
                segment.pieces.append(event.text)

    def _merge_metadata(self, event: MetadataChanged) -> None:
        state = self._named(event.message_id)
        merged = {**state.metadata, **(event.metadata or {})}
        state.metadata = {key: value for key, value in merged.items() if value is not None}
        if event.options is not None:
            state.options = event.options

    def part_id_of_call(self, tool_call_id: str) -> str | None:
        """Return the part id of a tool call, or None if there is no such call."""
        for state in self.messages:
            for part_id, place in state.part_ids.items():
                segment = state.segments[place]
                if isinstance(segment, _ToolCall) and segment.call.tool_call_id == tool_call_id:
                    return part_id
        return None

    def freeze(self, status: FinalStatus | None = None) -> tuple[Message, ...]:
        """Return the messages as values."""
        return tuple(
            Message(
                message_id=state.message_id,
                role=state.role,
                content=tuple(state.content()) or (TextPart(""),),
                created_at=state.created_at,
                turn_id=self._turn_id,
                metadata=dict(state.metadata) or None,
                options=state.options or None,
                status=status if status != "completed" else None,
            )
            for state in self.messages
        )


def _thawed(message: Message, numbers: Iterator[int]) -> MessageState:
    """Return the state of a message. Parts get the ids they have in the stream: numbers through the whole answer."""
    state = MessageState(message.message_id, message.role, message.metadata, message.created_at)
    state.options = message.options or ()
    for part in message.content:
        if isinstance(part, TextPart):
            state.open_text().append(part.text)
        elif isinstance(part, ReasoningPart):
            state.append_reasoning(part.text)
        else:
            state.add_part(f"p{next(numbers)}", part)
    return state


def fold_events(
    events: Iterable[NumberedEvent], turn_id: str, *, status: FinalStatus, now: float
) -> tuple[Message, ...]:
    """Rebuild the answer of one turn from its events; for recovery after a crash."""
    answer = Answer(turn_id, lambda: now)
    for numbered in events:
        if numbered.turn_id == turn_id:
            answer.apply(numbered.event)
    return answer.freeze(status)
