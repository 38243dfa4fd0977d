"""The output of a response: items that grow with the answer, and the protocol's events for each step.

Rules: an item is added, grows and is done, and keeps its `output_index` and id. One item of text or reasoning is open
at a time; tool calls may be open beside it. Streams and documents both come from here: a stream sends the events, a
document takes the items. Events have no `sequence_number`; the encoder adds it.

Text is an item `message` with one part. Reasoning and thoughts are an item `reasoning` with one summary. A call for the
client is an item `function_call` or, with any text as its input, `custom_tool_call`; one that ran on the server is an
`mcp_call` with its result. A file is a link in the text, a source is an annotation of it. Data is text with JSON if
there is no other text. Knows no HTTP and no log.

Source: Open Responses specification of 2026-04-24, "Items" and "Streaming"; OpenAI API reference, "Responses".
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from chatserve.core.events import Snapshot
from chatserve.core.frozen import frozen
from chatserve.core.types import DataPart, FilePart, Json, Message, SourcePart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.appended import (
    BREAK,
    AppendedAnswer,
    ArgumentsAdded,
    CallClosed,
    CallOpened,
    Ended,
    MessageBegun,
    PartShown,
    ReasoningAdded,
    ResultAdded,
    Said,
    TextAdded,
)
from chatserve.formats.shared.file_links import file_link
from chatserve.formats.shared.history_content import json_text
from chatserve.formats.wire.openai_responses.ids import ItemIds

Item: TypeAlias = dict[str, Any]
WireEvent: TypeAlias = dict[str, Any]
ItemStatus: TypeAlias = Literal["completed", "incomplete"]

SERVER_LABEL: Final = "chatserve"

Namespaces: TypeAlias = Mapping[str, Sequence[str]]
NO_NAMESPACES: Final[Namespaces] = {}


def answer_items(
    messages: Sequence[Message], base_url: str, status: ItemStatus | None, namespaces: Namespaces = NO_NAMESPACES
) -> list[Item]:
    """Return the items of an answer. `status`: that of the items still open at its end; None if it goes on.

    `namespaces`: see `CallItem`.
    """
    items = OutputItems(base_url, namespaces)
    for said in AppendedAnswer().take(Snapshot(None, tuple(messages))):
        items.take(said)
    if status is not None:
        items.close(status)
    return items.items()


@frozen
class TextKind:
    """The protocol's names for one kind of text. `extra`: members of all events of this text."""

    id_prefix: str
    part_index: str
    part_events: str
    text_events: str
    extra: Mapping[str, Json]


WORDS: Final = TextKind("msg_", "content_index", "response.content_part", "response.output_text", {"logprobs": []})
REASONING: Final = TextKind(
    "rs_", "summary_index", "response.reasoning_summary_part", "response.reasoning_summary_text", {}
)


class TextItem:
    """An item of text or reasoning. `is_after_link`: it ends with the link to a file, which later text must not touch.

    `pieces` is the same list as long as the item exists.
    """

    def __init__(self, kind: TextKind, item_id: str, index: int) -> None:
        self.kind = kind
        self.item_id = item_id
        self.index = index
        self.status: str = "in_progress"
        self.pieces: list[str] = []
        self.annotations: list[Json] = []
        self.is_after_link = False
        self.place = {"item_id": item_id, "output_index": index, kind.part_index: 0}

    def item(self) -> Item:
        """Return the item in its current state."""
        is_empty = self.status == "in_progress" and not (self.pieces or self.annotations)
        parts = [] if is_empty else [self._part()]
        if self.kind is REASONING:
            return {"id": self.item_id, "type": "reasoning", "summary": parts}
        return {"id": self.item_id, "type": "message", "role": "assistant", "status": self.status, "content": parts}

    def _part(self) -> dict[str, Json]:
        text = "".join(self.pieces)
        if self.kind is REASONING:
            return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": list(self.annotations), "logprobs": []}

    def opened(self) -> Iterator[WireEvent]:
        yield {"type": f"{self.kind.part_events}.added", **self.place, "part": self._part()}

    def add(self, text: str) -> WireEvent:
        self.pieces.append(text)
        return {"type": f"{self.kind.text_events}.delta", **self.place, "delta": text, **self.kind.extra}

    def annotate(self, source: SourcePart) -> WireEvent:
        """Cite a source at the end of the text so far: a source does not say which text it belongs to."""
        end = sum(map(len, self.pieces))
        title = source.title or source.url
        annotation = {"type": "url_citation", "start_index": end, "end_index": end, "title": title, "url": source.url}
        self.annotations.append(annotation)
        return {
            "type": "response.output_text.annotation.added",
            **self.place,
            "annotation_index": len(self.annotations) - 1,
            "annotation": annotation,
        }

    def closed(self) -> Iterator[WireEvent]:
        part = self._part()
        self.pieces[:] = [part["text"]]  # an ended item costs no more memory than its text
        yield {"type": f"{self.kind.text_events}.done", **self.place, "text": part["text"], **self.kind.extra}
        yield {"type": f"{self.kind.part_events}.done", **self.place, "part": part}


@frozen
class CallKind:
    """The protocol's names for one kind of call: its item, the member with its arguments, their events."""

    type: str
    id_prefix: str
    arguments: str
    events: str


FUNCTION: Final = CallKind("function_call", "fc_", "arguments", "response.function_call_arguments")
CUSTOM: Final = CallKind("custom_tool_call", "ctc_", "input", "response.custom_tool_call_input")
MCP: Final = CallKind("mcp_call", "mcp_", "arguments", "response.mcp_call_arguments")


def call_kind(call: ToolCallPart) -> CallKind:
    """Return the kind of item for a call."""
    if call.where == "server":
        return MCP
    return CUSTOM if call.kind == "custom" else FUNCTION


class CallItem:
    """A call of a tool. One that runs on the server is an item with its result.

    `namespaces`: the namespace and the name in it of tools that the client offered in namespaces.
    """

    def __init__(self, call: ToolCallPart, item_id: str, index: int, namespaces: Namespaces) -> None:
        namespace, name = namespaces.get(call.name, (None, call.name))
        self._namespace = {} if namespace is None else {"namespace": namespace}
        self.call = replace(call, name=name)
        self.item_id = item_id
        self.index = index
        self.status: str = "in_progress"
        self.is_client = call.where == "client"
        self.result: ToolResultPart | None = None
        self._arguments: list[str] = []
        self._is_written = False
        self._place = {"item_id": item_id, "output_index": index}
        self._kind = call_kind(call)

    def item(self) -> Item:
        """Return the item in its current state."""
        name, arguments = self.call.name, "".join(self._arguments)
        if self.is_client:
            status = {} if self._kind is CUSTOM else {"status": self.status}
            return {
                "id": self.item_id,
                "type": self._kind.type,
                **status,
                "call_id": self.call.tool_call_id,
                **self._namespace,
                "name": name,
                self._kind.arguments: arguments,
            }
        output = None if self.result is None else json_text(self.result.output)
        is_error = self.result is not None and self.result.is_error
        error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": output}]}
        return {
            "id": self.item_id,
            "type": "mcp_call",
            "status": "failed" if is_error else self.status,
            "server_label": SERVER_LABEL,
            "name": name,
            "arguments": arguments,
            "output": None if is_error else output,
            "error": error if is_error else None,
            "approval_request_id": None,
        }

    def opened(self) -> Iterator[WireEvent]:
        if not self.is_client:
            yield {"type": "response.mcp_call.in_progress", **self._place}
        if self.call.arguments:
            yield from self.add(self.call.arguments)

    def add(self, text: str) -> Iterator[WireEvent]:
        if not self._is_written:
            self._arguments.append(text)
            yield {"type": f"{self._kind.events}.delta", **self._place, "delta": text}

    def written(self) -> Iterator[WireEvent]:
        """Yield the event that the arguments are complete, once."""
        if not self._is_written:
            self._is_written = True
            arguments = {self._kind.arguments: "".join(self._arguments)}
            yield {"type": f"{self._kind.events}.done", **self._place, **arguments}

    def closed(self) -> Iterator[WireEvent]:
        yield from self.written()
        if not self.is_client:
            outcome = "completed" if self.item()["status"] == "completed" else "failed"
            yield {"type": f"response.mcp_call.{outcome}", **self._place}


class OutputItems:
    """The items of one answer. `base_url` is the server's address. `namespaces`: see `CallItem`."""

    def __init__(self, base_url: str = "", namespaces: Namespaces = NO_NAMESPACES) -> None:
        self.namespaces = namespaces
        self._base_url = base_url
        self._ids = ItemIds()
        self._message_id = ""
        self._items: list[TextItem | CallItem] = []
        self._text: TextItem | None = None  # the open item of text or reasoning
        self._calls: dict[str, CallItem] = {}
        self._data: list[DataPart] = []

    @property
    def open_words(self) -> TextItem | None:
        """The open item of text if it takes a plain delta unchanged."""
        text = self._text
        return text if text is not None and text.kind is WORDS and not text.is_after_link else None

    def items(self) -> list[Item]:
        """Return all items in their current state."""
        return [item.item() for item in self._items]

    def take(self, said: Said) -> list[WireEvent]:
        """Take a step of the answer and return its events."""
        return list(self._tell(said))

    def close(self, status: ItemStatus) -> list[WireEvent]:
        """Close the open items at the end of the answer and return the events."""
        events = [*self._show_data(), *self._close_text(status)]
        for item in self._items:
            events += self._end(item, status)
        return events

    def _tell(self, said: Said) -> Iterator[WireEvent]:  # noqa: C901 - one case per step
        match said:
            case TextAdded(text):
                yield from self._add_words(text)
            case ReasoningAdded(text):
                reasoning = yield from self._open_text(REASONING)
                yield reasoning.add(text)
            case MessageBegun(message_id):
                yield from self._close_text()
                self._message_id = message_id
            case CallOpened(call):
                yield from self._open_call(call)
            case ArgumentsAdded(tool_call_id, text):
                if item := self._calls.get(tool_call_id):
                    yield from item.add(text)
            case CallClosed(ToolCallPart(tool_call_id)):
                if item := self._calls.get(tool_call_id):
                    yield from self._end(item) if item.is_client else item.written()
            case ResultAdded(result):
                yield from self._add_result(result)
            case PartShown(_, part):
                yield from self._show(part)
            case Ended():
                return

    def _begin(self, item: TextItem | CallItem) -> Iterator[WireEvent]:
        self._items.append(item)
        yield {"type": "response.output_item.added", "output_index": item.index, "item": item.item()}
        yield from item.opened()

    def _end(self, item: TextItem | CallItem, status: ItemStatus = "completed") -> Iterator[WireEvent]:
        """End an item, unless it has ended."""
        if item.status == "in_progress":
            item.status = status
            yield from item.closed()
            yield {"type": "response.output_item.done", "output_index": item.index, "item": item.item()}

    def _new_place(self, id_prefix: str) -> tuple[str, int]:
        return self._ids.next(id_prefix, self._message_id), len(self._items)

    # text and reasoning

    def _open_text(self, kind: TextKind) -> Generator[WireEvent, None, TextItem]:
        """Return the open item of this kind. Open one if there is none."""
        text = self._text
        if text is None or text.kind is not kind:
            yield from self._close_text()
            text = self._text = TextItem(kind, *self._new_place(kind.id_prefix))
            yield from self._begin(text)
        return text

    def _close_text(self, status: ItemStatus = "completed") -> Iterator[WireEvent]:
        text, self._text = self._text, None
        if text is not None:
            yield from self._end(text, status)

    def _add_words(self, text: str) -> Iterator[WireEvent]:
        words = yield from self._open_text(WORDS)
        if words.is_after_link:
            words.is_after_link = False
            text = BREAK + text
        yield words.add(text)

    # files, sources, data

    def _show(self, part: FilePart | SourcePart | DataPart) -> Iterator[WireEvent]:
        if isinstance(part, DataPart):
            self._data.append(part)
            return
        words = yield from self._open_text(WORDS)
        if isinstance(part, SourcePart):
            yield words.annotate(part)
            return
        link = file_link(part, self._base_url)
        yield words.add(BREAK + link if words.pieces else link)
        words.is_after_link = True

    def _show_data(self) -> Iterator[WireEvent]:
        """Show data as JSON if the answer has no text.

        The protocol would allow an item of a new type, but OpenAI's library for Python reads it as a message, and
        libraries built on it raise an error for the missing content, or ask again.
        """
        has_words = any(isinstance(item, TextItem) and item.kind is WORDS for item in self._items)
        if self._data and not has_words:
            yield from self._add_words("\n".join(json_text(part.data) for part in self._data))

    # calls of tools

    def _open_call(self, call: ToolCallPart) -> Iterator[WireEvent]:
        """Open a call. OpenAI's helpers identify client calls by `call_id` and raise an error for a second one."""
        known = self._calls.get(call.tool_call_id)
        if known is not None and (known.is_client or known.status == "in_progress"):
            return
        yield from self._close_text()
        place = self._new_place(call_kind(call).id_prefix)
        item = self._calls[call.tool_call_id] = CallItem(call, *place, self.namespaces)
        yield from self._begin(item)

    def _add_result(self, result: ToolResultPart) -> Iterator[WireEvent]:
        """Take the result of a tool on the server. The protocol's output has no results of the client's tools."""
        item = self._calls.get(result.tool_call_id)
        if item is not None and not item.is_client and item.result is None:
            item.result = result
            yield from self._end(item)
