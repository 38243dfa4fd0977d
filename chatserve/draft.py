"""The answer of a turn while it grows: `MessageDraft` is the only birthplace of message events.

Normalized output goes in, events come out that obey the grammar of `chatserve.events`, whatever the function did; so no
encoder ever repairs anything. `Answer` is the same thing read backwards: it folds events into messages, for the draft
itself, for recovery after a crash, and for readers that need a snapshot. Knows no loop, no store, no wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from chatserve.codec import clean_text
from chatserve.contracts import (
    AnswerFinished,
    AnswerSnapshot,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
    ToolCallOpened,
)
from chatserve.errors import AnswerInvalid, AnswerTooLarge
from chatserve.events import (
    Delta,
    Event,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
)
from chatserve.types import (
    ROLES,
    FinalStatus,
    Json,
    LocalFile,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    Usage,
)

Events = Sequence[Event]


class MessageDraft:
    """One answer in the making. Methods take what the function said and return the events it amounts to.

    `max_bytes` bounds the text of the answer (UTF-8); a rewritten answer counts what it was rewritten to.
    """

    def __init__(
        self, turn: Turn, *, new_message_id: Callable[[], str], clock: Callable[[], float], max_bytes: int
    ) -> None:
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._turn = turn
        self._new_message_id = new_message_id
        self._answer = Answer(turn.turn_id, clock)
        self._max_bytes = max_bytes
        self._size = 0
        self._parts = 0
        self._snapshot: str | None = None  # the last plain snapshot, while the answer is nothing else
        self._held = ""  # a high surrogate that waits for its other half
        self._appending = False  # the open message takes appended text

    # the hot path: plain strings

    def snapshot_text(self, text: str) -> Events:
        """Say that the whole answer so far is `text`. The common case, a longer text, costs its new end only."""
        before = self._snapshot
        if before is None:
            return self._return_to_text(text) if self._answer.messages else self._open_text(text)
        if not text.startswith(before):
            return self._replace_text(text)
        if len(text) == len(before):
            return ()
        self._held = ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]  # its other half comes with the next snapshot, or never: see `close`
        self._snapshot = text
        return self._append(text[len(before) :])

    def append_text(self, text: str) -> Events:
        """Append `text` to the answer."""
        if self._held:
            text, self._held = self._held + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        if self._appending:
            return self._append(text)
        return (self._open_appending(), *self._append(text))

    def _append(self, text: str) -> Events:
        if not text:
            return ()
        text = self._measured(text)
        self._answer.append_text(text)
        return (Delta(text),)

    def _measured(self, text: str) -> str:
        if text.isascii():
            self._size += len(text)
        else:
            text = clean_text(text)
            self._size += len(text.encode())
        if self._size > self._max_bytes:
            raise AnswerTooLarge(f"the answer is longer than {self._max_bytes} bytes (max_answer_bytes)")
        return text

    def _open_text(self, text: str) -> Events:
        opened = self._born(MessageOpened(self._new_message_id(), "assistant"))
        self._snapshot = ""
        return (opened, *self.snapshot_text(text))

    def _replace_text(self, text: str) -> Events:
        self._size = 0
        self._snapshot = text
        return (self._born(Replaced(self._measured(text))),)

    def _return_to_text(self, text: str) -> Events:
        events = self._apply_snapshot((ParsedMessage("assistant", (TextPart(text),)),))
        self._snapshot = text
        return events

    def _open_appending(self) -> Event:
        self._snapshot = None
        self._appending = True
        return self._born(MessageOpened(self._new_message_id(), "assistant"))

    def _born(self, event: Event) -> Event:
        self._answer.apply(event)
        return event

    # everything else

    def apply(self, outputs: Iterable[Output]) -> Events:
        """Take what a normalizer made of one value; files must be stored parts by now.

        Raises:
            AnswerInvalid: an unknown role, arguments for a tool call that was never opened.
            AnswerTooLarge: beyond `max_bytes`.
        """
        return [event for output in outputs for event in self._apply_one(output)]

    def _apply_one(self, output: Output) -> Events:
        match output:
            case AnswerSnapshot(messages=messages):
                only = _plain_text(messages)
                return self._apply_snapshot(messages) if only is None else self.snapshot_text(only)
            case TextAppended(text=text):
                return self.append_text(text)
            case MessageAppended(message=message):
                self._leave_plain_text()
                return self._open_message(_checked(message))
            case AnswerFinished():
                self.finish_reason = output.finish_reason or self.finish_reason
                self.usage = output.usage or self.usage
                return ()
            case _:
                return self._append_part(output)

    def _append_part(self, output: ReasoningAppended | PartAppended | ToolCallOpened | ToolArgumentsAppended) -> Events:
        if isinstance(output, ToolArgumentsAppended):
            return (self._born(self._arguments_delta(output)),)
        opened = () if self._appending else (self._open_appending(),)
        match output:
            case ReasoningAppended(text=text):
                return (*opened, self._born(ReasoningDelta(self._measured(text)))) if text else opened
            case PartAppended(part=part):
                return (*opened, self._add_part(_stored(part)))
            case ToolCallOpened(call=call):
                return (*opened, self._add_part(call))

    def _arguments_delta(self, output: ToolArgumentsAppended) -> Event:
        part_id = self._answer.part_id_of_call(output.tool_call_id)
        if part_id is None:
            raise AnswerInvalid(f"arguments for the tool call {output.tool_call_id!r}, which was never opened")
        return PartDelta(part_id, self._measured(output.text))

    def _add_part(self, part: Part) -> Event:
        self._parts += 1
        return self._born(PartAdded(self._answer.open.message_id, f"p{self._parts}", part))

    def _leave_plain_text(self) -> None:
        self._snapshot = None
        self._appending = False

    def _open_message(self, message: ParsedMessage) -> Events:
        metadata = _without_none(message.metadata)
        events = [self._born(MessageOpened(self._new_message_id(), cast("Role", message.role), metadata))]
        events.extend(self._add_content(part) for part in _merged(message.content) if part != TextPart(""))
        if message.options:
            events.append(self._born(MetadataChanged(self._answer.open.message_id, None, tuple(message.options))))
        return events

    def _add_content(self, part: Part) -> Event:
        if isinstance(part, TextPart):
            return self._born(Delta(self._measured(part.text)))
        if isinstance(part, ReasoningPart):
            return self._born(ReasoningDelta(self._measured(part.text)))
        return self._add_part(part)

    # snapshots of several messages, or of messages with more than text

    def _apply_snapshot(self, messages: Sequence[ParsedMessage]) -> Events:
        """Find the events that lead from the answer as it is to `messages`; where there are none, say it whole."""
        self._leave_plain_text()
        checked = [_checked(message) for message in messages]
        current = self._answer.messages
        pairs = list(zip(current, checked, strict=False))
        changes = [_changes(state, message, is_open=state is current[-1]) for state, message in pairs]
        if len(checked) < len(current) or any(change is None for change in changes):
            return self._rewrite(checked)
        events: list[Event] = []
        for (state, _), change in zip(pairs, changes, strict=True):
            events.extend(self._apply_changes(state, change or ()))
        for message in checked[len(current) :]:
            events.extend(self._open_message(message))
        return events

    def _apply_changes(self, state: MessageState, changes: Sequence[Change]) -> Events:
        return [self._apply_change(state, change) for change in changes]

    def _apply_change(self, state: MessageState, change: Change) -> Event:
        match change:
            case TextPart(text=text):
                return self._born(Delta(self._measured(text)))
            case ReasoningPart(text=text):
                return self._born(ReasoningDelta(self._measured(text)))
            case Replaced(text=text):
                is_open = state is self._answer.messages[-1]
                return self._born(Replaced(self._measured(text), None if is_open else state.message_id))
            case MetadataChanged() | PartDelta():
                return self._born(change)
            case _:
                return self._add_part(change)

    def _rewrite(self, messages: Sequence[ParsedMessage]) -> Events:
        kept = [state.message_id for state in self._answer.messages]
        self._answer.messages.clear()
        self._size = 0
        for message in messages:
            self._open_message(message)
        for state, message_id in zip(self._answer.messages, kept, strict=False):
            state.message_id = message_id
        return (Snapshot(self._turn, self._answer.freeze()),)

    # the end

    def close(self) -> Events:
        """Return what is still owed when the function has ended: half a character that never got its other half."""
        if self._held:
            self._held = ""
            return self._append("\N{REPLACEMENT CHARACTER}")
        return ()

    def messages(self, status: FinalStatus | None = None) -> tuple[Message, ...]:
        """Return the answer so far; `status` marks an answer that did not complete."""
        return self._answer.freeze(status)

    @property
    def awaits_tools(self) -> bool:
        """True when the answer calls tools that the client runs, and none of the results is there."""
        parts = [part for message in self._answer.freeze() for part in message.content]
        answered = {part.tool_call_id for part in parts if isinstance(part, ToolResultPart)}
        return any(
            isinstance(part, ToolCallPart) and part.where == "client" and part.tool_call_id not in answered
            for part in parts
        )


Change = TextPart | ReasoningPart | Replaced | MetadataChanged | PartDelta | Part


def _plain_text(messages: Sequence[ParsedMessage]) -> str | None:
    if len(messages) != 1:
        return None
    only = messages[0]
    if only.role != "assistant" or only.metadata or only.options or len(only.content) != 1:
        return None
    part = only.content[0]
    return part.text if isinstance(part, TextPart) else None


def _checked(message: ParsedMessage) -> ParsedMessage:
    if message.role not in ROLES:
        raise AnswerInvalid(f"unknown role {message.role!r} in an answer: use one of {', '.join(sorted(ROLES))}")
    return message


def _stored(part: Part | LocalFile) -> Part:
    if isinstance(part, LocalFile):
        raise AnswerInvalid(f"the file {part.source!r:.200} was not stored before it reached the answer")
    return part


def _merged(content: Sequence[Part | LocalFile]) -> list[Part]:
    """Join neighbouring text, as a reader that only sees deltas would; clean it."""
    merged: list[Part] = []
    for part in map(_stored, content):
        last = merged[-1] if merged else None
        if isinstance(part, TextPart):
            text = clean_text(part.text)
            if isinstance(last, TextPart):
                merged[-1] = TextPart(last.text + text)
            else:
                merged.append(TextPart(text))
        else:
            merged.append(part)
    return merged


def _without_none(metadata: Mapping[str, Json] | None) -> dict[str, Json] | None:
    kept = {key: value for key, value in (metadata or {}).items() if value is not None}
    return kept or None


def _changes(state: MessageState, message: ParsedMessage, *, is_open: bool) -> Sequence[Change] | None:
    """Return what must be said for `state` to become `message`, or None when no event can say it."""
    if state.role != message.role:
        return None
    content = _content_changes(state, _merged(message.content), is_open=is_open)
    return None if content is None else [*content, *_metadata_changes(state, message)]


def _content_changes(state: MessageState, new: list[Part], *, is_open: bool) -> Sequence[Change] | None:
    old = state.content()
    if old == new or (not old and new == [TextPart("")]):
        return ()
    if is_open and (extension := _extension(state, old, new)) is not None:
        return extension
    if all(isinstance(part, TextPart) for part in (*old, *new)):
        return (Replaced("".join(part.text for part in new if isinstance(part, TextPart))),)
    return None


def _extension(state: MessageState, old: Sequence[Part], new: Sequence[Part]) -> Sequence[Change] | None:
    """Return the changes when `new` is `old` with more at its end, else None."""
    if len(new) < len(old) or list(new[: len(old) - 1]) != list(old[:-1]):
        return None
    if not old:
        return list(new)
    added: list[Change] = list(new[len(old) :])
    last, now = old[-1], new[len(old) - 1]
    if last == now:
        return added
    if isinstance(last, TextPart) and isinstance(now, TextPart) and now.text.startswith(last.text):
        return [TextPart(now.text[len(last.text) :]), *added]
    if isinstance(last, ReasoningPart) and isinstance(now, ReasoningPart) and now.text.startswith(last.text):
        return [ReasoningPart(now.text[len(last.text) :]), *added]
    if isinstance(last, ToolCallPart) and isinstance(now, ToolCallPart) and now.arguments.startswith(last.arguments):
        grown = replace(last, arguments=now.arguments)
        return [PartDelta(state.last_part_id, now.arguments[len(last.arguments) :]), *added] if grown == now else None
    return None


def _metadata_changes(state: MessageState, message: ParsedMessage) -> Sequence[Change]:
    new = _without_none(message.metadata) or {}
    changed = {key: value for key, value in new.items() if state.metadata.get(key) != value}
    removed = dict.fromkeys(state.metadata.keys() - new.keys())
    options = tuple(message.options or ())
    if not changed and not removed and options == state.options:
        return ()
    return (
        MetadataChanged(state.message_id, changed | removed or None, options if options != state.options else None),
    )


# --- events folded into messages -----------------------------------------------------------------------------------


class MessageState:
    """One message as the events so far describe it."""

    __slots__ = ("created_at", "message_id", "metadata", "options", "part_ids", "role", "segments")

    def __init__(self, message_id: str, role: Role, metadata: Mapping[str, Json] | None, created_at: float) -> None:
        self.message_id = message_id
        self.role = role
        self.metadata = dict(metadata or {})
        self.options: tuple[Mapping[str, Json], ...] = ()
        self.created_at = created_at
        self.segments: list[list[str] | _Reasoning | _ToolCall | Part] = []  # a bare list of str is text in pieces
        self.part_ids: dict[str, int] = {}

    def append_text(self, text: str) -> None:
        """Add to the text at the end of the message, or begin one there."""
        if self.segments and type(self.segments[-1]) is list:
            self.segments[-1].append(text)
        else:
            self.segments.append([text])

    def append_reasoning(self, text: str) -> None:
        """Add to the reasoning at the end of the message, or begin one there."""
        if self.segments and isinstance(self.segments[-1], _Reasoning):
            self.segments[-1].append(text)
        else:
            self.segments.append(_Reasoning([text]))

    def replace_text(self, text: str) -> None:
        """Let `text` be all the text of the message, in the place of the first text it had."""
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
        """Return the parts; a text that stayed empty is left out unless it is all there is."""
        return [_frozen(segment) for segment in self.segments if segment != []]


class _Reasoning(list[str]):
    """Reasoning in pieces."""


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
    """The messages that a turn's events amount to."""

    def __init__(self, turn_id: str, clock: Callable[[], float]) -> None:
        self.messages: list[MessageState] = []
        self._turn_id = turn_id
        self._clock = clock

    @property
    def open(self) -> MessageState:
        """The message that text is appended to: the last one."""
        return self.messages[-1]

    def append_text(self, text: str) -> None:
        """Take a delta."""
        self.messages[-1].append_text(text)

    def apply(self, event: Event) -> None:
        """Take one event of the turn; those that change no message are ignored."""
        match event:
            case Delta():
                self.messages[-1].append_text(event.text)
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
                self.messages = [_thawed(message) for message in event.messages]
            case _:
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
        """Return the part id of a tool call, or None when there is no such call."""
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


def _thawed(message: Message) -> MessageState:
    state = MessageState(message.message_id, message.role, message.metadata, message.created_at)
    state.options = message.options or ()
    for number, part in enumerate(message.content):
        if isinstance(part, TextPart):
            state.append_text(part.text)
        elif isinstance(part, ReasoningPart):
            state.append_reasoning(part.text)
        else:
            state.add_part(f"{message.message_id}.{number}", part)
    return state


def fold_events(
    events: Iterable[NumberedEvent], turn_id: str, *, status: FinalStatus, now: float
) -> tuple[Message, ...]:
    """Rebuild the answer of one turn from its events, as recovery does after a crash."""
    answer = Answer(turn_id, lambda: now)
    for numbered in events:
        if numbered.turn_id == turn_id:
            answer.apply(numbered.event)
    return answer.freeze(status)
