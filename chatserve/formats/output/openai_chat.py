"""OpenAI Chat Completions: whole completions, chunks, and the events of the SDK's `stream()` helper.

Hugging Face's `ChatCompletionOutput` and `ChatCompletionStreamOutput` and many other libraries and servers use the same
shape; dicts of it are read too. Only the first choice counts. Tool calls are for the client. Legacy `function_call` and
audio are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from chatserve.contracts.formats import AnswerView, Output, ReasoningAppended, TextAppended
from chatserve.formats.shared.model_answer import ToolCalls, UsageTally, finished, member, sources

_HELPER_MODULE: Final = "openai.lib.streaming.chat"
_TOKENS: Final = ("prompt_tokens", "completion_tokens")


class OpenAIChatNormalizer:
    """Reads completions and chunks; always appends.

    The helper sends each chunk and then events with the same content. The events count only if no chunk was seen. A
    whole completion after its own chunks adds only its end.
    """

    def __init__(self) -> None:
        self._tool_calls = ToolCalls()
        self._usage = UsageTally()
        self._streamed: set[str | None] = set()

    @staticmethod
    def accepts(value: object) -> bool:
        kind = type(value)
        if kind.__module__.startswith(_HELPER_MODULE):
            return True
        if not isinstance(member(value, "choices"), list):
            return False
        named = member(value, "object")
        return (isinstance(named, str) and named.startswith("chat.completion")) or "ChatCompletion" in kind.__name__

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        choices = member(value, "choices")
        if choices is None:
            return self._read_helper_event(value, view)
        outputs: list[Output] = []
        response, reason = member(value, "id"), None
        for choice in choices:
            if not member(choice, "index"):
                reason = member(choice, "finish_reason")
                outputs += self._read_choice(choice, response)
        return outputs + finished(reason, self._usage.report(response, member(value, "usage"), _TOKENS))

    def _read_choice(self, choice: Any, response: Any) -> list[Output]:
        if (delta := member(choice, "delta")) is not None:
            self._streamed.add(response)
            return self._read_message(delta, response)
        message = member(choice, "message")
        return [] if message is None or response in self._streamed else self._read_message(message, response)

    def _read_message(self, message: Any, response: Any) -> list[Output]:
        outputs: list[Output] = []
        if reasoning := member(message, "reasoning_content") or member(message, "reasoning"):
            outputs += [ReasoningAppended(reasoning)] if isinstance(reasoning, str) else []
        if content := member(message, "content"):
            outputs += [TextAppended(content)] if isinstance(content, str) else _read_blocks(content)
        if refusal := member(message, "refusal"):
            outputs.append(TextAppended(refusal))
        for place, call in enumerate(member(message, "tool_calls") or ()):
            index, custom = member(call, "index"), member(call, "custom")
            key = (response, place if index is None else index)
            called = member(call, "function") if custom is None else custom
            text = member(called, "arguments" if custom is None else "input")
            kind: Literal["custom"] | None = None if custom is None else "custom"
            outputs += self._tool_calls.append(key, member(call, "id"), member(called, "name"), text, kind=kind)
        annotations = member(message, "annotations") or ()
        return outputs + sources(member(annotation, "url_citation") for annotation in annotations)

    def _read_helper_event(self, event: Any, view: AnswerView) -> list[Output]:
        if event.type == "chunk":
            return list(self.normalize(event.chunk, view))
        if self._streamed:
            return []
        match event.type:
            case "content.delta" | "refusal.delta":
                return [TextAppended(event.delta)]
            case "tool_calls.function.arguments.delta":
                return self._tool_calls.append(event.index, None, event.name, event.arguments_delta)
            case _:
                return []


def _read_blocks(blocks: Any) -> list[Output]:
    """Read content that is a list of text and thinking blocks; some servers send it like that."""
    outputs: list[Output] = []
    for block in blocks:
        if text := member(block, "text"):
            outputs.append(TextAppended(text))
        elif isinstance(thinking := member(block, "thinking"), str):
            outputs.append(ReasoningAppended(thinking))
    return outputs
