"""Tools in requests: those that the client offers, and items of calls and results that it sends back.

A tool of a namespace is offered to the function under one name, `namespace__name`, and its calls are sent back with
their namespace. Calls and results of all kinds of tools are kept: those that the provider ran, like a web search, as
calls of the server with their results. Knows no messages.

Source: OpenAI API reference, "Create a model response", `tools` and `input`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from chatserve.core.errors import InputsInvalid
from chatserve.core.types import DataPart, DraftPart, Json, ToolCallPart, ToolResultPart
from chatserve.formats.shared.history_content import json_text
from chatserve.formats.shared.message_array import read_base64, read_text

Item: TypeAlias = Mapping[str, Json]

_HEAD: Final = frozenset({"type", "id", "call_id", "status", "name", "namespace"})
"""The members of a call that say which call it is; the others are its arguments and its results."""

_RESULTS: Final = ("output", "outputs", "results", "result")
_UNASKED: Final = frozenset({"reasoning"})
"""Items that are left out: chat functions do not get reasoning."""


# --- tools that the client offers --------------------------------------------------------------------------------


def flat_name(namespace: Json, name: str) -> str:
    """Return the name under which a function knows the tool of a namespace."""
    if not isinstance(namespace, str) or not namespace:
        return name
    return namespace + name if namespace.endswith("__") else f"{namespace}__{name}"


def read_offers(tools: Sequence[Item]) -> tuple[tuple[Json, ...], dict[str, list[str]]]:
    """Return the tools in the shape of Chat Completions, and the namespaces of those that are in one, by flat name."""
    offered: list[Json] = []
    namespaces: dict[str, list[str]] = {}
    for tool in tools:
        members, namespace = tool.get("tools"), tool.get("name")
        if tool.get("type") != "namespace" or not isinstance(members, list) or not isinstance(namespace, str):
            offered.append(_nested(tool))
            continue
        for each in members:
            name = each.get("name") if isinstance(each, dict) else None
            if isinstance(name, str):
                flat = flat_name(namespace, name)
                namespaces[flat] = [namespace, name]
                offered.append(_nested({**each, "name": flat}))
    return tuple(offered), namespaces


def _nested(tool: Item) -> Json:
    kind = tool.get("type")
    if kind not in ("function", "custom") or kind in tool:
        return dict(tool)
    described = {name: value for name, value in tool.items() if name != "type"}
    grammar = described.get("format")
    if kind == "custom" and isinstance(grammar, dict) and grammar.get("type") == "grammar" and "grammar" not in grammar:
        inner = {name: value for name, value in grammar.items() if name != "type"}
        described["format"] = {"type": "grammar", "grammar": inner}
    return {"type": kind, kind: described}


# --- items that it sends back ------------------------------------------------------------------------------------


def is_result(kind: str) -> bool:
    """Whether items of a type hold the result of a tool that ran in the client."""
    return kind.endswith(("_output", "_approval_response"))


def read_result(item: Item, where: str) -> DraftPart:
    """Read the result of a tool; an item without the id of its call is data. Raises: InputsInvalid."""
    kind = item["type"]
    if kind in ("function_call_output", "custom_tool_call_output"):
        return ToolResultPart(read_text(item, "call_id", where), _result_of(item.get("output")))
    call_id = item.get("call_id") or item.get("approval_request_id")
    if not isinstance(call_id, str):
        return DataPart(dict(item), kind)
    return ToolResultPart(call_id, _result_of(item["output"]) if "output" in item else _rest_of(item))


def read_call(item: Item, where: str) -> tuple[DraftPart, ...]:
    """Read an item of an answer that is no message: a call, with its result if it ran on the server, or data.

    Raises:
        InputsInvalid: a function's or a custom tool's call is broken.
    """
    kind = item["type"]
    if kind in _UNASKED:
        return ()
    if kind in ("function_call", "custom_tool_call"):
        return (_read_client_call(item, where),)
    if not kind.endswith(("_call", "_approval_request")):
        return (DataPart(dict(item), kind),)
    return _read_other_call(item, kind, where)


def _read_client_call(item: Item, where: str) -> ToolCallPart:
    call_id, name = read_text(item, "call_id", where), flat_name(item.get("namespace"), read_text(item, "name", where))
    if item["type"] == "custom_tool_call":
        return ToolCallPart(call_id, name, read_text(item, "input", where), kind="custom")
    arguments = item.get("arguments")
    return ToolCallPart(call_id, name, arguments if isinstance(arguments, str) else "{}")


def _read_other_call(item: Item, kind: str, where: str) -> tuple[DraftPart, ...]:
    """Read the call of a tool of the protocol. It ran on the server, unless it has an id for the client's result."""
    call_id, name, arguments = item.get("call_id") or item.get("id"), item.get("name"), item.get("arguments")
    if not isinstance(call_id, str):
        return (DataPart(dict(item), kind),)
    name = name if isinstance(name, str) else kind.removesuffix("_call")
    arguments = arguments if isinstance(arguments, str) else json_text(_rest_of(item))
    if "call_id" in item or kind.endswith("_approval_request"):
        return (ToolCallPart(call_id, name, arguments),)
    call, error = ToolCallPart(call_id, name, arguments, where="server"), item.get("error")
    if error is not None:
        return call, ToolResultPart(call_id, error, is_error=True)
    output = next((item[member] for member in _RESULTS if item.get(member) is not None), {"status": item.get("status")})
    if kind != "image_generation_call":
        return call, ToolResultPart(call_id, output)
    try:
        image = read_base64(output, "image/png", where, "image.png")
    except InputsInvalid:
        return call, ToolResultPart(call_id, output)
    return call, ToolResultPart(call_id, {"status": item.get("status")}), image


def _rest_of(item: Item) -> dict[str, Json]:
    """Return the members of a call or result without those that name it and those of its outcome."""
    return {name: value for name, value in item.items() if name not in _HEAD and name not in (*_RESULTS, "error")}


def _result_of(output: Json) -> Json:
    """Return the result of a client's tool. A list of text parts becomes their joined text."""
    if isinstance(output, list) and all(isinstance(part, dict) and part.get("type") == "input_text" for part in output):
        return "".join(json_text(part.get("text", "")) for part in output)
    return output
