"""Hugging Face text generation: `TextGenerationStreamOutput`, `TextGenerationOutput`, and dicts of their shapes.

Chat completions of Hugging Face have OpenAI's shape and are read in `openai_chat`. A `TextIteratorStreamer` is not a
value but an iterator of values: `chat_function` iterates over one that is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output, TextAppended
from chatserve.formats.shared.model_answer import UsageTally, finished, member


class HuggingFaceNormalizer:
    """Reads generated tokens except special ones, or a whole generation; always appends."""

    def __init__(self) -> None:
        self._usage = UsageTally()

    @staticmethod
    def accepts(value: object) -> bool:
        if isinstance(value, dict):
            token = value.get("token")
            is_token = isinstance(token, dict) and "text" in token and "generated_text" in value
            return is_token or ("generated_text" in value and "details" in value)
        return hasattr(value, "generated_text") and hasattr(value, "details")

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        token, details = member(value, "token"), member(value, "details")
        if token is None:
            text = member(value, "generated_text")
        else:
            text = None if member(token, "special") else member(token, "text")
        outputs: list[Output] = [TextAppended(text)] if text else []
        if details is None:
            return outputs
        input_tokens = member(details, "input_length")
        if input_tokens is None:
            input_tokens = len(member(details, "prefill") or ())
        spent = {"input_tokens": input_tokens, "output_tokens": member(details, "generated_tokens")}
        return outputs + finished(member(details, "finish_reason"), self._usage.add(spent))
