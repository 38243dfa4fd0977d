"""What the answers of all model libraries have in common: members, tool calls in pieces, usage, finish reasons.

Shared by the output normalizers, which must not import one another. Knows no library by name and imports none: a value
is an object with attributes or a dict with keys, and `member` reads both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from chatserve import codec
from chatserve.contracts.formats import AnswerFinished, Output, PartAppended, ToolArgumentsAppended, ToolCallOpened
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import Json, SourcePart, ToolCallPart, Usage

FINISH_REASONS: Final[Mapping[str, str]] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos_token": "stop",
    "pause_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
"""Chatserve's finish reasons by those of OpenAI, Anthropic, Hugging Face and Google (in lower case)."""

TOKENS: Final = ("input_tokens", "output_tokens")
"""The names of the token counts in most libraries."""


def member(value: Any, name: str) -> Any:
    """Return a dict's item or an object's attribute, or None if it does not exist."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def finish_reason_of(reason: object) -> str | None:
    """Return chatserve's name of a library's finish reason, or None if it is unknown."""
    return FINISH_REASONS.get(reason.lower()) if isinstance(reason, str) else None


def finished(reason: object, usage: Usage | None) -> list[Output]:
    """Return the end of an answer, or nothing if neither reason nor usage is known."""
    known = finish_reason_of(reason)
    return [] if known is None and usage is None else [AnswerFinished(known, usage)]


def sources(citations: Iterable[Any]) -> list[Output]:
    """Return the sources that citations name by an address."""
    return [
        PartAppended(SourcePart(url, member(citation, "title")))
        for citation in citations
        if isinstance(url := member(citation, "url"), str)
    ]


def json_of(value: Any) -> Json:
    """Copy a value as JSON.

    Raises:
        AnswerInvalid: it holds something without a JSON form, the message says where; or a file of Gradio's, which
            would tell the client a path of the server.
    """
    try:
        cleaned = codec.clean_json(value)
    except ValueError as error:
        raise AnswerInvalid(f"a value of type {type(value).__name__} cannot be part of an answer: {error}") from error
    if _holds_file(cleaned):
        raise AnswerInvalid("data in an answer holds a gradio.FileData; make the file content of a message of its own")
    return cleaned


def _holds_file(value: Json) -> bool:
    if isinstance(value, list):
        return any(map(_holds_file, value))
    if not isinstance(value, dict):
        return False
    meta, path = value.get("meta"), value.get("path")
    if isinstance(meta, dict) and meta.get("_type") == "gradio.FileData" and isinstance(path, str):
        return not path.startswith(("http://", "https://"))
    return any(map(_holds_file, value.values()))


def arguments_text(arguments: Any) -> str:
    """Return the arguments of a tool call as JSON text. They may be JSON text already, or a value."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else codec.dumps(json_of(arguments)).decode()


class ToolCalls:
    """The tool calls of one turn, kept apart while their arguments stream in pieces.

    A piece belongs to the last call that was opened with its `key`, unless it has a new id: some servers give every
    call the same index. A call without an id gets one that is unique in the turn.
    """

    def __init__(self) -> None:
        self._ids: dict[Hashable, str] = {}
        self._without_arguments: set[Hashable] = set()
        self._without_id = 0

    def append(
        self,
        key: Hashable,
        call_id: str | None,
        name: str | None,
        arguments: Any,
        where: Literal["server", "client"] = "client",
        kind: Literal["custom"] | None = None,
    ) -> list[Output]:
        """Open the call this piece belongs to, or append to its arguments."""
        text = arguments_text(arguments)
        known = self._ids.get(key)
        is_new = known is None or (call_id and call_id != known)
        if text:
            self._without_arguments.discard(key)
        elif is_new:
            self._without_arguments.add(key)
        if is_new:
            self._ids[key] = opened = call_id or self._new_id()
            return [ToolCallOpened(ToolCallPart(opened, name or "", text, where, kind))]
        return [ToolArgumentsAppended(self._ids[key], text)] if text else []

    def complete(self, key: Hashable, arguments: Any) -> list[Output]:
        """Append arguments to the call of a key if it has none yet."""
        return self.append(key, None, None, arguments) if key in self._without_arguments else []

    def id_of(self, key: Hashable) -> str | None:
        """Return the id of the last call that was opened with a key."""
        return self._ids.get(key)

    def _new_id(self) -> str:
        self._without_id += 1
        return f"call_{self._without_id}"


class UsageTally:
    """The tokens of one turn: the sum of the model's responses. Each response may report more than once."""

    def __init__(self) -> None:
        self._by_response: dict[Hashable, list[int]] = {}

    def report(self, response: Hashable, usage: Any, names: Sequence[str] = TOKENS) -> Usage | None:
        """Set the tokens that a response has used so far; return the sum of the turn, or None if `usage` is None.

        `names`: the members of `usage` that count the input and the output.
        """
        if usage is None:
            return None
        self._by_response[response] = [_count(member(usage, name)) for name in names]
        return Usage(*map(sum, zip(*self._by_response.values(), strict=True)))

    def add(self, usage: Any) -> Usage | None:
        """Add tokens to those of the turn; return what `report` returns."""
        return self.report(len(self._by_response), usage)


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
