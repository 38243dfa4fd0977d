"""The output of a response: items that grow with the answer, and the protocol's events for each step.

Rules: an item is added, grows and is done, and keeps its `output_index` and id. One item of text or reasoning is open
at a time; tool calls may be open beside it. Streams and documents both come from here: a stream sends the events, a
document takes the items. Events have no `sequence_number`; the encoder adds it.

Text is an item `message` with one part. Reasoning and thoughts are an item `reasoning` with one summary. A call for the
client is an item `function_call`; one that ran on the server is an `mcp_call` with its result. A file is a link in the
text, a source is an annotation of it. Data is text with JSON if there is no other text. Knows no HTTP and no log.

Source: Open Responses specification of 2026-04-24, "Items" and "Streaming"; OpenAI API reference, "Responses".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, TypeAlias

from chatserve.core.types import DataPart, FilePart, Json, SourcePart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.appended import (
    BREAK,
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

WireEvent: TypeAlias = dict[str, Any]
ItemStatus: TypeAlias = Literal["completed", "incomplete"]

SERVER_LABEL: Final = "chatserve"


class Words:
    """The open item of text. `is_after_link`: it ends with the link to a file, which later text must not touch."""

    kind: Final = "message"

    def __init__(self, item_id: str, index: int) -> None:
        self.item_id = item_id
        self.index = index
        self.pieces: list[str] = []
        self.annotations: list[Json] = []
        self.is_after_link = False
        self.place = {"item_id": item_id, "output_index": index, "content_index": 0}

    def item(self, status: str) -> dict[str, Json]:
        """Return the item in its current state."""
        is_empty = status == "in_progress" and not (self.pieces or self.annotations)
        content = [] if is_empty else [self.part()]
        return {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def part(self) -> dict[str, Json]:
        """Return the part of text in its current state."""
        self.pieces[:] = ["".join(self.pieces)]
        return {
            "type": "output_text",
            "text": self.pieces[0],
            "annotations": list(self.annotations),
            "logprobs": [],
        }

    def opened(self) -> Iterator[WireEvent]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")}
        yield {"type": "response.content_part.added", **self.place, "part": part}

    def add(self, text: str) -> WireEvent:
        self.pieces.append(text)
        return {"type": "response.output_text.delta", **self.place, "delta": text, "logprobs": []}

    def annotate(self, source: SourcePart) -> WireEvent:
        """Cite a source at the end of the text so far: a source does not say which text it belongs to."""
        end = sum(map(len, self.pieces))
        annotation = {
            "type": "url_citation",
            "start_index": end,
            "end_index": end,
            "title": source.title or source.url,
            "url": source.url,
        }
        self.annotations.append(annotation)
        return {
            "type": "response.output_text.annotation.added",
            **self.place,
            "annotation_index": len(self.annotations) - 1,
            "annotation": annotation,
        }

    def closed(self, status: ItemStatus) -> Iterator[WireEvent]:
        part = self.part()
        yield {"type": "response.output_text.done", **self.place, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **self.place, "part": part}
        yield _item_done(self.index, self.item(status))


class Reasoning:
    """The open item of reasoning."""

    kind: Final = "reasoning"

    def __init__(self, item_id: str, index: int) -> None:
        self.item_id = item_id
        self.index = index
        self.pieces: list[str] = []
        self.place = {"item_id": item_id, "output_index": index, "summary_index": 0}

    def item(self, status: str) -> dict[str, Json]:
        """Return the item in its current state."""
        summary = [] if status == "in_progress" and not self.pieces else [self.part()]
        return {"id": self.item_id, "type": "reasoning", "summary": summary}

    def part(self) -> dict[str, Json]:
        """Return the summary in its current state."""
        self.pieces[:] = ["".join(self.pieces)]
        return {"type": "summary_text", "text": self.pieces[0]}

    def opened(self) -> Iterator[WireEvent]:
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")}
        yield {"type": "response.reasoning_summary_part.added", **self.place, "part": part}

    def add(self, text: str) -> WireEvent:
        self.pieces.append(text)
        return {"type": "response.reasoning_summary_text.delta", **self.place, "delta": text}

    def closed(self, status: ItemStatus) -> Iterator[WireEvent]:
        part = self.part()
        yield {"type": "response.reasoning_summary_text.done", **self.place, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **self.place, "part": part}
        yield _item_done(self.index, self.item(status))


class Call:
    """An open call of a tool: an item `function_call`, or `mcp_call` where it runs on the server."""

    def __init__(self, call: ToolCallPart, item_id: str, index: int) -> None:
        self.call = call
        self.item_id = item_id
        self.index = index
        self.arguments: list[str] = []
        self.result: ToolResultPart | None = None
        self.is_written = False
        self.place = {"item_id": item_id, "output_index": index}
        self._events = "response.function_call_arguments" if self.is_client else "response.mcp_call_arguments"

    @property
    def is_client(self) -> bool:
        return self.call.where == "client"

    def item(self, status: str) -> dict[str, Json]:
        """Return the item in its current state."""
        arguments = "".join(self.arguments)
        if self.is_client:
            return {
                "id": self.item_id,
                "type": "function_call",
                "status": status,
                "call_id": self.call.tool_call_id,
                "name": self.call.name,
                "arguments": arguments,
            }
        result = self.result
        is_error = result is not None and result.is_error
        return {
            "id": self.item_id,
            "type": "mcp_call",
            "status": "failed" if is_error else status,
            "server_label": SERVER_LABEL,
            "name": self.call.name,
            "arguments": arguments,
            "output": None if result is None or is_error else json_text(result.output),
            "error": _tool_error(result) if result is not None and is_error else None,
            "approval_request_id": None,
        }

    def opened(self) -> Iterator[WireEvent]:
        yield {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress")}
        if not self.is_client:
            yield {"type": "response.mcp_call.in_progress", **self.place}
        if self.call.arguments:
            yield self.add(self.call.arguments)

    def add(self, text: str) -> WireEvent:
        self.arguments.append(text)
        return {"type": f"{self._events}.delta", **self.place, "delta": text}

    def written(self) -> Iterator[WireEvent]:
        """Yield the event that the arguments are complete, once."""
        if not self.is_written:
            self.is_written = True
            yield {"type": f"{self._events}.done", **self.place, "arguments": "".join(self.arguments)}

    def closed(self, status: ItemStatus) -> Iterator[WireEvent]:
        yield from self.written()
        item = self.item(status)
        if not self.is_client:
            outcome = "completed" if item["status"] == "completed" else "failed"
            yield {"type": f"response.mcp_call.{outcome}", **self.place}
        yield _item_done(self.index, item)


class OutputItems:
    """The items of one answer. `base_url` is the server's address; `last_item_id` names the item that grew last."""

    def __init__(self, base_url: str = "") -> None:
        self._base_url = base_url
        self._ids = ItemIds()
        self._message_id = ""
        self.last_item_id = ""
        self._done: dict[int, dict[str, Json]] = {}
        self._count = 0
        self._open: Words | Reasoning | None = None
        self._data: list[DataPart] = []
        self._has_words = False
        self._calls: dict[str, Call] = {}
        self._client_calls: set[str] = set()

    @property
    def open_words(self) -> Words | None:
        """The open item of text if it takes a plain delta unchanged."""
        words = self._open
        return words if isinstance(words, Words) and not words.is_after_link else None

    def items(self) -> list[dict[str, Json]]:
        """Return all items in their current state."""
        still_open = [*self._calls.values(), *([self._open] if self._open is not None else [])]
        items = self._done | {item.index: item.item("in_progress") for item in still_open}
        return [items[index] for index in sorted(items)]

    def take(self, said: Said) -> Iterable[WireEvent]:  # noqa: PLR0911 - one line per thing said
        """Take a step of the answer and return its events. Iterate over them before the next step."""
        match said:
            case TextAdded(text):
                return self._add_words(text)
            case ReasoningAdded(text):
                return self._add_reasoning(text)
            case MessageBegun(message_id):
                return self._begin_message(message_id)
            case CallOpened(opened):
                return self._open_call(opened)
            case ArgumentsAdded(tool_call_id, text):
                call = self._calls.get(tool_call_id)
                return () if call is None or call.is_written else (call.add(text),)
            case CallClosed(closed):
                return self._close_call(closed)
            case ResultAdded(result):
                return self._add_result(result)
            case PartShown(_, part):
                return self._show(part)
            case Ended():
                return ()

    def take_silently(self, told: Iterable[Said]) -> None:
        """Take steps without events, for documents."""
        for said in told:
            deque(self.take(said), maxlen=0)

    def closed_items(self, status: ItemStatus) -> list[dict[str, Json]]:
        """Close the open items without events, and return all items."""
        deque(self.close(status), maxlen=0)
        return self.items()

    def close(self, status: ItemStatus) -> Iterator[WireEvent]:
        """Close the open items at the end of the answer."""
        yield from self._show_data()
        yield from self._close_open(status)
        for call in list(self._calls.values()):
            yield from self._finish_call(call, status)

    # words and reasoning

    def _begin_message(self, message_id: str) -> Iterator[WireEvent]:
        yield from self._close_open("completed")
        self._message_id = message_id

    def _add_words(self, text: str) -> Iterator[WireEvent]:
        yield from self._open_words()
        words = self._open
        assert isinstance(words, Words)
        self.last_item_id = words.item_id
        if words.is_after_link:
            words.is_after_link = False
            text = BREAK + text
        yield words.add(text)

    def _add_reasoning(self, text: str) -> Iterator[WireEvent]:
        if not isinstance(self._open, Reasoning):
            yield from self._close_open("completed")
            self._open = Reasoning(*self._new_item("rs_"))
            yield from self._open.opened()
        yield self._open.add(text)

    def _open_words(self) -> Iterator[WireEvent]:
        if not isinstance(self._open, Words):
            yield from self._close_open("completed")
            self._open = Words(*self._new_item("msg_"))
            self._has_words = True
            yield from self._open.opened()

    def _close_open(self, status: ItemStatus) -> Iterator[WireEvent]:
        item, self._open = self._open, None
        if item is not None:
            self._done[item.index] = item.item(status)
            yield from item.closed(status)

    def _new_item(self, prefix: str) -> tuple[str, int]:
        self._count += 1
        self.last_item_id = self._ids.next(prefix, self._message_id)
        return self.last_item_id, self._count - 1

    # files, sources, data

    def _show(self, part: FilePart | SourcePart | DataPart) -> Iterator[WireEvent]:
        if isinstance(part, DataPart):
            self._data.append(part)
            return
        yield from self._open_words()
        words = self._open
        assert isinstance(words, Words)
        self.last_item_id = words.item_id
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
        data, self._data = self._data, []
        if data and not self._has_words:
            yield from self._add_words("\n".join(json_text(part.data) for part in data))

    # calls of tools

    def _open_call(self, call: ToolCallPart) -> Iterator[WireEvent]:
        """Open a call. OpenAI's helpers identify client calls by `call_id` and raise an error for a second one."""
        if call.tool_call_id in self._calls or call.tool_call_id in self._client_calls:
            return
        if call.where == "client":
            self._client_calls.add(call.tool_call_id)
        yield from self._close_open("completed")
        prefix = "fc_" if call.where == "client" else "mcp_"
        opened = self._calls[call.tool_call_id] = Call(call, *self._new_item(prefix))
        yield from opened.opened()

    def _close_call(self, closed: ToolCallPart) -> Iterator[WireEvent]:
        call = self._calls.get(closed.tool_call_id)
        if call is None:
            return
        yield from self._finish_call(call, "completed") if call.is_client else call.written()

    def _add_result(self, result: ToolResultPart) -> Iterator[WireEvent]:
        """Take the result of a tool on the server. The protocol's output has no results of the client's tools."""
        call = self._calls.get(result.tool_call_id)
        if call is not None and not call.is_client:
            call.result = result
            yield from self._finish_call(call, "completed")

    def _finish_call(self, call: Call, status: ItemStatus) -> Iterator[WireEvent]:
        del self._calls[call.call.tool_call_id]
        self._done[call.index] = call.item(status)
        self.last_item_id = call.item_id
        yield from call.closed(status)


def _tool_error(result: ToolResultPart) -> dict[str, Json]:
    text = {"type": "text", "text": json_text(result.output)}
    return {"type": "mcp_tool_execution_error", "content": [text]}


def _item_done(index: int, item: dict[str, Json]) -> WireEvent:
    return {"type": "response.output_item.done", "output_index": index, "item": item}
