"""Reads streams of responses as a strict client would, and raises at the first thing that is out of order.

Written from the protocol's documentation alone: it shares nothing with the encoder. Source: OpenAI API reference,
"Streaming events"; Open Responses specification, "Streaming".
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

FRAME = re.compile(rb"event: ([a-z_.]+)\ndata: ([^\n]*)\n\n", re.DOTALL)
DONE = b"data: [DONE]\n\n"
LAST = {
    "response.completed": {"completed"},
    "response.incomplete": {"incomplete", "cancelled"},
    "response.failed": {"failed"},
}
KEYS = {
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id"),
    *("instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p"),
    *("presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "user", "usage"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier"),
    *("prompt_cache_key", "conversation"),
}


def read_frames(stream: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, up to its [DONE] if it has one; nothing else may stand in it."""
    stream = stream.removesuffix(DONE)
    assert FRAME.sub(b"", stream) == b"", FRAME.sub(b"", stream)
    events = []
    for name, data in FRAME.findall(stream):
        assert not re.search("[\u2028\u2029\u0085]", data.decode())
        event = json.loads(data)
        assert event["type"] == name.decode()
        events.append(event)
    return events


@dataclass
class Item:
    """An item of the output while it grows."""

    item: dict[str, Any]
    index: int
    text: str = ""
    stage: str = "added"
    annotations: list[Any] = field(default_factory=list)


class StrictReader:
    """A client's state between events."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.response: dict[str, Any] = {}
        self.stage = "nothing"
        self.items: dict[int, Item] = {}

    def read(self, event: dict[str, Any]) -> None:
        """Take one event. Raises: AssertionError, KeyError."""
        kind = event["type"]
        self.numbers.append(event["sequence_number"])
        assert self.stage != "over", f"{kind} after the end"
        if "response" in event:
            self._read_lifecycle(kind, event["response"])
            return
        assert self.stage == "in_progress", f"{kind} while {self.stage}"
        if kind == "response.output_item.added":
            self._add(event)
        elif kind == "response.output_item.done":
            self._finish(event)
        else:
            self._grow(kind, self.items[event["output_index"]], event)

    def _read_lifecycle(self, kind: str, response: dict[str, Any]) -> None:
        assert set(response) == KEYS
        assert self.response.get("id", response["id"]) == response["id"]
        before, self.response = self.stage, response
        if kind == "response.created":
            assert (before, response["output"]) == ("nothing", [])
            assert response["status"] in {"queued", "in_progress"}
            self.stage = "created"
        elif kind == "response.queued":
            assert (before, response["status"]) == ("created", "queued")
            self.stage = "queued"
        elif kind == "response.in_progress":
            assert before in {"created", "queued"}
            assert response["status"] == "in_progress"
            self.stage = "in_progress"
        else:
            assert response["status"] in LAST[kind]
            assert all(item.stage == "done" for item in self.items.values()), "an item is open at the end"
            assert response["output"] == [self.items[index].item for index in sorted(self.items)]
            self.stage = "over"

    def _add(self, event: dict[str, Any]) -> None:
        item, index = event["item"], event["output_index"]
        assert index == len(self.items), "indices are dense, and in order"
        assert item["id"] not in {known.item["id"] for known in self.items.values()}
        assert item.get("status", "in_progress") == "in_progress"
        assert item.get("content", []) == [] == item.get("summary", [])
        assert item.get("arguments", "") == ""
        self.items[index] = Item(item, index)

    def _finish(self, event: dict[str, Any]) -> None:
        held, item = self.items[event["output_index"]], event["item"]
        assert (held.item["id"], held.item["type"]) == (item["id"], item["type"])
        kind, stages = item["type"], {"message": "part_done", "reasoning": "part_done", "function_call": "written"}
        stages |= {"mcp_call": "answered"}
        assert held.stage == stages[kind], f"a {kind} is done while {held.stage}"
        said = {
            "message": lambda: item["content"][0]["text"],
            "reasoning": lambda: item["summary"][0]["text"],
            "function_call": lambda: item["arguments"],
            "mcp_call": lambda: item["arguments"],
        }[kind]()
        assert said == held.text
        assert kind != "message" or item["content"][0]["annotations"] == held.annotations
        held.item, held.stage = item, "done"

    def _grow(self, kind: str, held: Item, event: dict[str, Any]) -> None:
        assert event["item_id"] == held.item["id"]
        words, calls = ("message", "reasoning"), ("function_call", "mcp_call")
        steps = {
            "response.content_part.added": ("message", "added", "open"),
            "response.output_text.delta": ("message", "open", "open"),
            "response.output_text.annotation.added": ("message", "open", "open"),
            "response.output_text.done": ("message", "open", "text_done"),
            "response.content_part.done": ("message", "text_done", "part_done"),
            "response.reasoning_summary_part.added": ("reasoning", "added", "open"),
            "response.reasoning_summary_text.delta": ("reasoning", "open", "open"),
            "response.reasoning_summary_text.done": ("reasoning", "open", "text_done"),
            "response.reasoning_summary_part.done": ("reasoning", "text_done", "part_done"),
            "response.function_call_arguments.delta": ("function_call", "added", "added"),
            "response.function_call_arguments.done": ("function_call", "added", "written"),
            "response.mcp_call.in_progress": ("mcp_call", "added", "in_progress"),
            "response.mcp_call_arguments.delta": ("mcp_call", "in_progress", "in_progress"),
            "response.mcp_call_arguments.done": ("mcp_call", "in_progress", "written"),
            "response.mcp_call.completed": ("mcp_call", "written", "answered"),
            "response.mcp_call.failed": ("mcp_call", "written", "answered"),
        }
        item_type, before, after = steps[kind]
        assert (held.item["type"], held.stage) == (item_type, before), f"{kind} in a {held.item['type']} {held.stage}"
        held.stage = after
        assert held.item["type"] in (*words, *calls)
        if held.item["type"] in words:
            assert event.get("content_index", event.get("summary_index")) == 0
        if kind.endswith(".delta"):
            held.text += event["delta"]
        elif kind.endswith("annotation.added"):
            assert event["annotation_index"] == len(held.annotations)
            held.annotations.append(event["annotation"])
        elif kind.endswith("_part.done"):
            assert event["part"]["text"] == held.text
        elif kind.endswith(".done"):
            assert event.get("text", event.get("arguments")) == held.text


def read_stream(stream: bytes) -> StrictReader:
    """Read a whole stream; its numbers are 0, 1, 2, … and its end is [DONE]. Raises: AssertionError."""
    assert stream.endswith(DONE)
    reader = StrictReader()
    for event in read_frames(stream):
        reader.read(event)
    assert reader.stage == "over"
    assert reader.numbers == list(range(len(reader.numbers)))
    return reader
