"""Entries of a history of messages, as clients and developers send them: `{"role", "content", …}` in every shape.

One reader serves all formats of messages: `content` is text, a part or a list of both, in any of them.
"""

from __future__ import annotations

from chatserve.contracts.formats import ParsedMessage
from chatserve.core.types import ROLES, Json, ToolCallPart, ToolResultPart
from chatserve.formats.shared.history_content import entries_of, parse_content, parse_extras, refuse, text_of


def parse_entries(history: Json) -> tuple[ParsedMessage, ...]:
    """Read a history of messages. Raises: InputsInvalid, which names the entry."""
    return tuple(_parse_entry(entry, number) for number, entry in enumerate(entries_of(history)))


def _parse_entry(entry: Json, number: int) -> ParsedMessage:
    if not isinstance(entry, dict):
        refuse(number, f'it is {entry!r:.200}; make it an object with "role" and "content"')
    role = entry.get("role")
    if not isinstance(role, str) or role not in ROLES:
        refuse(number, f"the role {role!r:.200} is unknown; use one of {', '.join(sorted(ROLES))}")
    calls = _parse_tool_calls(entry.get("tool_calls"), number)
    raw = entry.get("content")
    if raw is None and not calls:
        refuse(number, "it has no content")
    content = () if raw is None else parse_content(raw, number)
    call_id = entry.get("tool_call_id")
    if not isinstance(call_id, str | None):
        refuse(number, f"the tool_call_id {call_id!r:.200} is not text")
    if role == "tool" and call_id is not None:
        content = (ToolResultPart(call_id, text_of(content)),)
    return parse_extras(entry, ParsedMessage(role, (*content, *calls)), number)


def _parse_tool_calls(calls: Json, number: int) -> tuple[ToolCallPart, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list):
        refuse(number, f"tool_calls are {calls!r:.200}; make them a list")
    try:
        parsed = tuple(map(_parse_tool_call, calls))
    except (KeyError, TypeError):
        refuse(number, f"the tool_calls {calls!r:.200} do not have OpenAI's shape")
    if not all(isinstance(text, str) for part in parsed for text in (part.tool_call_id, part.name, part.arguments)):
        refuse(number, f"the tool_calls {calls!r:.200} hold something other than text")
    return parsed


def _parse_tool_call(call: Json) -> ToolCallPart:
    """Read a call. Raises: KeyError, TypeError."""
    if isinstance(call, dict) and call.get("type") == "custom":
        return ToolCallPart(call["id"], call["custom"]["name"], call["custom"]["input"], kind="custom")
    return ToolCallPart(call["id"], call["function"]["name"], call["function"]["arguments"])
