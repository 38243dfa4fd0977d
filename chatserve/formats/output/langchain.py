"""LangChain messages: chunks, whole messages, tool messages, and LangGraph's `(chunk, metadata)` pairs.

The pairs come from `stream_mode="messages"`. Tool calls are for the client; if an agent inside the function runs them,
its tool messages follow as results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatserve.contracts.formats import (
    AnswerView,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
    ReasoningAppended,
    TextAppended,
)
from chatserve.core.types import ToolResultPart
from chatserve.formats.shared.content import read_content, read_part
from chatserve.formats.shared.model_answer import ToolCalls, UsageTally, finished, json_of, member

_FILES: Final = frozenset({"image", "image_url", "audio", "video", "file"})
_ROLES: Final[Mapping[str, str]] = {"human": "user", "HumanMessageChunk": "user"}


class LangChainNormalizer:
    """Reads LangChain messages; always appends. A whole message after its own chunks (the same id) is ignored."""

    def __init__(self) -> None:
        self._tool_calls = ToolCalls()
        self._usage = UsageTally()
        self._streamed: set[str] = set()

    @staticmethod
    def accepts(value: object) -> bool:
        if isinstance(value, tuple):
            return len(value) == 2 and isinstance(value[1], dict) and _is_langchain_message(value[0])
        return _is_langchain_message(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        message = value[0] if isinstance(value, tuple) else value
        kind = member(message, "type")
        if kind in {"ai", "AIMessageChunk"}:
            return self._read_ai_message(message, is_chunk=kind != "ai")
        if kind in {"tool", "ToolMessageChunk"}:
            return (PartAppended(_read_tool_message(message)),)
        role = member(message, "role") or _ROLES.get(kind, "system")
        return (MessageAppended(ParsedMessage(role, read_content(member(message, "content")))),)

    def _read_ai_message(self, message: Any, *, is_chunk: bool) -> list[Output]:
        message_id = member(message, "id")
        if is_chunk and message_id:
            self._streamed.add(message_id)
        elif message_id in self._streamed:
            return []
        outputs = _read_reasoning(message) + _read_content(member(message, "content"))
        outputs += self._read_tool_calls(message, message_id, is_chunk=is_chunk)
        return outputs + self._read_end(message)

    def _read_tool_calls(self, message: Any, message_id: Any, *, is_chunk: bool) -> list[Output]:
        calls = (
            member(message, "tool_call_chunks") or ()
            if is_chunk
            else [*(member(message, "tool_calls") or ()), *(member(message, "invalid_tool_calls") or ())]
        )
        outputs: list[Output] = []
        for place, call in enumerate(calls):
            key = (message_id, place if call.get("index") is None else call["index"])
            outputs += self._tool_calls.append(key, call.get("id"), call.get("name"), call.get("args"))
        return outputs

    def _read_end(self, message: Any) -> list[Output]:
        end = member(message, "response_metadata") or {}
        reason = end.get("finish_reason") or end.get("stop_reason") or end.get("done_reason")
        return finished(reason, self._usage.add(member(message, "usage_metadata") or None))


def _is_langchain_message(value: object) -> bool:
    return member(value, "additional_kwargs") is not None and member(value, "response_metadata") is not None


def _read_reasoning(message: Any) -> list[Output]:
    reasoning = (member(message, "additional_kwargs") or {}).get("reasoning_content")
    return [ReasoningAppended(reasoning)] if isinstance(reasoning, str) and reasoning else []


def _read_content(content: Any) -> list[Output]:
    if isinstance(content, str):
        return [TextAppended(content)] if content else []
    return [output for block in content or () for output in _read_block(block)]


def _read_block(block: Any) -> list[Output]:
    if isinstance(block, str):
        return [TextAppended(block)]
    kind = block.get("type")
    if kind == "text":
        return [TextAppended(block["text"])] if block.get("text") else []
    if kind in {"thinking", "reasoning"}:
        thought = block.get("thinking") or block.get("reasoning") or _summary(block.get("summary"))
        return [ReasoningAppended(thought)] if thought else []
    return [PartAppended(read_part(block))] if kind in _FILES else []


def _summary(summary: Any) -> str:
    return "\n\n".join(part.get("text", "") for part in summary) if isinstance(summary, list) else ""


def _read_tool_message(message: Any) -> ToolResultPart:
    output = json_of(member(message, "content"))
    return ToolResultPart(member(message, "tool_call_id"), output, member(message, "status") == "error")
