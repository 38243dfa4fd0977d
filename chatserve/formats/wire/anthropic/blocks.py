"""An answer as content blocks: numbered from 0, with one of them open at a time. Knows no bytes.

Several tool calls may grow at the same time, but only one block may. While the block of a call is open and its
arguments are not a whole JSON object yet, everything that is not for this call waits until the block is closed. A call
gets its block when its arguments begin to stream, or at the answer's end. A call that the chat function has answered
itself by then is left out, because clients would run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from chatserve.codec import dumps, loads
from chatserve.core.types import DataPart, FilePart, Json, SourcePart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.appended import (
    BREAK,
    ArgumentsAdded,
    CallClosed,
    CallOpened,
    MessageBegun,
    PartShown,
    ReasoningAdded,
    ResultAdded,
    Said,
    TextAdded,
)
from chatserve.formats.shared.file_links import file_link

SIGNATURE: Final = "unsigned"
"""The value of the signature that the API requires for reasoning. Nothing checks it."""

Kind: TypeAlias = Literal["text", "thinking", "tool_use"]
BlockEvent: TypeAlias = dict[str, Any]
"""An event of the protocol: a block starts, grows by a delta, or stops."""


class _OpenCall:
    """The call whose block is open."""

    __slots__ = ("_arguments", "_is_whole", "tool_call_id")

    def __init__(self, tool_call_id: str) -> None:
        self.tool_call_id = tool_call_id
        self._arguments = ""
        self._is_whole: bool | None = False

    def add(self, text: str) -> None:
        self._arguments += text
        self._is_whole = None

    def is_meant(self, said: Said) -> bool:
        """Whether this step belongs to the call."""
        match said:
            case ArgumentsAdded(tool_call_id, _) | CallClosed(ToolCallPart(tool_call_id)):
                return tool_call_id == self.tool_call_id
            case _:
                return False

    @property
    def is_whole(self) -> bool:
        """True when the arguments are a whole JSON object, so that no more can follow."""
        if self._is_whole is None:
            self._is_whole = self._arguments.rstrip().endswith("}") and _is_object(self._arguments)
        return self._is_whole


class ContentBlocks:
    """The blocks of one answer as it is told.

    Tools of the server, their results, and sources have no blocks. Data becomes a text block with JSON if the answer
    has nothing else.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._number = -1
        self._kind: Kind | None = None
        self._call: _OpenCall | None = None
        self._waiting: list[Said] = []
        self._held: dict[str, ToolCallPart] = {}
        self._data: list[Json] = []
        self._has_calls = False
        self._has_words = False
        self._owes_break = False

    @property
    def open_text(self) -> int | None:
        """The number of the open block if it takes text unchanged."""
        return self._number if self._kind == "text" and not self._owes_break else None

    def take(self, said: Said) -> Iterator[BlockEvent]:
        """Take a step of the answer; yield the events of its blocks."""
        call = self._call
        if call is None:
            yield from self._tell(said)
        elif isinstance(said, CallClosed) and call.is_meant(said):
            yield from self._end_call()
        elif call.is_meant(said):
            yield from self._tell(said)
        elif call.is_whole:
            yield from self.close()
            yield from self._tell(said)
        else:
            self._waiting.append(said)

    def _tell(self, said: Said) -> Iterator[BlockEvent]:
        match said:
            case MessageBegun():
                yield from self.close()
                self._owes_break = self._has_words
            case TextAdded(text):
                yield from self._add_words(text)
            case ReasoningAdded(text):
                yield from self._grow("thinking", text)
            case CallOpened(ToolCallPart(where="client") as opened):
                self._held[opened.tool_call_id] = opened
            case ArgumentsAdded(tool_call_id, text):
                yield from self._add_arguments(tool_call_id, text)
            case ResultAdded(ToolResultPart(tool_call_id)):
                self._held.pop(tool_call_id, None)
            case PartShown(_, part):
                yield from self._show(part)
            case _:
                return

    def finish(self, *, is_completed: bool) -> Iterator[BlockEvent]:
        """Add the blocks that were held back, and close. Calls of an answer that was cut off may be incomplete."""
        yield from self.close()
        for call in self._held.values() if is_completed else ():
            yield from self._open_call(call)
        if self._data and not (self._has_words or self._has_calls):
            yield from self._add_words("\n".join(dumps(value).decode() for value in self._data))
        yield from self.close()

    def close(self) -> Iterator[BlockEvent]:
        """Close the open block, if there is one."""
        if self._kind is None:
            return
        if self._kind == "thinking":
            yield self._delta("signature_delta", signature=SIGNATURE)
        yield {"type": "content_block_stop", "index": self._number}
        self._kind = self._call = None

    def _end_call(self) -> Iterator[BlockEvent]:
        yield from self.close()
        waiting, self._waiting = self._waiting, []
        for said in waiting:
            yield from self.take(said)

    def _add_words(self, text: str) -> Iterator[BlockEvent]:
        """Add text to the answer. A break after each message keeps them apart for clients that join all text."""
        if self._owes_break:
            text, self._owes_break = BREAK + text, False
        self._has_words = True
        yield from self._grow("text", text)

    def _grow(self, kind: Literal["text", "thinking"], text: str) -> Iterator[BlockEvent]:
        if self._kind != kind:
            empty = {"text": ""} if kind == "text" else {"thinking": "", "signature": ""}
            yield from self._start(kind, empty)
        yield self._delta(f"{kind}_delta", **{kind: text})

    def _show(self, part: FilePart | DataPart | SourcePart) -> Iterator[BlockEvent]:
        if isinstance(part, DataPart):
            self._data.append(part.data)
        elif isinstance(part, FilePart):
            self._owes_break = self._has_words
            yield from self._add_words(file_link(part, self._base_url))
            self._owes_break = True

    def _add_arguments(self, tool_call_id: str, text: str) -> Iterator[BlockEvent]:
        if tool_call_id in self._held:
            yield from self._open_call(self._held.pop(tool_call_id))
        if self._call is not None:
            self._call.add(text)
            yield self._delta("input_json_delta", partial_json=text)
            if self._waiting and self._call.is_whole:
                yield from self._end_call()

    def _open_call(self, call: ToolCallPart) -> Iterator[BlockEvent]:
        self._has_calls = True
        yield from self._start("tool_use", {"id": call.tool_call_id, "name": call.name, "input": {}})
        self._call = _OpenCall(call.tool_call_id)
        if call.arguments:
            self._call.add(call.arguments)
            yield self._delta("input_json_delta", partial_json=call.arguments)

    def _start(self, kind: Kind, members: Mapping[str, Json]) -> Iterator[BlockEvent]:
        yield from self.close()
        self._number += 1
        self._kind = kind
        block = {"type": kind, **members}
        yield {"type": "content_block_start", "index": self._number, "content_block": block}

    def _delta(self, kind: str, **text: str) -> BlockEvent:
        return {"type": "content_block_delta", "index": self._number, "delta": {"type": kind, **text}}


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False
