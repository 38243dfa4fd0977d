"""An answer told by appending only: what wire formats say that cannot take anything back.

Events may rewrite and take back; most protocols cannot. `AppendedAnswer` turns each event into what there is to
append: the new end of a text, or, where it was rewritten, all of it anew. It also knows which calls of tools are
still open, and whose words are thoughts. The same class tells an answer that is complete (`tell_whole`), so that a
stream and a single document come from one place. Knows no wire format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from chatserve.contracts import TurnRecord
from chatserve.events import (
    Delta,
    Done,
    Event,
    Failed,
    MessageOpened,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
)
from chatserve.types import (
    DataPart,
    FilePart,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    ToolCallPart,
    ToolResultPart,
    TurnError,
)

BREAK: Final = "\n\n"
"""Between a text and what replaces it, where nothing can be taken back."""


class MessageBegun(NamedTuple):
    """Words that follow belong to this message. A thought's title and words are told as reasoning."""

    message_id: str
    is_thought: bool


class TextAdded(NamedTuple):
    """Words of the answer."""

    text: str


class ReasoningAdded(NamedTuple):
    """Words of reasoning, or of a thought."""

    text: str


class CallOpened(NamedTuple):
    """A tool call begins; `call.arguments` is what is known of them."""

    call: ToolCallPart


class ArgumentsAdded(NamedTuple):
    """More of the arguments of an open call."""

    tool_call_id: str
    text: str


class CallClosed(NamedTuple):
    """An open call is complete."""

    call: ToolCallPart


class ResultAdded(NamedTuple):
    """What a tool on the server answered; its call is closed."""

    result: ToolResultPart


class PartShown(NamedTuple):
    """A file, data or a source."""

    message_id: str
    part: FilePart | DataPart | SourcePart


class Ended(NamedTuple):
    """The turn is over. `error` says why it failed, where it did."""

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
    """What was told of one message. Nothing of a message of another role than the assistant's is told but parts."""

    __slots__ = ("is_silent", "message_id", "reasoning", "title", "words")

    def __init__(self, message: MessageOpened | Message) -> None:
        self.message_id = message.message_id
        self.title = str((message.metadata or {}).get("title") or "")
        self.is_silent = message.role != "assistant"
        self.words: list[str] = []
        self.reasoning: list[str] = []


class AppendedAnswer:
    """One turn's answer as it is told. It takes events in order; plain deltas may go the short way, `take_text`."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._open: _Told | None = None
        self._part_ids: list[str] = []
        self._calls: dict[str, tuple[ToolCallPart, list[str]]] = {}  # open ones, by part id
        self._error: TurnError | None = None

    def take_text(self, text: str) -> bool:
        """Take a delta; True when it is a piece of the answer's words, to be told as it is. The hot path."""
        told = self._open
        if told is None:
            return False
        told.words.append(text)
        return not (told.title or told.is_silent)

    def take(self, event: Event) -> Sequence[Said]:  # noqa: PLR0911 - one line per event
        """Return what an event adds to what was told."""
        match event:
            case Delta(text):
                return self._take_delta(text)
            case ReasoningDelta(text):
                return self._take_reasoning(text)
            case MessageOpened():
                return (*self._close_calls(), *self._begin(_Told(event)))
            case Replaced(text, message_id):
                told = self._open if message_id is None else self._told.get(message_id)
                return () if told is None else tuple(_retold(told, told.words, text, is_reasoning=bool(told.title)))
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
            case _:
                return ()

    def _take_delta(self, text: str) -> Sequence[Said]:
        if self.take_text(text):
            return (TextAdded(text),)
        return (ReasoningAdded(text),) if self._open is not None and not self._open.is_silent else ()

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
            yield ReasoningAdded(f"{told.title}\n")

    # parts

    def _add_part(self, message_id: str, part_id: str, part: Part) -> Iterator[Said]:
        self._part_ids.append(part_id)
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
        """Close the open call of this id, or all of them."""
        closed = [part_id for part_id, (call, _) in self._calls.items() if tool_call_id in (None, call.tool_call_id)]
        calls = [self._calls.pop(part_id) for part_id in closed]
        return tuple(CallClosed(replace(call, arguments="".join(pieces))) for call, pieces in calls)

    # rewritten answers

    def _retell(self, snapshot: Snapshot) -> Iterator[Said]:
        """Tell what a snapshot holds beyond what was told; what it took back stays told."""
        if snapshot.turn is not None and snapshot.turn.error is not None:
            self._error = snapshot.turn.error
        shown = 0
        for message in snapshot.messages:
            told = self._told.get(message.message_id)
            if told is None:
                told = _Told(message)
                yield from self._close_calls()
                yield from self._begin(told)
            self._open = told
            yield from self._retell_words(told, message)
            for part in _shown_parts(message):
                shown += 1
                if shown > len(self._part_ids):
                    yield from self._add_part(message.message_id, f"p{shown}", part)

    def _retell_words(self, told: _Told, message: Message) -> Iterator[Said]:
        if told.is_silent:
            return
        reasoning = "".join(part.text for part in message.content if isinstance(part, ReasoningPart))
        yield from _retold(told, told.reasoning, reasoning, is_reasoning=True)
        yield from _retold(told, told.words, message.text, is_reasoning=bool(told.title))


def _retold(told: _Told, pieces: list[str], text: str, *, is_reasoning: bool) -> Iterator[Said]:
    """Tell a text whose beginning may have been told in pieces: its new end, or all of it after a break."""
    before = "".join(pieces)
    pieces[:] = [text]
    if told.is_silent or text == before or not text:
        return
    added = text[len(before) :] if text.startswith(before) else BREAK + text
    yield ReasoningAdded(added) if is_reasoning else TextAdded(added)


def _shown_parts(message: Message) -> Iterable[Part]:
    return (
        part
        for part in message.content
        if isinstance(part, FilePart | DataPart | SourcePart | ToolCallPart | ToolResultPart)
    )


def tell_whole(record: TurnRecord) -> list[Said]:
    """Return all there is to tell of a turn that is over, or of an open one as far as it is."""
    answer = AppendedAnswer()
    return [said for event in record.as_events() for said in answer.take(event)]
