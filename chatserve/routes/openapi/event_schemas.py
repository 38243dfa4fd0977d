"""JSON Schemas of the stream's events (contract section 3), one for each name in `chatserve.core.events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatserve.core.events import EVENT_NAMES, HistoryOperation
from chatserve.core.types import FinalStatus, Role
from chatserve.routes.openapi.operations import Schema, component
from chatserve.routes.openapi.schemas import (
    BOOLEAN,
    COUNT,
    NUMBER,
    OBJECT,
    PARTS,
    SESSION_ID,
    STRING,
    TIME,
    VERSION,
    choice,
    discriminated,
    list_of,
    nullable,
    part_record,
    record,
)

_MESSAGES: Final = list_of(component("Message"))

EVENT_DATA: Final[Mapping[str, Schema]] = {
    "turn": record(
        {
            "turn_id": STRING,
            "session_id": SESSION_ID,
            "chat": STRING,
            "status": {"type": "string", "enum": ["running", "queued"]},
            "created_at": TIME,
            "user_message": nullable(component("Message")),
            "version": VERSION,
        },
        {"position": COUNT, "eta_s": NUMBER},
        description="the turn waits, or runs",
    ),
    "message": record(
        {"message_id": STRING, "role": choice(Role)}, {"metadata": OBJECT}, description="a message opens"
    ),
    "delta": record({"text": STRING}, description="append to the open message"),
    "replace": record(
        {"text": STRING},
        {"message_id": STRING},
        description="the text of the open message, or of the one named, is now this",
    ),
    "reasoning": record({"text": STRING}, description="append to the open message's reasoning"),
    "part": record(
        {"message_id": STRING, "part": {"oneOf": [part_record(kind, part_id=STRING) for kind in PARTS]}},
        description="a part other than text joins a message",
    ),
    "part_delta": record({"part_id": STRING, "text": STRING}, description="a tool call's arguments as they stream"),
    "metadata": record(
        {"message_id": STRING},
        {"metadata": OBJECT, "options": list_of(OBJECT)},
        description="merged into the message named; null removes a key",
    ),
    "status": record(
        {}, {"text": STRING, "done": NUMBER, "total": NUMBER}, description="what the function says it does"
    ),
    "error": record(
        {"code": STRING, "detail": STRING, "error_id": STRING, "retryable": BOOLEAN},
        description="why the turn failed; `done` follows",
    ),
    "done": record(
        {
            "turn_id": STRING,
            "status": choice(FinalStatus),
            "finish_reason": STRING,
            "messages": _MESSAGES,
            "version": VERSION,
        },
        {"usage": component("Usage")},
        description="the turn is over, its answer stored",
    ),
    "snapshot": record(
        {"turn": nullable(component("Turn")), "messages": _MESSAGES},
        description="the turn's messages so far; what was sent before no longer counts",
    ),
    "history": record(
        {"version": VERSION, "operation": choice(HistoryOperation)},
        description="the history changed by other means than a turn",
    ),
    "bye": record({"reconnect": BOOLEAN}, description="the server goes away; reconnect with the last id"),
}


def event_schema_name(event: str) -> str:
    """Return the name of the schema of an event's data: `PartDeltaData` for `part_delta`."""
    return "".join(map(str.capitalize, event.split("_"))) + "Data"


def event_schemas() -> dict[str, Schema]:
    """Return the schemas of every event as it is framed, of its data, and of the union of all, by name.

    A frame's members are the fields of a server-sent event, all of them text. Source: OpenAPI 3.2, "Special
    Considerations for Server-Sent Events".
    """
    names = {event: event_schema_name(event) for event in EVENT_NAMES.values()}
    frames = {event: name.removesuffix("Data") + "Event" for event, name in names.items()}
    return {
        **{names[event]: EVENT_DATA[event] for event in names},
        **{frames[event]: _frame(event, names[event]) for event in frames},
        "StreamEvent": discriminated(frames, "event"),
    }


def _frame(event: str, data_name: str) -> Schema:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": component(data_name)}
    members: dict[str, Schema] = {"event": {"const": event}, "data": data}
    seq: Schema = {"type": "string", "pattern": "^[0-9]+$", "description": "the event's number in the session, from 1"}
    if event == "bye":  # it has no number: the client's cursor stays where it is
        return record(members, {"id": seq, "retry": COUNT})
    return record(members | {"id": seq}, {"retry": COUNT})
