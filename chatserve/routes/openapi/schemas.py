"""JSON Schemas of what is answered: messages and their parts, sessions, turns, files, problems.

They say what `chatserve.codec` writes, no more and no less; tests hold real answers against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from chatserve.core.types import FinalStatus, Json, Role, TurnStatus
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
    """Return a schema that also takes null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


STRING: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}
VERSION: Final[Schema] = COUNT | {"description": "grows with every accepted change of the session"}
SESSION_ID: Final[Schema] = {"type": ["string", "null"], "description": "null for a turn of which nothing is kept"}

PARTS: Final[Mapping[str, Schema]] = {
    "text": {"text": STRING},
    "reasoning": {"text": STRING},
    "file": {"file_id": STRING, "name": STRING, "media_type": STRING, "size": COUNT, "url": STRING},
    "data": {"data": ANY},
    "source": {"url": STRING},
    "tool_call": {
        "tool_call_id": STRING,
        "name": STRING,
        "arguments": STRING | {"description": "JSON text"},
        "where": {"type": "string", "enum": ["server", "client"]},
    },
    "tool_result": {"tool_call_id": STRING, "output": ANY, "is_error": BOOLEAN},
}
"""Members of each type of part, besides `type`."""

OPTIONAL_OF_PARTS: Final[Mapping[str, Mapping[str, Schema]]] = {"data": {"name": STRING}, "source": {"title": STRING}}


def part_record(kind: str, **members: Schema) -> Schema:
    """Return the schema of one type of part; `members` come first."""
    return record({**members, "type": {"const": kind}, **PARTS[kind]}, OPTIONAL_OF_PARTS.get(kind))


def part_name(kind: str) -> str:
    """Return the name of the schema of a type of part: `ToolCallPart` for `tool_call`."""
    return "".join(map(str.capitalize, kind.split("_"))) + "Part"


def discriminated(names: Mapping[str, str], member: str) -> Schema:
    """Return the schema of a value that is one of several, told apart by a member."""
    return {
        "oneOf": [component(name) for name in names.values()],
        "discriminator": {
            "propertyName": member,
            "mapping": {value: component(name)["$ref"] for value, name in names.items()},
        },
    }


_ANSWER: Final[Mapping[str, Schema]] = {
    "session_id": SESSION_ID,
    "turn_id": STRING,
    "status": choice(TurnStatus),
    "text": STRING | {"description": "the words of the last answer message that is no thought"},
    "messages": list_of(component("Message")) | {"description": "the answer's messages, not the user's"},
    "finish_reason": {"type": ["string", "null"]},
    "usage": nullable(component("Usage")),
    "version": nullable(VERSION),
}

_TURN: Final[Mapping[str, Schema]] = {
    "turn_id": STRING,
    "session_id": SESSION_ID,
    "chat": STRING,
    "status": choice(TurnStatus),
    "user_message_id": {"type": ["string", "null"]},
    "created_at": TIME,
}

_ENDED_TURN: Final[Mapping[str, Schema]] = {
    "finished_at": TIME,
    "usage": component("Usage"),
    "error": component("TurnError"),
    "finish_reason": STRING,
    "first_seq": COUNT,
    "done_seq": COUNT,
    "version": VERSION,
}

_PROBLEM_OPTIONAL: Final[Mapping[str, Schema]] = {
    "retryable": BOOLEAN | {"description": "the same request may succeed later"},
    "turn_id": STRING | {"description": "the turn that failed, or that keeps the session busy"},
    "session_id": SESSION_ID,
    "errors": list_of({"type": "object"}) | {"description": "each field that is wrong, with a message"},
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
        **_PROBLEM_OPTIONAL,
    },
    "required": ["type", "title", "status", "code", "detail", "error_id"],
}


def answer_schemas() -> dict[str, Schema]:
    """Return the schemas of all values that are answered, events aside, by name."""
    return {
        **{part_name(kind): part_record(kind) for kind in PARTS},
        "Part": discriminated({kind: part_name(kind) for kind in PARTS}, "type"),
        "Message": record(
            {
                "message_id": STRING,
                "turn_id": {"type": ["string", "null"]},
                "parent_id": {"type": ["string", "null"]},
                "role": choice(Role),
                "content": {"anyOf": [STRING, list_of(component("Part"))]},
                "created_at": TIME,
            },
            {
                "metadata": OBJECT,
                "options": list_of(OBJECT),
                "status": choice(FinalStatus),
                "feedback": component("Feedback"),
            },
        ),
        "Feedback": record({"value": STRING}, {"comment": STRING}),
        "Session": record(
            {
                "session_id": STRING,
                "title": {"type": ["string", "null"]},
                "metadata": OBJECT,
                "version": VERSION,
                "last_seq": COUNT,
                "created_at": TIME,
                "updated_at": TIME,
            },
            {"expires_at": TIME},
        ),
        "Usage": record({"input_tokens": COUNT, "output_tokens": COUNT}),
        "TurnError": record(
            {
                "code": STRING,
                "detail": STRING,
                "error_id": STRING,
                "retryable": BOOLEAN,
                "status_code": {"type": "integer"},
            }
        ),
        "Turn": record(_TURN, _ENDED_TURN),
        "TurnState": record(
            {**_TURN, **_ANSWER, "user_message": nullable(component("Message"))},
            {name: schema for name, schema in _ENDED_TURN.items() if name not in _ANSWER},
        ),
        "Answer": record(_ANSWER),
        "Accepted": record({"session_id": SESSION_ID, "turn_id": STRING, "status": choice(TurnStatus)}),
        "File": record(
            {
                "id": STRING,
                "name": STRING,
                "media_type": STRING,
                "size": COUNT,
                "url": STRING,
                "created_at": TIME,
            }
        ),
        "Pair": list_of({"anyOf": [STRING, component("FilePart"), {"type": "null"}]})
        | {"minItems": 2, "maxItems": 2, "description": "user, assistant"},
        "OpenAIMessage": {
            "type": "object",
            "description": "as OpenAI's Chat Completions take it",
            "properties": {
                "role": choice(Role),
                "content": {"anyOf": [STRING, list_of(OBJECT), {"type": "null"}]},
                "tool_calls": list_of(OBJECT),
                "tool_call_id": STRING,
            },
            "required": ["role", "content"],
            "additionalProperties": False,
        },
        "Problem": PROBLEM,
    }
