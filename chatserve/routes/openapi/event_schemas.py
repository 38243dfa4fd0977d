"""JSON Schemas of the stream's events as they are framed, one for each name in `chatserve.core.events`."""

from __future__ import annotations

from chatserve.core.events import EVENT_NAMES
from chatserve.routes.openapi.operations import Schema, component
from chatserve.routes.openapi.schemas import COUNT, discriminated, event_schema_name, record


def event_schemas() -> dict[str, Schema]:
    """Return the schemas of every event as it is framed, and of the union of all, by name.

    A frame's members are the fields of a server-sent event, all of them text. Source: OpenAPI 3.2, "Special
    Considerations for Server-Sent Events".
    """
    names = {event: event_schema_name(event) for event in EVENT_NAMES.values()}
    frames = {event: name.removesuffix("Data") + "Event" for event, name in names.items()}
    return {
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
