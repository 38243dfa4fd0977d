"""OpenAI Responses: streaming events and whole responses, objects or dicts.

Function and custom tool calls are for the client. MCP calls ran at the provider and come with their results. Of other
built-in tools only generated images are kept, as files.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from chatserve.contracts.formats import (
    AnswerView,
    Output,
    PartAppended,
    ReasoningAppended,
    TextAppended,
)
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import LocalFile, ToolResultPart
from chatserve.formats.shared.model_answer import ToolCalls, UsageTally, finished, json_of, member, sources

_CALLS: Final[Mapping[str, Literal["server", "client"]]] = {
    "function_call": "client",
    "custom_tool_call": "client",
    "mcp_call": "server",
}
_ARGUMENTS: Final = frozenset(
    f"response.{kind}.delta" for kind in ("function_call_arguments", "custom_tool_call_input", "mcp_call_arguments")
)


class OpenAIResponsesNormalizer:
    """Reads events and responses; always appends. A whole response after its own stream adds only its end."""

    def __init__(self) -> None:
        self._tool_calls = ToolCalls()
        self._usage = UsageTally()
        self._streamed = False

    @staticmethod
    def accepts(value: object) -> bool:
        kind = member(value, "type")
        if isinstance(kind, str) and (kind.startswith("response.") or kind == "error"):
            return member(value, "sequence_number") is not None or kind.startswith("response.")
        return member(value, "object") == "response" and isinstance(member(value, "output"), list)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:  # noqa: C901, PLR0911 - one line per event
        match member(value, "type"):
            case "response.output_text.delta" | "response.refusal.delta":
                self._streamed = True
                return [TextAppended(member(value, "delta"))]
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self._streamed = True
                return [ReasoningAppended(member(value, "delta"))]
            case "response.reasoning_summary_part.added":
                return [ReasoningAppended("\n\n")] if member(value, "summary_index") else []
            case "response.output_text.annotation.added":
                return sources([member(value, "annotation")])
            case str(kind) if kind in _ARGUMENTS:
                item_id = member(value, "item_id")
                known = self._tool_calls.id_of(item_id) is not None
                return self._tool_calls.append(item_id, None, None, member(value, "delta")) if known else []
            case "response.output_item.added":
                item = member(value, "item")
                return self._open_call(item) if member(item, "type") in _CALLS else []
            case "response.output_item.done":
                item = member(value, "item")
                return self._close_call(item) if member(item, "type") in _CALLS else _read_image(item)
            case "response.completed" | "response.incomplete":
                return self._read_response(member(value, "response"))
            case "response.failed":
                raise _failure(member(member(value, "response"), "error"))
            case "error":
                raise _failure(value)
            case None:
                return self._read_response(value)
            case _:  # all other events only repeat or announce these
                return ()

    # tool calls

    def _open_call(self, item: Any) -> list[Output]:
        self._streamed = True
        item_id, where = member(item, "id"), _CALLS[member(item, "type")]
        call_id = member(item, "call_id") or item_id
        kind: Literal["custom"] | None = "custom" if member(item, "type") == "custom_tool_call" else None
        return self._tool_calls.append(item_id, call_id, member(item, "name"), _arguments(item), where, kind)

    def _close_call(self, item: Any) -> list[Output]:
        item_id = member(item, "id")
        if self._tool_calls.id_of(item_id) is None:
            outputs = self._open_call(item)
        else:
            outputs = self._tool_calls.complete(item_id, _arguments(item))
        if member(item, "type") == "mcp_call":
            error = json_of(member(item, "error"))
            output = error if error is not None else json_of(member(item, "output"))
            call_id = self._tool_calls.id_of(item_id) or item_id
            outputs.append(PartAppended(ToolResultPart(call_id, output, error is not None)))
        return outputs

    # whole responses

    def _read_response(self, response: Any) -> list[Output]:
        if member(response, "status") == "failed":
            raise _failure(member(response, "error"))
        items = member(response, "output") or []
        outputs = [] if self._streamed else [output for item in items for output in self._read_item(item)]
        self._streamed = False
        reason = member(member(response, "incomplete_details"), "reason")
        if reason is None:
            asks = any(_CALLS.get(member(item, "type")) == "client" for item in items)
            reason = "tool_calls" if asks else "stop"
        return outputs + finished(reason, self._usage.report(member(response, "id"), member(response, "usage")))

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


def _failure(error: Any) -> AnswerInvalid:
    return AnswerInvalid(f"the model's response failed: {member(error, 'code')}: {member(error, 'message')}")


def _arguments(item: Any) -> Any:
    arguments = member(item, "arguments")
    return member(item, "input") if arguments is None else arguments


def _read_content(part: Any) -> list[Output]:
    text = member(part, "text") or member(part, "refusal")
    return ([TextAppended(text)] if text else []) + sources(member(part, "annotations") or ())


def _read_image(item: Any) -> list[Output]:
    image = member(item, "result")
    if member(item, "type") != "image_generation_call" or not isinstance(image, str):
        return []
    kind = member(item, "output_format") or "png"
    return [PartAppended(LocalFile(base64.b64decode(image), f"image.{kind}", f"image/{kind}"))]
