"""What a route says of itself: the values that `GET /openapi.json` is assembled from, attached next to each handler.

    @describe(Operation("read_turn", "Read a turn", (Answer(200, "it", json_of("TurnState")),), errors=(TurnUnknown,)))
    async def read(self, request): ...

Knows neither paths nor methods (the routes do) nor the document's layout (`openapi` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel

from chatserve.core.errors import ChatserveError
from chatserve.core.types import Json

Handler = TypeVar("Handler", bound=Callable[..., Any])
Schema: TypeAlias = dict[str, Json]

_ATTRIBUTE: Final = "__operation__"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header a route reads. Path parameters need none: their names say it all."""

    name: str
    where: Literal["query", "header"]
    description: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Link:
    """What can be done next with an answer: `parameters` of the operation named, as runtime expressions.

    Source: OpenAPI 3.1, "Link Object" and "Runtime Expressions".
    """

    operation_id: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response: schemas by media type, the names of its headers, what can follow."""

    status_code: int
    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: what it takes, what it answers.

    `body` is a model (JSON), schemas by media type, or `"turn"`, different from chat to chat. `errors` are those the
    operation raises; what every request may meet (host, origin, size, broken JSON, the store) goes without saying.
    """

    operation_id: str
    summary: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | Mapping[str, Schema] | Literal["turn"] | None = None
    errors: tuple[type[ChatserveError], ...] = ()
    uses_store: bool = True
    runs_chat: bool = False


def describe(operation: Operation, *, body: type[BaseModel] | None = None) -> Callable[[Handler], Handler]:
    """Attach its description to a handler; `body` is the model the handler reads."""
    described = operation if body is None else replace(operation, body=body)

    def attach(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, described)
        return handler

    return attach


def operation_of(handler: Callable[..., Any]) -> Operation | None:
    """Return what `describe` attached to a handler, bound or not."""
    operation = getattr(handler, _ATTRIBUTE, None)
    assert operation is None or isinstance(operation, Operation)
    return operation


def component(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_of(name: str) -> Mapping[str, Schema]:
    """Return JSON content of one of the document's schemas."""
    return {"application/json": component(name)}


def page_of(items: Schema) -> Mapping[str, Schema]:
    """Return JSON content: one page of a list."""
    schema = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": items},
            "next": {
                "type": ["string", "null"],
                "description": "pass it as `after` for the next page; null at the end",
            },
        },
        "required": ["items", "next"],
        "additionalProperties": False,
    }
    return {"application/json": schema}


EVENTS: Final[Mapping[str, Schema]] = {
    "text/event-stream": component("StreamEvent"),
}
"""A stream of server-sent events. Its schema is that of each event: 3.1 has no other way, and tools read it so."""

IF_MATCH: Final = Parameter(
    "If-Match",
    "header",
    "the version of the session this change is meant for, in quotes; 412 when it is no longer current; `*` for any",
    {"type": "string", "pattern": r'^(\*|(W/)?"[0-9]{1,18}")$', "examples": ['"3"']},
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "the same key and body again give the same turn, whatever became of the first answer",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)
LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID", "header", "go on after this event; what is no event's id gets a snapshot", {"type": "string"}
)
PREFER: Final = Parameter(
    "Prefer", "header", "`respond-async`: answer 202 at once, with the turn's Location", {"type": "string"}
)
AFTER_EVENT: Final = Parameter(
    "after", "query", "as Last-Event-ID, which wins", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
)
AFTER_ID: Final = Parameter("after", "query", "the `next` of the page before", {"type": "string"})
LIMIT: Final = Parameter(
    "limit", "query", "items on a page", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)


def flag(name: str, description: str) -> Parameter:
    """Return a true-or-false query parameter."""
    return Parameter(name, "query", description, {"type": "boolean", "default": False})
