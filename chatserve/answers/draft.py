"""The answer of a turn while it grows: `MessageDraft` is the only birthplace of message events.

Normalized output goes in; events come out that obey the grammar of `chatserve.core.events`, whatever the function did.
So no encoder ever repairs anything. `chatserve.answers.fold` reads the events back. Knows no loop, no store, no wire
format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import cast

from chatserve.answers.fold import Answer, MessageState
from chatserve.codec import clean_text
from chatserve.contracts.formats import (
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
from chatserve.core.errors import AnswerInvalid, AnswerTooLarge
from chatserve.core.events import (
    Delta,
    Event,
    MessageOpened,
    MetadataChanged,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
)
from chatserve.core.types import (
    ROLES,
    DataPart,
    FilePart,
    FinalStatus,
    Json,
    LocalFile,
    Message,
    Part,
    ReasoningPart,
    Role,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    Usage,
)

Events = Sequence[Event]


class MessageDraft:
    """One answer in the making. Methods take what the function said and return the events it amounts to.

    `max_bytes` bounds the text of the answer (UTF-8), tools' arguments included; a rewritten answer counts what it was
    rewritten to. What does not fit is cut off, and `check_size` tells. A method that raises has changed nothing.
    """

    __slots__ = (
        "_answer",
        "_appending",
        "_held",
        "_max_bytes",
        "_new_message_id",
        "_parts",
        "_size",
        "_snapshot",
        "_turn",
        "finish_reason",
        "is_too_large",
        "usage",
        "was_rewritten",
    )

    def __init__(
        self, turn: Turn, *, new_message_id: Callable[[], str], clock: Callable[[], float], max_bytes: int
    ) -> None:
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.was_rewritten = False
        self._turn = turn
        self._new_message_id = new_message_id
        self._answer = Answer(turn.turn_id, clock)
        self._max_bytes = max_bytes
        self._size = 0
        self._parts = 0
        self._snapshot: str | None = None  # the last plain snapshot, while the answer is nothing else
        self._held = ""  # a high surrogate that waits for its other half: see `close`
        self.is_too_large = False
        self._appending = False  # the open message takes appended text

    # the hot path: plain strings

    def grow_to(self, text: str) -> str | None:
        """Take a snapshot that only makes the answer longer, by plain words; return what to append, else None.

        With None nothing has changed, and `snapshot_text` takes it. So it is with `grow_by` and `append_text`.
        """
        before = self._snapshot
        if before is None or not text.startswith(before):
            return None
        added = self._grown(text[len(before) :])
        if added is not None:
            self._snapshot = text
        return added

    def grow_by(self, text: str) -> str | None:
        """Take a delta that makes the answer longer by plain words; return it, else None."""
        return self._grown(text) if self._appending else None

    def _grown(self, text: str) -> str | None:
        size = self._size + len(text)
        pieces = self._answer.pieces
        if pieces is None or not text or not text.isascii() or size > self._max_bytes or self._held:
            return None
        self._size = size
        pieces.append(text)
        return text

    def snapshot_text(self, text: str) -> Events:
        """Say that the whole answer so far is `text`. The common case, a longer text, costs its new end only."""
        before = self._snapshot
        if before is None:
            return self._return_to_text(text) if self._answer.messages else self._open_text(text)
        if not text.startswith(before):
            return self._replace_text(text)
        added = text[len(before) :]
        if added.isascii():
            self._snapshot, self._held = text, ""
            return self._append(added)
        self._snapshot, self._held = _without_half(text)
        return self._append(self._snapshot[len(before) :])

    def append_text(self, text: str) -> Events:
        """Append `text` to the answer."""
        if self._appending and not self._held and text.isascii():
            return self._append(text)
        if not self._appending:
            return (*self._open_appending(), *self.append_text(text))
        if self._held:
            text, self._held = self._held + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return self._append(text)

    def _append(self, text: str) -> Events:
        size = len(text)
        if size and self._size + size <= self._max_bytes and text.isascii():
            self._size += size
        elif not text or not (text := self._measured(text)):
            return ()
        self._answer.append_text(text)
        return (Delta(text),)

    def _measured(self, text: str) -> str:
        """Clean and count a text; return as much of it as the answer may still grow."""
        if text.isascii():
            size = len(text)
        else:
            text = clean_text(text)
            size = len(text.encode())
        self._size += size
        return text if self._size <= self._max_bytes else self._cut(text, self._size - self._max_bytes)

    def _cut(self, text: str, surplus: int) -> str:
        self.is_too_large = True
        self._size = self._max_bytes
        fitting = text.encode()[:-surplus]
        return fitting.decode("utf-8", "ignore")

    def check_size(self) -> None:
        """Check that nothing was cut off. Raises: AnswerTooLarge."""
        if self.is_too_large:
            raise AnswerTooLarge(f"the answer is longer than {self._max_bytes} bytes (max_answer_bytes)")

    def _open_text(self, text: str) -> Events:
        opened = self._born(MessageOpened(self._new_message_id(), "assistant"))
        self._snapshot = ""
        return (opened, *self.snapshot_text(text))

    def _replace_text(self, text: str) -> Events:
        self.was_rewritten = True
        self._snapshot, self._held = _without_half(text)
        self._size = 0
        return (self._born(Replaced(self._measured(self._snapshot))),)

    def _return_to_text(self, text: str) -> Events:
        whole, half = _without_half(text)
        events = self._apply_snapshot((ParsedMessage("assistant", (TextPart(whole),)),))
        self._snapshot, self._held = whole, half
        return events

    def _open_appending(self) -> Events:
        last = self._leave_plain_text()
        self._appending = True
        return (*last, self._born(MessageOpened(self._new_message_id(), "assistant")))

    def _born(self, event: Event) -> Event:
        self._answer.apply(event)
        return event

    # everything else

    def apply(self, output: Output) -> Events:
        """Take one thing a normalizer made of a value; files must be stored parts by now.

        Raises:
            AnswerInvalid: an unknown role, arguments for a tool call that was never opened.
        """
        match output:
            case AnswerSnapshot(messages=messages):
                only = _plain_text(messages)
                return self._apply_snapshot(messages) if only is None else self.snapshot_text(only)
            case TextAppended(text=text):
                return self.append_text(text)
            case MessageAppended(message=message):
                parts = _checked(message)
                return (*self._leave_plain_text(), *self._open_message(message, parts))
            case AnswerFinished():
                self.finish_reason = output.finish_reason or self.finish_reason
                self.usage = output.usage or self.usage
                return ()
            case ToolArgumentsAppended():
                return (self._born(self._arguments_delta(output)),)
            case ReasoningAppended(text=text):
                return self._append_part(ReasoningPart(text))
            case PartAppended(part=part):
                return self._append_part(part)
            case ToolCallOpened(call=call):
                return self._append_part(call)

    def _append_part(self, part: Part | LocalFile) -> Events:
        cleaned = _merged((part,))
        last = self.close() if self._appending else self._open_appending()
        return (*last, *chain.from_iterable(map(self._add_content, cleaned)))

    def _arguments_delta(self, output: ToolArgumentsAppended) -> Event:
        part_id = self._answer.part_id_of_call(clean_text(output.tool_call_id))
        if part_id is None:
            raise AnswerInvalid(f"arguments for the tool call {output.tool_call_id!r}, which was never opened")
        return PartDelta(part_id, self._measured(output.text))

    def _add_part(self, part: Part) -> Event:
        self._parts += 1
        if isinstance(part, ToolCallPart):
            part = replace(part, arguments=self._measured(part.arguments))
        return self._born(PartAdded(self._answer.open.message_id, f"p{self._parts}", part))

    def _leave_plain_text(self) -> Events:
        last = self.close()
        self._snapshot = None
        self._appending = False
        return last

    def _open_message(self, message: ParsedMessage, parts: Sequence[Part]) -> Events:
        metadata = _without_none(message.metadata)
        events = [self._born(MessageOpened(self._new_message_id(), cast("Role", message.role), metadata))]
        events.extend(chain.from_iterable(map(self._add_content, parts)))
        if message.options:
            events.append(self._born(MetadataChanged(self._answer.open.message_id, None, tuple(message.options))))
        return events

    def _add_content(self, part: Part) -> Events:
        if isinstance(part, TextPart):
            return self._append(part.text)
        if isinstance(part, ReasoningPart):
            text = self._measured(part.text)
            return (self._born(ReasoningDelta(text)),) if text else ()
        return (self._add_part(part),)

    # snapshots of several messages, or of messages with more than text

    def _apply_snapshot(self, messages: Sequence[ParsedMessage]) -> Events:
        """Find the events that lead from the answer as it is to `messages`; where there are none, say it whole."""
        new = [(message, _checked(message)) for message in messages]
        self._held = ""
        self._leave_plain_text()
        current = self._answer.messages
        changes = [
            _changes(state, *pair, is_open=state is current[-1]) for state, pair in zip(current, new, strict=False)
        ]
        if len(new) < len(current) or any(change is None for change in changes):
            return self._rewrite(new)
        events: list[Event] = []
        for state, change in zip(list(current), changes, strict=True):
            events.extend(chain.from_iterable(self._apply_change(state, step) for step in change or ()))
        for message, parts in new[len(changes) :]:
            events.extend(self._open_message(message, parts))
        return events

    def _apply_change(self, state: MessageState, change: Change) -> Events:
        match change:
            case Replaced(text=text):
                self._size -= len(state.text().encode())
                is_open = state is self._answer.open
                return (self._born(Replaced(self._measured(text), None if is_open else state.message_id)),)
            case PartDelta(part_id=part_id, text=text):
                return (self._born(PartDelta(part_id, self._measured(text))),)
            case MetadataChanged():
                return (self._born(change),)
            case _:
                return self._add_content(change)

    def _rewrite(self, new: Sequence[tuple[ParsedMessage, Sequence[Part]]]) -> Events:
        kept = [state.message_id for state in self._answer.messages]
        self._answer.messages.clear()
        self._size = self._parts = 0
        for message, parts in new:
            self._open_message(message, parts)
        for state, message_id in zip(self._answer.messages, kept, strict=False):
            state.message_id = message_id
        return (Snapshot(self._turn, self._answer.freeze()),)

    # the end

    def close(self) -> Events:
        """Return what is still owed when no more text follows: half a character that never got its other half."""
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
        if not self._parts:
            return False
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


def _without_half(text: str) -> tuple[str, str]:
    """Split off a high surrogate at the end: its other half comes with the next text, or never."""
    return (text[:-1], text[-1]) if "\ud800" <= text[-1:] <= "\udbff" else (text, "")


def _checked(message: ParsedMessage) -> list[Part]:
    """Return the parts of a message that can be one. Raises: AnswerInvalid."""
    if message.role not in ROLES:
        raise AnswerInvalid(f"unknown role {message.role!r} in an answer: use one of {', '.join(sorted(ROLES))}")
    return _merged(message.content)


def _merged(content: Sequence[Part | LocalFile]) -> list[Part]:
    """Clean the parts, leave out empty ones, and join neighbouring text as a reader that only sees deltas would."""
    merged: list[Part] = []
    for part in map(_cleaned, content):
        last = merged[-1] if merged else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            merged[-1] = TextPart(last.text + part.text)
        elif isinstance(part, ReasoningPart) and isinstance(last, ReasoningPart):
            merged[-1] = ReasoningPart(last.text + part.text)
        elif not isinstance(part, TextPart | ReasoningPart) or part.text:
            merged.append(part)
    return merged


def _cleaned(part: Part | LocalFile) -> Part:
    """Return a part every encoder can write; its JSON values were cleaned when they were read."""
    match part:
        case TextPart(text=text):
            return TextPart(clean_text(text))
        case ReasoningPart(text=text):
            return ReasoningPart(clean_text(text))
        case ToolCallPart():
            tool_call_id, tool, arguments = map(clean_text, (part.tool_call_id, part.name, part.arguments))
            return ToolCallPart(tool_call_id, tool, arguments, part.where)
        case ToolResultPart():
            return replace(part, tool_call_id=clean_text(part.tool_call_id))
        case FilePart():
            return replace(part, name=clean_text(part.name), media_type=clean_text(part.media_type))
        case SourcePart(url=url, title=title):
            return SourcePart(clean_text(url), None if title is None else clean_text(title))
        case DataPart(data=data, name=name):
            return DataPart(data, None if name is None else clean_text(name))
        case LocalFile(source=source):
            raise AnswerInvalid(f"the file {source!r:.200} was not stored before it reached the answer")


def _without_none(metadata: Mapping[str, Json] | None) -> dict[str, Json] | None:
    kept = {key: value for key, value in (metadata or {}).items() if value is not None}
    return kept or None


def _changes(
    state: MessageState, message: ParsedMessage, parts: Sequence[Part], *, is_open: bool
) -> Sequence[Change] | None:
    """Return what must be said for `state` to become `message`, or None when no event can say it."""
    if state.role != message.role:
        return None
    content = _content_changes(state, parts, is_open=is_open)
    return None if content is None else [*content, *_metadata_changes(state, message)]


def _content_changes(state: MessageState, new: Sequence[Part], *, is_open: bool) -> Sequence[Change] | None:
    old = state.content()
    if old == new:
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
