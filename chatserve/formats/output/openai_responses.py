"""OpenAI Responses: streaming events and whole responses, objects or dicts.

Function and custom tool calls are for the client. MCP calls ran at the provider and come with their results. Of other
built-in tools only generated images are kept, as files.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from chatserve.codec import clean_json
from chatserve.contracts.formats import (
    AnswerView,
    Output,
    PartAppended,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
)
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import LocalFile, SourcePart, ToolResultPart
from chatserve.formats.shared.model_answer import ToolCalls, UsageTally, finished, member

_CALLS: Final[Mapping[str, Literal["server", "client"]]] = {
    "function_call": "client",
    "custom_tool_call": "client",
    "mcp_call": "server",
}


class OpenAIResponsesNormalizer:
    """Reads events and responses; always appends. A whole response after its own stream adds only its end."""

    def __init__(self) -> None:
        self._tool_calls = ToolCalls()
        self._usage = UsageTally()
        self._call_ids: dict[str, str] = {}
        self._has_arguments: set[str] = set()
        self._streamed = False
        self._readers: Mapping[str, Callable[[Any], list[Output]]] = {
            "response.output_text.delta": self._read_text,
            "response.refusal.delta": self._read_text,
            "response.reasoning_text.delta": self._read_reasoning,
            "response.reasoning_summary_text.delta": self._read_reasoning,
            "response.reasoning_summary_part.added": self._read_summary_part,
            "response.output_text.annotation.added": self._read_annotation,
            "response.output_item.added": self._read_item_added,
            "response.function_call_arguments.delta": self._read_arguments,
            "response.custom_tool_call_input.delta": self._read_arguments,
            "response.mcp_call_arguments.delta": self._read_arguments,
            "response.output_item.done": self._read_item_done,
            "response.completed": self._read_end,
            "response.incomplete": self._read_end,
            "response.failed": self._fail,
            "error": self._fail,
        }  # all other events only repeat or announce these

    @staticmethod
    def accepts(value: object) -> bool:
        kind = member(value, "type")
        if isinstance(kind, str) and (kind.startswith("response.") or kind == "error"):
            return member(value, "sequence_number") is not None or kind.startswith("response.")
        return member(value, "object") == "response" and isinstance(member(value, "output"), list)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        kind = member(value, "type")
        if kind is None:
            return self._read_response(value)
        read = self._readers.get(kind)
        return () if read is None else read(value)

    # events

    def _read_text(self, event: Any) -> list[Output]:
        self._streamed = True
        return [TextAppended(member(event, "delta"))]

    def _read_reasoning(self, event: Any) -> list[Output]:
        self._streamed = True
        return [ReasoningAppended(member(event, "delta"))]

    def _read_summary_part(self, event: Any) -> list[Output]:
        return [ReasoningAppended("\n\n")] if member(event, "summary_index") else []

    def _read_annotation(self, event: Any) -> list[Output]:
        return _sources([member(event, "annotation")])

    def _read_item_added(self, event: Any) -> list[Output]:
        item = member(event, "item")
        return self._open_call(item) if member(item, "type") in _CALLS else []

    def _read_arguments(self, event: Any) -> list[Output]:
        item_id, text = member(event, "item_id"), member(event, "delta")
        if (call_id := self._call_ids.get(item_id)) is None or not text:
            return []
        self._has_arguments.add(item_id)
        return [ToolArgumentsAppended(call_id, text)]

    def _read_item_done(self, event: Any) -> list[Output]:
        item = member(event, "item")
        if member(item, "type") in _CALLS:
            return self._close_call(item)
        return _read_image(item)

    def _read_end(self, event: Any) -> list[Output]:
        return self._read_response(member(event, "response"))

    def _fail(self, event: Any) -> list[Output]:
        response = member(event, "response")
        error = event if response is None else member(response, "error")
        raise AnswerInvalid(f"the model's response failed: {member(error, 'code')}: {member(error, 'message')}")

    # tool calls

    def _open_call(self, item: Any) -> list[Output]:
        self._streamed = True
        item_id, kind = member(item, "id"), member(item, "type")
        call_id = self._call_ids[item_id] = member(item, "call_id") or item_id
        arguments = _arguments(item)
        if arguments:
            self._has_arguments.add(item_id)
        return self._tool_calls.append(item_id, call_id, member(item, "name"), arguments, _CALLS[kind])

    def _close_call(self, item: Any) -> list[Output]:
        item_id, outputs = member(item, "id"), list[Output]()
        if item_id not in self._call_ids:
            outputs += self._open_call(item)
        elif item_id not in self._has_arguments:
            outputs += self._tool_calls.append(item_id, None, None, _arguments(item))
        if member(item, "type") == "mcp_call":
            error = clean_json(member(item, "error"))
            output = error if error is not None else clean_json(member(item, "output"))
            outputs.append(PartAppended(ToolResultPart(self._call_ids[item_id], output, error is not None)))
        return outputs

    # whole responses

    def _read_response(self, response: Any) -> list[Output]:
        if member(response, "status") == "failed":
            self._fail({"response": response})
        items = member(response, "output") or []
        outputs = [] if self._streamed else [output for item in items for output in self._read_item(item)]
        self._streamed = False
        reason = member(member(response, "incomplete_details"), "reason")
        if reason is None:
            asks = any(_CALLS.get(member(item, "type")) == "client" for item in items)
            reason = "tool_calls" if asks else "stop"
        usage = member(response, "usage")
        if usage is None:
            return outputs + finished(reason, None)
        tokens = member(usage, "input_tokens"), member(usage, "output_tokens")
        return outputs + finished(reason, self._usage.report(member(response, "id"), *tokens))

    def _read_item(self, item: Any) -> list[Output]:
        kind = member(item, "type")
        if kind in _CALLS:
            return self._close_call(item)
        if kind == "reasoning":
            texts = [member(part, "text") for part in member(item, "content") or member(item, "summary") or ()]
            return [ReasoningAppended("\n\n".join(texts))] if texts else []
        if kind == "message":
            return [output for part in member(item, "content") or () for output in _read_content(part)]
        return _read_image(item)


def _arguments(item: Any) -> Any:
    arguments = member(item, "arguments")
    return member(item, "input") if arguments is None else arguments


def _read_content(part: Any) -> list[Output]:
    text = member(part, "text") or member(part, "refusal")
    return ([TextAppended(text)] if text else []) + _sources(member(part, "annotations") or ())


def _sources(annotations: Sequence[Any]) -> list[Output]:
    return [
        PartAppended(SourcePart(member(annotation, "url"), member(annotation, "title")))
        for annotation in annotations
        if member(annotation, "type") == "url_citation"
    ]


def _read_image(item: Any) -> list[Output]:
    image = member(item, "result")
    if member(item, "type") != "image_generation_call" or not isinstance(image, str):
        return []
    kind = member(item, "output_format") or "png"
    return [PartAppended(LocalFile(base64.b64decode(image), f"image.{kind}", f"image/{kind}"))]
