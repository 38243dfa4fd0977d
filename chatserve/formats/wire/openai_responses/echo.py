"""The fields of a request that are kept with its turn, so that its response can repeat them later.

Only values that differ from the protocol's defaults and are not large are kept; the inputs are in the history anyway. A
value of a wrong type is not repeated, because clients read responses more strictly than servers read requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chatserve.codec import dumps
from chatserve.core.types import Json

MAX_BYTES: Final = 16 * 1024
"""The limit for one field: instructions, tools and schemas may be long."""


def echo_of(body: Mapping[str, Json], *, input_count: int, is_chain: bool, alias: Json = None) -> dict[str, Json]:
    """Return the kept values: fields to repeat, the number of items before the message, the kind of the session.

    `is_chain`: the session was made for a chain of responses and is not a conversation. `alias` is the model's name
    where it is not the chat's.
    """
    echo: dict[str, Json] = {}
    for name, (default, read) in _FIELDS.items():
        value = read(body.get(name))
        if isinstance(value, dict) and isinstance(default, dict):
            value = default | value
        if value is not None and value != default and len(dumps(value)) <= MAX_BYTES:
            echo[name] = value
    marks = {
        "previous_response_id": body.get("previous_response_id"),
        "conversation": body.get("conversation") is not None,
        "background": body.get("background") is True,
        "model": alias,
        "input_count": input_count,
        "is_chain": is_chain,
    }
    return echo | {name: value for name, value in marks.items() if value}


def _of(*types: type) -> Callable[[Json], Json]:
    """Return a reader of values of these types. A bool is not an int here."""
    return lambda value: value if type(value) in types else None


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
    required = dict.fromkeys(("description", "parameters", "strict"))
    return required | (nested if isinstance(nested, dict) else {}) | flat


_FIELDS: Final[Mapping[str, tuple[Json, Callable[[Json], Json]]]] = {
    "instructions": (None, _of(str)),
    "max_output_tokens": (None, _of(int)),
    "max_tool_calls": (None, _of(int)),
    "tools": ([], _tools),
    "tool_choice": ("auto", _choice),
    "truncation": ("disabled", _of(str)),
    "parallel_tool_calls": (True, _of(bool)),
    "text": ({"format": {"type": "text"}}, _of(dict)),
    "top_p": (1, _of(int, float)),
    "temperature": (1, _of(int, float)),
    "presence_penalty": (0, _of(int, float)),
    "frequency_penalty": (0, _of(int, float)),
    "top_logprobs": (0, _of(int)),
    "reasoning": ({"effort": None, "summary": None}, _of(dict)),
    "user": (None, _of(str)),
    "metadata": ({}, _metadata),
    "safety_identifier": (None, _of(str)),
    "prompt_cache_key": (None, _of(str)),
}
"""The fields that a response repeats, each with its default and its reader. An object gets the members that it lacks
from its default."""

DEFAULTS: Final[Mapping[str, Json]] = {name: default for name, (default, _) in _FIELDS.items()}
"""The values of a response's fields that its request did not have."""
