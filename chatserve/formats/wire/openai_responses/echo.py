"""The fields of a request that are kept with its turn, so that its response can repeat them later.

Only values that differ from the protocol's defaults and are not large are kept; the inputs are in the history anyway. A
value of a wrong type is not repeated, because clients read responses more strictly than servers read requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chatserve.codec import dumps
from chatserve.core.types import Json
from chatserve.formats.wire.openai_responses.documents import DEFAULTS

MAX_BYTES: Final = 16 * 1024
"""The limit for one field: instructions, tools and schemas may be long."""


def echo_of(body: Mapping[str, Json], *, input_count: int, is_chain: bool) -> dict[str, Json]:
    """Return the kept values: fields to repeat, the number of items before the message, the kind of the session.

    `is_chain`: the session was made for a chain of responses and is not a conversation.
    """
    kept = {name: read(body[name]) for name, read in _FIELDS.items() if body.get(name) is not None}
    echo = {name: value for name, value in kept.items() if value != DEFAULTS[name] and _is_small(value)}
    marks = {
        "previous_response_id": body.get("previous_response_id"),
        "conversation": body.get("conversation") is not None,
        "background": body.get("background") is True,
        "input_count": input_count,
        "is_chain": is_chain,
    }
    return echo | {name: value for name, value in marks.items() if value}


def _is_small(value: Json) -> bool:
    return value is not None and len(dumps(value)) <= MAX_BYTES


def _of(*types: type) -> Callable[[Json], Json]:
    """Return a reader of values of these types. A bool is not an int here."""
    return lambda value: value if type(value) in types else None


def _completed(name: str) -> Callable[[Json], Json]:
    """Return a reader of objects that get the default members of this field."""
    return lambda value: {**DEFAULTS[name], **value} if isinstance(value, dict) else None


def _choice(value: Json) -> Json:
    return value if isinstance(value, str) or (isinstance(value, dict) and "type" in value) else None


def _metadata(value: Json) -> Json:
    is_plain = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return value if is_plain else None


def _tools(value: Json) -> Json:
    return [_tool(tool) for tool in value if isinstance(tool, dict)] if isinstance(value, list) else None


def _tool(tool: dict[str, Any]) -> Json:
    """Return a tool in the flat shape, with all the keys that it has in responses."""
    if tool.get("type") != "function":
        return tool
    nested = tool.get("function")
    flat = {name: value for name, value in tool.items() if name != "function"}
    return {
        "description": None,
        "parameters": None,
        "strict": None,
        **(nested if isinstance(nested, dict) else {}),
        **flat,
    }


_FIELDS: Final[Mapping[str, Callable[[Json], Json]]] = {
    "instructions": _of(str),
    "max_output_tokens": _of(int),
    "max_tool_calls": _of(int),
    "tools": _tools,
    "tool_choice": _choice,
    "truncation": _of(str),
    "parallel_tool_calls": _of(bool),
    "text": _completed("text"),
    "top_p": _of(int, float),
    "temperature": _of(int, float),
    "presence_penalty": _of(int, float),
    "frequency_penalty": _of(int, float),
    "top_logprobs": _of(int),
    "reasoning": _completed("reasoning"),
    "user": _of(str),
    "metadata": _metadata,
    "safety_identifier": _of(str),
    "prompt_cache_key": _of(str),
}
