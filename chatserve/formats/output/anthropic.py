"""Anthropic Messages: raw stream events, the events of the SDK's `stream()` helper, and whole messages.

They may be objects or dicts. `tool_use` calls are for the client. `server_tool_use` and `mcp_tool_use` calls ran at the
provider and come with their results. Signatures and redacted thinking are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from chatserve.contracts.formats import AnswerView, Output, PartAppended, ReasoningAppended, TextAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import ToolResultPart, Usage
from chatserve.formats.shared.model_answer import ToolCalls, UsageTally, finished, json_of, member, sources

_NEEDS: Final[Mapping[str, str]] = {
    "message_start": "message",
    "content_block_start": "content_block",
    "content_block_delta": "delta",
    "content_block_stop": "index",
    "message_delta": "delta",
    "message_stop": "type",
    "ping": "type",
    "error": "error",
    "text": "snapshot",
    "thinking": "snapshot",
    "input_json": "snapshot",
    "citation": "snapshot",
    "signature": "signature",
    "message": "usage",
}
"""The values of `type`, each with a member that only Anthropic's value of this type has."""
_CALLS: Final[Mapping[str, Literal["server", "client"]]] = {
    "tool_use": "client",
    "server_tool_use": "server",
    "mcp_tool_use": "server",
}


class AnthropicNormalizer:
    """Reads events and messages; always appends.

    The helper sends each raw delta and then an event with the same content. The event counts only if no raw delta of
    its kind was seen. A whole message after its own stream adds only its end.
    """

    def __init__(self) -> None:
        self._tool_calls = ToolCalls()
        self._usage = UsageTally()
        self._response: str | None = None
        self._input_tokens: int | None = None
        self._place: Any = None
        self._raw: set[str] = set()
        self._streamed = False

    @staticmethod
    def accepts(value: object) -> bool:
        kind = member(value, "type")
        needed = _NEEDS.get(kind) if isinstance(kind, str) else None
        return needed is not None and member(value, needed) is not None

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        match member(value, "type"):
            case "content_block_delta":
                return self._read_delta(value)
            case "content_block_start":
                self._streamed, self._place = True, member(value, "index")
                return self._read_block(member(value, "content_block"), self._place)
            case "content_block_stop":
                return self._tool_calls.complete((self._response, member(value, "index")), "{}")
            case "message_start":
                message = member(value, "message")
                self._response, self._streamed = member(message, "id"), True
                self._input_tokens = _input_tokens(member(message, "usage"))
                return ()
            case "message_delta":
                reason = member(member(value, "delta"), "stop_reason")
                return finished(reason, self._tally(member(value, "usage")))
            case "message":
                return self._read_message(value)
            case "error":
                error = member(value, "error")
                raise AnswerInvalid(f"the model's stream failed: {member(error, 'type')}: {member(error, 'message')}")
            case kind:
                return self._read_repeated(_REPEATS[kind], value) if kind in _REPEATS else ()

    # events

    def _read_delta(self, event: Any) -> list[Output]:
        self._streamed, self._place = True, member(event, "index")
        delta = member(event, "delta")
        kind = member(delta, "type")
        self._raw.add(kind)
        return self._append(kind, delta)

    def _read_repeated(self, kind: str, event: Any) -> list[Output]:
        if kind in self._raw:
            return []
        self._streamed = True
        return self._append(kind, event)

    def _append(self, kind: str, delta: Any) -> list[Output]:
        match kind:
            case "text_delta":
                return [TextAppended(member(delta, "text"))]
            case "thinking_delta":
                return [ReasoningAppended(member(delta, "thinking"))]
            case "input_json_delta":
                return self._tool_calls.append((self._response, self._place), None, None, member(delta, "partial_json"))
            case "citations_delta":
                return sources([member(delta, "citation")])
            case _:
                return []

    def _tally(self, usage: Any) -> Usage | None:
        input_tokens = _input_tokens(usage) or self._input_tokens
        spent = {"input_tokens": input_tokens, "output_tokens": member(usage, "output_tokens")}
        return self._usage.report(self._response, None if usage is None else spent)

    # whole messages

    def _read_message(self, message: Any) -> list[Output]:
        response = member(message, "id")
        known = self._streamed and self._response in {response, None}
        self._response, self._streamed = response, False
        outputs: list[Output] = []
        for place, block in enumerate(() if known else member(message, "content") or ()):
            outputs += self._read_block(block, place)
            outputs += self._tool_calls.complete((response, place), "{}")
        return outputs + finished(member(message, "stop_reason"), self._tally(member(message, "usage")))

    def _read_block(self, block: Any, place: Any) -> list[Output]:
        kind = member(block, "type")
        if kind == "text":
            text = member(block, "text")
            return ([TextAppended(text)] if text else []) + sources(member(block, "citations") or ())
        if kind == "thinking":
            thinking = member(block, "thinking")
            return [ReasoningAppended(thinking)] if thinking else []
        if kind in _CALLS:
            return self._open_call(block, place)
        if isinstance(kind, str) and kind.endswith("_tool_result"):
            return [PartAppended(_read_tool_result(block))]
        return []

    def _open_call(self, block: Any, place: Any) -> list[Output]:
        key, where = (self._response, place), _CALLS[member(block, "type")]
        arguments = member(block, "input") or None
        return self._tool_calls.append(key, member(block, "id"), member(block, "name"), arguments, where)


_REPEATS: Final[Mapping[str, str]] = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "input_json": "input_json_delta",
    "citation": "citations_delta",
}


def _input_tokens(usage: Any) -> int | None:
    """Return the input tokens including cached ones: Anthropic counts those separately, other libraries do not."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    counts = [count for name in names if isinstance(count := member(usage, name), int)]
    return sum(counts) if counts else None


def _read_tool_result(block: Any) -> ToolResultPart:
    content = json_of(member(block, "content"))
    is_error = bool(member(block, "is_error")) or (isinstance(content, dict) and "error_code" in content)
    return ToolResultPart(member(block, "tool_use_id"), content, is_error)
