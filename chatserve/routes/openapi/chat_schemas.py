"""JSON Schemas of what clients send: bodies, with the chats' inputs, examples and files, and history.

The schemas match what the server accepts: it accepts all that they allow, unless a body names something unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from chatserve.chat_function import Chat
from chatserve.core.types import PART_NAMES, Role
from chatserve.routes.openapi.operations import Schema, component
from chatserve.routes.openapi.schemas import OBJECT, STRING, choice, list_of, nullable

REFERENCE: Final = "#/components/schemas/{model}"
SESSION_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}

_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9._-]")


def schema_name(prefix: str, chat: str) -> str:
    """Return the name of a chat's schema; component names allow fewer characters than chat names."""
    return f"{prefix}.{_UNNAMEABLE.sub('_', chat)}"


def inputs_schema(chat: Chat) -> Schema:
    """Return the schema of a chat's inputs, with references to its place in the document."""
    here = component(schema_name("Inputs", chat.options.name))["$ref"]
    schema = chat.signature.inputs.model.model_json_schema(ref_template=here + "/$defs/{model}")
    return schema | {"title": f"Inputs of {chat.options.name}"}


# --- bodies ------------------------------------------------------------------------------------------------------


def body_schema(model: type[BaseModel], chats: Iterable[Chat]) -> Schema:
    """Return the schema of a body. Members of the same name mean the same in every body."""
    schema = model.model_json_schema(ref_template=REFERENCE)
    schema.pop("$defs", None)
    properties = schema.get("properties", {})
    for name, meaning in _meanings(list(chats)).items():
        if name in properties:
            optional = {"default": None} if properties[name].get("default", ...) is None else {}
            described = {key: value for key, value in properties[name].items() if key == "description"}
            properties[name] = (nullable(meaning) if optional else meaning) | optional | described
    return schema


def _meanings(chats: list[Chat]) -> Mapping[str, Schema]:
    inputs = [component(schema_name("Inputs", chat.options.name)) for chat in chats]
    values = dict.fromkeys(value for chat in chats for value in chat.options.feedback)
    return {
        "session_id": SESSION_ID,
        "history": component("History"),
        "inputs": inputs[0] if len(inputs) == 1 else {"anyOf": inputs},
        "chat": {"type": "string", "enum": [chat.options.name for chat in chats]},
        "value": {"type": "string", "enum": list(values)},
    }


def turn_schema(chat: Chat, body: type[BaseModel], message_body: type[BaseModel]) -> Schema:
    """Return the schema of the body that starts a turn with a chat: the schema of `body`, limited to this chat."""
    schema = body_schema(body, [chat])
    schema["properties"] |= {
        "message": nullable({"anyOf": [STRING, message_schema(message_body, takes_files=chat.options.multimodal)]}),
        "example": _example_schema(chat),
    }
    given, left_out = {"type": ["string", "object", "integer"]}, {"type": "null"}
    either: list[Schema] = [{"properties": {"message": given, "example": left_out}, "required": ["message"]}]
    if chat.examples:
        either.append({"properties": {"example": given, "message": left_out}, "required": ["example"]})
    both = {"properties": {"session_id": STRING, "history": {"type": "array"}}, "required": ["session_id", "history"]}
    required = ["inputs"] if chat.inputs_schema.get("required") else []
    return schema | {"required": required, "anyOf": either, "not": both}


def message_schema(model: type[BaseModel], *, takes_files: bool) -> Schema:
    """Return the schema of a message that is an object."""
    schema = body_schema(model, ())
    if not takes_files:
        schema["properties"]["files"] |= {"maxItems": 0, "description": "this chat takes no files"}
    return schema


def definitions(model: type[BaseModel]) -> Mapping[str, Schema]:
    """Return the schemas that a model's schema refers to, by name."""
    found: Mapping[str, Any] = model.model_json_schema(ref_template=REFERENCE).get("$defs", {})
    return found


def _example_schema(chat: Chat) -> Schema:
    if not chat.examples:
        return {"type": "null", "description": "this chat has no examples"}
    number = {"type": "integer", "minimum": 0, "maximum": len(chat.examples) - 1}
    return nullable(number) | {"description": "send this example instead of a message"}


# --- history, as clients send it ---------------------------------------------------------------------------------


def history_schemas(values: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of a history that a client sends: messages, or pairs of user and assistant."""
    parts = [_history_part(values[cls.__name__], kind) for cls, kind in PART_NAMES.items()]
    content = component("HistoryContent")
    pair = list_of(nullable(content)) | {"minItems": 2, "maxItems": 2, "description": "user, assistant"}
    return {
        "History": {"anyOf": [list_of(component("HistoryMessage")), list_of(pair)]},
        "HistoryMessage": _history_message(content),
        "HistoryContent": {"anyOf": [component("HistoryItem"), list_of(component("HistoryItem"))]},
        "HistoryItem": {"anyOf": [STRING, *parts]},
    }


def _history_message(content: Schema) -> Schema:
    function = {"type": "object", "properties": {"name": STRING, "arguments": STRING}}
    function["required"] = ["name", "arguments"]
    call = {"type": "object", "properties": {"id": STRING, "function": function}, "required": ["id", "function"]}
    return {
        "type": "object",
        "properties": {
            "role": choice(Role),
            "content": nullable(content),
            "metadata": nullable(OBJECT),
            "options": nullable(list_of(OBJECT)),
            "tool_calls": nullable(list_of(call)),
            "tool_call_id": nullable(STRING),
        },
        "required": ["role"],
        "anyOf": [
            {"properties": {"content": {"not": {"type": "null"}}}, "required": ["content"]},
            {"properties": {"tool_calls": {"type": "array", "minItems": 1}}, "required": ["tool_calls"]},
        ],
    }


def _history_part(answered: Schema, kind: str) -> Schema:
    """Return the schema of a part as a client sends it back. Members beyond the schema are ignored."""
    names = ["type", "file_id"] if kind == "file" else answered["required"]
    members = {name: answered["properties"][name] for name in names}
    required = [name for name in names if name not in {"where", "is_error"}]
    return {"type": "object", "properties": members, "required": required}
