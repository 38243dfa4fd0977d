"""What a route says of itself, attached to its handler: where it is, and what `GET /openapi.json` tells of it.

    @Operation("read_turn", "GET /turns/{turn_id}", (Answer(200, "the turn", json_of("TurnState")),))
    async def read(self, request: Request) -> Response: ...

Knows no operation by itself, nor the document's layout (`document` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel
from starlette.routing import Route

from chatserve.core.errors import ChatserveError, IdempotencyConflict, VersionConflict
from chatserve.core.types import Json

Handler = TypeVar("Handler", bound=Callable[..., Any])
Schema: TypeAlias = dict[str, Json]

_ATTRIBUTE: Final = "__operation__"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header a route reads, and the error of one that does not hold, if there is one.

    Path parameters need none: their names say it all.
    """

    name: str
    where: Literal["query", "header"]
    description: str
    schema: Schema
    error: type[ChatserveError] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response: schemas by media type, the names of its headers, what can follow.

    `links` has the operations that can be next: for each, its parameters as runtime expressions.
    Source: OpenAPI 3.1, "Link Object" and "Runtime Expressions".
    """

    status_code: int
    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: where it is, what it takes, what it answers. Decorates its handler, whose docstring sums it up.

    `at` is a method and one or more paths. `body` is a model (JSON), schemas by media type, or `"turn"`, different from
    chat to chat. `errors` are those that nothing else tells: what any request may meet (host, origin, size, broken
    JSON, the store) goes without saying, and so do unknown ids in the path and the errors of the parameters.
    """

    operation_id: str
    at: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | Mapping[str, Schema] | Literal["turn"] | None = None
    errors: tuple[type[ChatserveError], ...] = ()
    uses_store: bool = True
    runs_chat: bool = False

    @property
    def method(self) -> str:
        """The method of its requests."""
        return self.at.partition(" ")[0]

    def __call__(self, handler: Handler) -> Handler:
        """Attach the operation to its handler."""
        setattr(handler, _ATTRIBUTE, self)
        return handler


def operation_of(handler: Any) -> Operation | None:
    """Return the operation of a handler, bound or not."""
    operation: Operation | None = getattr(handler, _ATTRIBUTE, None)
    return operation


def routes_of(noun: object) -> list[Route]:
    """Return the routes to an object's handlers, in the order they are written in its class."""
    routes: list[Route] = []
    for name, value in vars(type(noun)).items():
        if (operation := operation_of(value)) is not None:
            method, *paths = operation.at.split()
            routes += [Route(path, getattr(noun, name), methods=[method]) for path in paths]
    return routes


def component(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_of(schema: str | Schema) -> Mapping[str, Schema]:
    """Return JSON content of this schema, or of the document's schema of this name."""
    return {"application/json": component(schema) if isinstance(schema, str) else schema}


def page_of(items: Schema) -> Mapping[str, Schema]:
    """Return JSON content: one page of a list."""
    following = {"type": ["string", "null"], "description": "pass it as `after` for the next page; null at the end"}
    return json_of(
        {
            "type": "object",
            "properties": {"items": {"type": "array", "items": items}, "next": following},
            "required": ["items", "next"],
            "additionalProperties": False,
        }
    )


EVENTS: Final[Mapping[str, Schema]] = {"text/event-stream": component("StreamEvent")}
"""A stream of server-sent events. Its schema is that of each event: 3.1 has no other way, and tools read it so."""

IF_MATCH: Final = Parameter(
    "If-Match",
    "header",
    "the version of the session this change is meant for, in quotes; 412 when it is no longer current; `*` for any",
    {"type": "string", "pattern": r'^(\*|(W/)?"[0-9]{1,18}")$', "examples": ['"3"']},
    VersionConflict,
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "the same key and body again give the same turn, whatever became of the first answer",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    IdempotencyConflict,
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
