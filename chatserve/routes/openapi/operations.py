"""The description of a route, attached to its handler: its path, and its entry in `GET /openapi.json`.

    @Operation("read_turn", "GET /turns/{turn_id}", (Answer(200, "the turn", json_of("TurnState")),))
    async def read(self, request: Request) -> Response: ...

Knows no particular operation, and not the document's layout, which is in `document`.
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
    """A query parameter or header that a route reads, and the error for a wrong value, if there is one.

    Path parameters need no description beyond their names.
    """

    name: str
    where: Literal["query", "header"]
    description: str
    schema: Schema
    error: type[ChatserveError] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response: schemas by media type, the names of its headers, and links.

    `links` names the operations that can follow, each with its parameters as runtime expressions.
    Source: OpenAPI 3.1, "Link Object" and "Runtime Expressions".
    """

    status_code: int
    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its path, its input and its responses. It decorates a handler, whose docstring is its summary.

    `at` is a method and one or more paths. `body` is a model (JSON), schemas by media type, or `"turn"`, which differs
    from chat to chat. `errors` are those that nothing else implies. Implied are errors of any request (host, origin,
    size, broken JSON, the store), unknown ids in the path and the errors of the parameters.
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
        """The HTTP method."""
        return self.at.partition(" ")[0]

    def __call__(self, handler: Handler) -> Handler:
        """Attach the operation to its handler."""
        setattr(handler, _ATTRIBUTE, self)
        return handler


def operation_of(handler: Any) -> Operation | None:
    """Return the operation of a handler, which may be a bound method, or None."""
    operation: Operation | None = getattr(handler, _ATTRIBUTE, None)
    return operation


def routes_of(noun: object) -> list[Route]:
    """Return the routes to an object's handlers, in the order of their definitions."""
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
    """Return JSON content with this schema, or with the document's schema of this name."""
    return {"application/json": component(schema) if isinstance(schema, str) else schema}


def page_of(items: Schema) -> Mapping[str, Schema]:
    """Return JSON content that is one page of a list."""
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
"""A stream of server-sent events. The schema is that of one event: OpenAPI 3.1 has no schema for a stream."""

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
    "repeating the same key and body gives the same turn, whether or not the first response arrived",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    IdempotencyConflict,
)
LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID", "header", "continue after this event; an unknown id gets a snapshot", {"type": "string"}
)
PREFER: Final = Parameter(
    "Prefer", "header", "`respond-async`: answer 202 at once, with the turn's Location", {"type": "string"}
)
AFTER_EVENT: Final = Parameter(
    "after", "query", "as Last-Event-ID, which comes first", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
)
AFTER_ID: Final = Parameter("after", "query", "the `next` of the previous page", {"type": "string"})
LIMIT: Final = Parameter(
    "limit", "query", "items on a page", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
)


def flag(name: str, description: str) -> Parameter:
    """Return a true-or-false query parameter."""
    return Parameter(name, "query", description, {"type": "boolean", "default": False})
