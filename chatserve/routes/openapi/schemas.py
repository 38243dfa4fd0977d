"""JSON Schemas of responses: values and events, from their declarations, and what only HTTP has, like problems.

The schemas match what `chatserve.codec` and the routes write; tests check real responses against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from chatserve.codec.documents import DocumentTypes, schemas_of
from chatserve.codec.shapes import shape_of
from chatserve.core.events import EVENT_NAMES
from chatserve.core.types import Json, Message, Role, Session, StoredFile, Turn, TurnStatus
from chatserve.routes.openapi.operations import Schema, component


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **keywords: Json) -> Schema:
    """Return the schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
        **keywords,
    }


def choice(literal: Any) -> Schema:
    """Return the schema of a `Literal`."""
    return {"type": "string", "enum": list(get_args(literal))}


def nullable(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
OBJECT: Final[Schema] = {"type": "object"}
VERSION: Final[Schema] = COUNT | {"description": "grows with every accepted change of the session"}
SESSION_ID: Final[Schema] = {"type": ["string", "null"], "description": "null for a stateless turn"}


_ANSWER: Final[Mapping[str, Schema]] = {
    "session_id": SESSION_ID,
    "turn_id": STRING,
    "status": choice(TurnStatus),
    "text": STRING | {"description": "the text of the last answer message that is not a thought"},
    "messages": list_of(component("Message")) | {"description": "the answer's messages, not the user's"},
    "finish_reason": {"type": ["string", "null"]},
    "usage": nullable(component("Usage")),
    "version": nullable(VERSION),
}

PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "RFC 9457 problem document; `code` is stable, `error_id` finds the error in the server's log",
    "properties": {
        "type": STRING,
        "title": STRING,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": STRING,
        "detail": STRING,
        "error_id": STRING,
        "retryable": BOOLEAN | {"description": "the same request may succeed later"},
        "turn_id": STRING | {"description": "the turn that failed, or that keeps the session busy"},
        "session_id": SESSION_ID,
        "errors": list_of({"type": "object"}) | {"description": "each field that is wrong, with a message"},
        "error": record({"message": STRING, "type": STRING, "code": STRING})
        | {"description": "the same for clients of other protocols: `detail`, its kind in OpenAI's words, `code`"},
    },
    "required": ["type", "title", "status", "code", "detail", "error_id", "error"],
}


def value_schemas() -> dict[str, Schema]:
    """Return the schemas of the values in responses, including the data of events, by name."""
    types = DocumentTypes(is_import=False)
    named = {cls.__name__: types.record(shape_of(cls)) for cls in (Message, Session, Turn)}
    named["File"] = types.record(shape_of(StoredFile), "File")
    for cls, event in EVENT_NAMES.items():
        named[event_schema_name(event)] = types.record(shape_of(cls), event_schema_name(event))
    return schemas_of(named, component("{model}")["$ref"])


def event_schemas() -> dict[str, Schema]:
    """Return the schema of every event's frame, and of their union, by name.

    A frame's members are the fields of a server-sent event, all of them text. Source: OpenAPI 3.2, "Special
    Considerations for Server-Sent Events".
    """
    frames = {event: event_schema_name(event).removesuffix("Data") + "Event" for event in EVENT_NAMES.values()}
    references = {event: component(name) for event, name in frames.items()}
    mapping = {event: reference["$ref"] for event, reference in references.items()}
    return {
        **{name: _frame(event) for event, name in frames.items()},
        "StreamEvent": {
            "oneOf": list(references.values()),
            "discriminator": {"propertyName": "event", "mapping": mapping},
        },
    }


def _frame(event: str) -> Schema:
    value = component(event_schema_name(event))
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": value}
    members: dict[str, Schema] = {"event": {"const": event}, "data": data}
    seq: Schema = {"type": "string", "pattern": "^[0-9]+$", "description": "the event's number in the session, from 1"}
    if event == "bye":  # it has no number: the client's cursor stays where it is
        return record(members, {"id": seq, "retry": COUNT})
    return record(members | {"id": seq}, {"retry": COUNT})


def event_schema_name(event: str) -> str:
    """Return the name of the schema of an event's data: `PartDeltaData` for `part_delta`."""
    return "".join(map(str.capitalize, event.split("_"))) + "Data"


def answer_schemas(values: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of responses that are not values, by name; some include the members of a value."""
    turn: Schema = values["Turn"]
    return {
        "TurnState": turn
        | {
            "title": "TurnState",
            "description": "a turn, and its answer so far",
            "properties": {**turn["properties"], **_ANSWER, "user_message": nullable(component("Message"))},
            "required": list(dict.fromkeys([*turn["required"], *_ANSWER, "user_message"])),
        },
        "Answer": record(_ANSWER),
        "Accepted": record({name: _ANSWER[name] for name in ("session_id", "turn_id", "status")}),
        "Pair": list_of({"anyOf": [STRING, component("FilePart"), {"type": "null"}]})
        | {"minItems": 2, "maxItems": 2, "description": "user, assistant"},
        "OpenAIMessage": {
            "type": "object",
            "description": "a message as OpenAI's Chat Completions take it",
            "properties": {
                "role": choice(Role),
                "content": {"anyOf": [STRING, list_of(OBJECT), {"type": "null"}]},
                "name": STRING,
                "tool_calls": list_of(OBJECT),
                "tool_call_id": STRING,
            },
            "required": ["role", "content"],
            "additionalProperties": False,
        },
        "Problem": PROBLEM,
    }
