"""An answer told by appending only, for wire formats that cannot take anything back.

Events may rewrite and remove parts of an answer; most protocols cannot. `AppendedAnswer` turns each event into the
steps to append: the new end of a text, or the whole text again if it was rewritten. It also knows which tool calls are
open and which messages are thoughts. The words with which the client itself began the answer (a prefill) are not told:
the client has them. The same class tells a complete answer (`tell_whole`), so a stream and a document
come from one place. Knows no wire format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from chatserve import codec
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import (
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    MessageOpened,
    MetadataChanged,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
)
from chatserve.core.types import (
    DataPart,
    FilePart,
    Json,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
)

BREAK: Final = "\n\n"
"""Separates a text from the text that replaces it."""

_PREFILL: Final = "prefill_length"
"""The key of `Turn.echo` for the number of characters with which the client began the answer."""


def prefill_mark(prefill: str | None) -> dict[str, Json]:
    """Return what the turn of a request keeps about its prefill."""
    return {_PREFILL: len(prefill)} if prefill else {}


def prefill_length(turn: Turn | None) -> int:
    """Return how many characters of a turn's answer its client began with."""
    length: int = ((turn and turn.echo) or {}).get(_PREFILL, 0)
    return length


def continuation(record: TurnRecord) -> tuple[Message, ...]:
    """Return the messages of a turn's answer without the words with which its client began it."""
    length, messages = prefill_length(record.turn), record.messages
    for place, message in enumerate(messages if length else ()):
        if message.role == "assistant" and not message.is_thought:
            begun = replace(message, content=tuple(_without_start(message.content, length)))
            return (*messages[:place], begun, *messages[place + 1 :])
    return messages


def _without_start(content: Sequence[Part], length: int) -> Iterator[Part]:
    """Yield parts without so many characters of their first text."""
    for part in content:
        if isinstance(part, TextPart) and length:
            if len(part.text) > length:
                yield TextPart(part.text[length:])
            length = 0
        else:
            yield part


class MessageBegun(NamedTuple):
    """The following text belongs to this message. A thought's title and text are told as reasoning."""

    message_id: str
    is_thought: bool


class TextAdded(NamedTuple):
    """Text of the answer."""

    text: str


class ReasoningAdded(NamedTuple):
    """Text of reasoning or of a thought."""

    text: str


class CallOpened(NamedTuple):
    """A tool call begins. `call.arguments` holds its arguments so far."""

    call: ToolCallPart


class ArgumentsAdded(NamedTuple):
    """More of the arguments of an open call."""

    tool_call_id: str
    text: str


class CallClosed(NamedTuple):
    """An open call is complete."""

    call: ToolCallPart


class ResultAdded(NamedTuple):
    """The result of a tool on the server. Its call is closed."""

    result: ToolResultPart


class PartShown(NamedTuple):
    """A file, data or a source."""

    message_id: str
    part: FilePart | DataPart | SourcePart


class Ended(NamedTuple):
    """The turn has ended. `error` is set if it failed."""

    done: Done
    error: TurnError | None


Said: TypeAlias = (
    MessageBegun
    | TextAdded
    | ReasoningAdded
    | CallOpened
    | ArgumentsAdded
    | CallClosed
    | ResultAdded
    | PartShown
    | Ended
)


class _Told:
    """What was told of one message. Of a message with another role than `assistant`, only parts are told.

    The first `begun` characters of its text are the client's own; `ahead` of them are still to come.
    """

    __slots__ = ("ahead", "begun", "is_silent", "message_id", "parts", "reasoning", "title", "words")

    def __init__(self, message: MessageOpened | Message) -> None:
        self.message_id = message.message_id
        title = (message.metadata or {}).get("title") or ""
        self.title = title if isinstance(title, str) else codec.dumps(title).decode()
        self.is_silent = message.role != "assistant"
        self.words: list[str] = []
        self.reasoning: list[str] = []
        self.parts = self.begun = self.ahead = 0


class AppendedAnswer:
    """One turn's answer as it is told. It takes events in order; plain deltas may take the short path, `take_text`.

    `prefill` is the length of the turn's prefill, where its events are read from the store: those do not tell it.
    """

    def __init__(self, prefill: int = 0) -> None:
        self._told: dict[str, _Told] = {}
        self._open: _Told | None = None
        self._last: _Told | None = None  # the message whose text was told last
        self._last_thought: _Told | None = None  # the thought whose text was told last, as reasoning
        self._calls: dict[str, tuple[ToolCallPart, list[str]]] = {}  # the open calls by part id
        self._error: TurnError | None = None
        self._prefill = prefill  # the characters that the answer's first text begins with, until there is one

    def take_text(self, text: str) -> bool:
        """Take a delta that can be told as it is. Return False, and do nothing, for one that needs `take`.

        The hot path.
        """
        told = self._last
        if told is None or told is not self._open:
            return False
        told.words.append(text)
        return True

    def take(self, event: Event) -> Sequence[Said]:  # noqa: C901, PLR0911 - one line per event
        """Return the steps that an event adds."""
        match event:
            case Delta(text):
                return self._take_delta(text)
            case ReasoningDelta(text):
                return self._take_reasoning(text)
            case MessageOpened():
                return (*self._close_calls(), *self._begin(_Told(event)))
            case Replaced(text, message_id):
                told = self._open if message_id is None else self._told.get(message_id)
                return () if told is None else tuple(self._retell_text(told, text))
            case PartAdded(message_id, part_id, part):
                return tuple(self._add_part(message_id, part_id, part))
            case PartDelta(part_id, text):
                return self._add_arguments(part_id, text)
            case Snapshot():
                return tuple(self._retell(event))
            case Failed(error):
                self._error = error
                return ()
            case Done():
                return (*self._close_calls(), Ended(event, self._error))
            case TurnAccepted(turn):
                self._prefill = prefill_length(turn) or self._prefill
                return ()
            case MetadataChanged() | StatusReported() | HistoryChanged():
                return ()

    def _take_delta(self, text: str) -> Sequence[Said]:
        if self.take_text(text):
            return (TextAdded(text),)
        told = self._open
        if told is None or told.is_silent:
            return ()
        if told.ahead:
            return self._skip(told, text)
        if told is self._last_thought:
            told.words.append(text)
            return (ReasoningAdded(text),)
        return tuple(self._retell_text(told, "".join((*told.words, text))))

    def _skip(self, told: _Told, text: str) -> Sequence[Said]:
        """Take text of which the client has the beginning."""
        had, new = text[: told.ahead], text[told.ahead :]
        told.words.append(had)
        told.ahead -= len(had)
        if not told.ahead:
            self._last = told
        return self._take_delta(new) if new else ()

    def _take_reasoning(self, text: str) -> Sequence[Said]:
        told = self._open
        if told is None or told.is_silent:
            return ()
        told.reasoning.append(text)
        return (ReasoningAdded(text),)

    def _begin(self, told: _Told) -> Iterator[Said]:
        self._told[told.message_id] = self._open = told
        if told.is_silent:
            return
        yield MessageBegun(told.message_id, bool(told.title))
        if told.title:
            self._last_thought = told
            yield ReasoningAdded(f"{told.title}\n")
        elif self._prefill:
            told.begun = told.ahead = self._prefill
            self._prefill = 0
        else:
            self._last = told

    # parts

    def _add_part(self, message_id: str, part_id: str, part: Part) -> Iterator[Said]:
        if message_id in self._told:
            self._told[message_id].parts += 1
        match part:
            case ToolCallPart():
                self._calls[part_id] = (part, [part.arguments])
                yield CallOpened(part)
            case ToolResultPart():
                yield from self._close_calls(part.tool_call_id)
                yield ResultAdded(part)
            case FilePart() | DataPart() | SourcePart():
                yield PartShown(message_id, part)
            case _:
                return

    def _add_arguments(self, part_id: str, text: str) -> Sequence[Said]:
        if part_id not in self._calls:
            return ()
        call, pieces = self._calls[part_id]
        pieces.append(text)
        return (ArgumentsAdded(call.tool_call_id, text),)

    def _close_calls(self, tool_call_id: str | None = None) -> Sequence[Said]:
        """Close the open call with this id, or all open calls."""
        closed = [part_id for part_id, (call, _) in self._calls.items() if tool_call_id in (None, call.tool_call_id)]
        calls = [self._calls.pop(part_id) for part_id in closed]
        return tuple(CallClosed(replace(call, arguments="".join(pieces))) for call, pieces in calls)

    # rewritten answers

    def _retell(self, snapshot: Snapshot) -> Iterator[Said]:
        """Tell the content of a snapshot that was not told yet. Content that it removed stays told."""
        if snapshot.turn is not None and snapshot.turn.error is not None:
            self._error = snapshot.turn.error
        if not self._told:
            self._prefill = prefill_length(snapshot.turn) or self._prefill
        number = 0
        for message in snapshot.messages:
            told = self._told.get(message.message_id)
            if told is None:
                yield from self._tell_new(message, number)
            else:
                self._open = told
                yield from self._retell_words(told, message)
                yield from self._tell_new_parts(told, message, number)
            number += len(_shown_parts(message))

    def _tell_new(self, message: Message, number: int) -> Iterator[Said]:
        """Tell a message that is new, part by part, as its events would have told it."""
        yield from self._close_calls()
        yield from self._begin(_Told(message))
        for part in message.content:
            if isinstance(part, TextPart):
                yield from self._take_delta(part.text) if part.text else ()
            elif isinstance(part, ReasoningPart):
                yield from self._take_reasoning(part.text)
            else:
                number += 1
                yield from self._add_part(message.message_id, f"p{number}", part)

    def _tell_new_parts(self, told: _Told, message: Message, number: int) -> Iterator[Said]:
        parts = _shown_parts(message)
        for place in range(told.parts, len(parts)):
            yield from self._add_part(message.message_id, f"p{number + place + 1}", parts[place])

    def _retell_words(self, told: _Told, message: Message) -> Iterator[Said]:
        if told.is_silent:
            return
        reasoning = "".join(part.text for part in message.content if isinstance(part, ReasoningPart))
        before = "".join(told.reasoning)
        told.reasoning[:] = [reasoning]
        if reasoning and reasoning != before:
            yield ReasoningAdded(_end_of(reasoning, before))
        yield from self._retell_text(told, message.text)

    def _retell_text(self, told: _Told, text: str) -> Iterator[Said]:
        """Tell the text of a message: its new end, or all of it if it changed or another message was told last."""
        before = "".join(told.words)
        told.words[:] = [text]
        if told.is_silent or text == before or not text:
            return
        last = self._last_thought if told.title else self._last
        is_next = told is last or told.ahead > 0
        if told.ahead:
            before, told.ahead = text[: told.begun], 0
        added = _end_of(text, before) if is_next and text.startswith(before) else BREAK + text[told.begun :]
        if told.title:
            self._last_thought = told
        else:
            self._last = told
        yield ReasoningAdded(added) if told.title else TextAdded(added)


def _end_of(text: str, before: str) -> str:
    """Return the new end of a text, or a break and the whole text if it does not begin with `before`."""
    return text[len(before) :] if text.startswith(before) else BREAK + text


def _shown_parts(message: Message) -> list[Part]:
    return [part for part in message.content if not isinstance(part, TextPart | ReasoningPart)]


def tell_whole(record: TurnRecord) -> list[Said]:
    """Return all steps of an ended turn, or of an open turn so far."""
    answer = AppendedAnswer()
    return [said for event in record.as_events() for said in answer.take(event)]
