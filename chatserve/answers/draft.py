"""The answer of a turn while it grows. All message events are made here, by `MessageDraft`.

It takes normalized output and returns events. They obey the grammar of `chatserve.core.events` whatever the function
did, so no encoder has to repair anything. `chatserve.answers.fold` reads the events back. Knows no event loop, no store
and no wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import cast

from chatserve.answers.changes import Change, find_changes
from chatserve.answers.fold import Answer, MessageState
from chatserve.answers.parts import checked_parts, merged_parts, without_none
from chatserve.codec import clean_text
from chatserve.contracts.formats import (
    AnswerFinished,
    AnswerSnapshot,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
    ReasoningAppended,
    Remark,
    StateChanged,
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
from chatserve.core.frozen import replace
from chatserve.core.types import (
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
    """One growing answer. Its methods take what the function said and return the events that express it.

    `max_bytes` limits the text of the answer in UTF-8, tool arguments included; of a rewritten answer only the new text
    counts. Text beyond the limit is cut off, and `check_size` then raises. A method that raises has changed nothing.

    `prefill` is text that precedes what the function says, in its first message that is no thought.
    """

    __slots__ = (
        "_answer",
        "_appending",
        "_held",
        "_max_bytes",
        "_new_message_id",
        "_parts",
        "_prefill",
        "_size",
        "_snapshot",
        "_turn",
        "finish_reason",
        "is_too_large",
        "remark",
        "state",
        "usage",
        "was_rewritten",
    )

    def __init__(
        self,
        turn: Turn,
        *,
        new_message_id: Callable[[], str],
        clock: Callable[[], float],
        max_bytes: int,
        prefill: str = "",
    ) -> None:
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.state: Mapping[str, Json] | None = None
        self.remark: str | None = None
        self.was_rewritten = False
        self._turn = turn
        self._new_message_id = new_message_id
        self._answer = Answer(turn.turn_id, clock)
        self._max_bytes = max_bytes
        self._size = 0
        self._parts = 0
        self._snapshot: str | None = None  # the last plain snapshot, as long as the answer is nothing else
        self._prefill = prefill
        self._held = ""  # a high surrogate whose other half has not come yet: see `close`
        self.is_too_large = False
        self._appending = False  # True while appended text goes to the open message

    # the hot path: plain strings

    def grow_to(self, text: str) -> str | None:
        """Take a snapshot that only adds plain ASCII text at the end; return the added text.

        Returns None, and changes nothing, for any other snapshot: pass it to `snapshot_text`.
        """
        before = self._snapshot
        if before is None or not text.startswith(before):
            return None
        added = self._grown(text[len(before) :])
        if added is not None:
            self._snapshot = text
        return added

    def grow_by(self, text: str) -> str | None:
        """Take a delta of plain ASCII text and return it; None for any other delta: pass it to `append_text`."""
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
        """Make `text` the whole answer so far. A text that only grew costs its new end."""
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
        if not self._appending:
            return (*self._open_appending(), *self.append_text(text))
        if self._held or not text.isascii():
            text, self._held = _without_half(self._held + text)
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
        """Clean and count a text; return the part of it that still fits."""
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
        """Raise AnswerTooLarge if text was cut off."""
        if self.is_too_large:
            raise AnswerTooLarge(f"the answer is longer than {self._max_bytes} bytes (max_answer_bytes)")

    def _open_text(self, text: str) -> Events:
        opened = self._open_empty()
        self._snapshot = ""
        return (*opened, *self.snapshot_text(text))

    def _replace_text(self, text: str) -> Events:
        self.was_rewritten = True
        self._snapshot, self._held = _without_half(text)
        self._size = 0
        return (self._applied(Replaced(self._measured(self._prefill + self._snapshot))),)

    def _return_to_text(self, text: str) -> Events:
        whole, half = _without_half(text)
        events = self._apply_snapshot((ParsedMessage("assistant", (TextPart(whole),)),))
        self._snapshot, self._held = whole, half
        return events

    def _open_appending(self) -> Events:
        last = self._leave_plain_text()
        self._appending = True
        return (*last, *self._open_empty())

    def _open_empty(self) -> Events:
        """Open a message of the assistant. The first one begins with the prefill."""
        begins_with = "" if self._has_begun else self._prefill
        opened = self._applied(MessageOpened(self._new_message_id(), "assistant"))
        return (opened, *self._append(begins_with))

    @property
    def _has_begun(self) -> bool:
        """True once there is a message that begins with the prefill."""
        return any(
            state.role == "assistant" and not (state.metadata or {}).get("title") for state in self._answer.messages
        )

    def _prefilled(self, messages: Sequence[ParsedMessage]) -> Sequence[ParsedMessage]:
        """Put the prefill before the first message that is no thought."""
        for place, message in enumerate(messages if self._prefill else ()):
            if message.role == "assistant" and not (message.metadata or {}).get("title"):
                begun = replace(message, content=(TextPart(self._prefill), *message.content))
                return (*messages[:place], begun, *messages[place + 1 :])
        return messages

    def _applied(self, event: Event) -> Event:
        self._answer.apply(event)
        return event

    # everything else

    def apply(self, output: Output) -> Events:
        """Take one output of a normalizer. Its files must have been stored.

        Raises:
            AnswerInvalid: an unknown role, or arguments for a tool call that was never opened.
        """
        match output:
            case AnswerSnapshot(messages=messages):
                only = _plain_text(messages)
                return self._apply_snapshot(messages) if only is None else self.snapshot_text(only)
            case TextAppended(text=text):
                return self.append_text(text)
            case MessageAppended(message=message):
                (message,) = (message,) if self._has_begun else self._prefilled((message,))
                parts = checked_parts(message)
                return (*self._leave_plain_text(), *self._open_message(message, parts))
            case AnswerFinished() | StateChanged() | Remark():
                return self._note(output)
            case ToolArgumentsAppended():
                return (self._applied(self._arguments_delta(output)),)
            case ReasoningAppended(text=text):
                return self._append_part(ReasoningPart(text))
            case PartAppended(part=part):
                return self._append_part(part)
            case ToolCallOpened(call=call):
                return self._append_part(call)

    def _note(self, output: AnswerFinished | StateChanged | Remark) -> Events:
        """Keep what is no part of the answer."""
        match output:
            case AnswerFinished():
                self.finish_reason = output.finish_reason or self.finish_reason
                self.usage = output.usage or self.usage
            case StateChanged(state=state):
                self.state = state
            case Remark(text=text):
                self.remark = text
        return ()

    def _append_part(self, part: Part | LocalFile) -> Events:
        cleaned = merged_parts((part,))
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
        return self._applied(PartAdded(self._answer.open.message_id, f"p{self._parts}", part))

    def _leave_plain_text(self) -> Events:
        last = self.close()
        self._snapshot = None
        self._appending = False
        return last

    def _open_message(self, message: ParsedMessage, parts: Sequence[Part]) -> Events:
        metadata = without_none(message.metadata)
        events = [self._applied(MessageOpened(self._new_message_id(), cast("Role", message.role), metadata))]
        events.extend(chain.from_iterable(map(self._add_content, parts)))
        if message.options:
            events.append(self._applied(MetadataChanged(self._answer.open.message_id, None, tuple(message.options))))
        return events

    def _add_content(self, part: Part) -> Events:
        if isinstance(part, TextPart):
            return self._append(part.text)
        if isinstance(part, ReasoningPart):
            text = self._measured(part.text)
            return (self._applied(ReasoningDelta(text)),) if text else ()
        return (self._add_part(part),)

    # snapshots of several messages, or of messages with more than text

    def _apply_snapshot(self, messages: Sequence[ParsedMessage]) -> Events:
        """Make the answer `messages`: by changes to the messages it has, or else by a snapshot of all of it."""
        new = [(message, checked_parts(message)) for message in self._prefilled(messages)]
        self._held = ""
        self._leave_plain_text()
        current = self._answer.messages
        changes = [
            find_changes(state, *pair, is_open=state is current[-1]) for state, pair in zip(current, new, strict=False)
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
                return (self._applied(Replaced(self._measured(text), None if is_open else state.message_id)),)
            case PartDelta(part_id=part_id, text=text):
                return (self._applied(PartDelta(part_id, self._measured(text))),)
            case MetadataChanged():
                return (self._applied(change),)
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
        """Return the events that are due when no more text follows: a replacement for half a surrogate pair."""
        if self._held:
            self._held = ""
            return self._append("\N{REPLACEMENT CHARACTER}")
        return ()

    def messages(self, status: FinalStatus | None = None) -> tuple[Message, ...]:
        """Return the answer so far. `status` marks an answer that did not complete."""
        return self._answer.freeze(status)

    @property
    def awaits_tools(self) -> bool:
        """True when the answer calls a tool that the client runs and does not hold its result."""
        if not self._parts:
            return False
        parts = [part for message in self._answer.freeze() for part in message.content]
        answered = {part.tool_call_id for part in parts if isinstance(part, ToolResultPart)}
        return any(
            isinstance(part, ToolCallPart) and part.where == "client" and part.tool_call_id not in answered
            for part in parts
        )


def _plain_text(messages: Sequence[ParsedMessage]) -> str | None:
    if len(messages) != 1:
        return None
    only = messages[0]
    if only.role != "assistant" or only.metadata or only.options or len(only.content) != 1:
        return None
    part = only.content[0]
    return part.text if isinstance(part, TextPart) else None


def _without_half(text: str) -> tuple[str, str]:
    """Split off a high surrogate at the end: its other half may come with the next text."""
    return (text[:-1], text[-1]) if "\ud800" <= text[-1:] <= "\udbff" else (text, "")
