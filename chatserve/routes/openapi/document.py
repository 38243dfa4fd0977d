"""`GET /openapi.json`: one document, assembled from the handlers' operations and the chats' inputs.

Source: OpenAPI Specification 3.1.1. Knows no particular operation: they are attached to the handlers, see `operations`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from typing import Any, Final
from urllib.parse import quote

from starlette.routing import Route

from chatserve.chat_function import Chat
from chatserve.core.errors import (
    AnswerInvalid,
    AnswerTooLarge,
    BodyInvalid,
    BodyTooLarge,
    ChatFunctionError,
    ChatserveError,
    FileUnknown,
    Forbidden,
    HeadersTooLarge,
    HostUnknown,
    InputsInvalid,
    MediaTypeUnsupported,
    MessageUnknown,
    RequestError,
    SessionUnknown,
    StoreError,
    StoreFull,
    TurnUnknown,
    UrlTooLong,
)
from chatserve.core.types import Json
from chatserve.routes.http.problems import MEDIA_TYPE
from chatserve.routes.http.requests import BodyTimeout
from chatserve.routes.openapi.chat_schemas import (
    body_schema,
    definitions,
    history_schemas,
    inputs_schema,
    message_schema,
    schema_name,
    turn_schema,
)
from chatserve.routes.openapi.operations import Answer, Operation, Parameter, Schema, component, operation_of
from chatserve.routes.openapi.schemas import STRING, answer_schemas, event_schemas, value_schemas
from chatserve.routes.sessions.document import document_schemas
from chatserve.routes.sessions.history import EditBody
from chatserve.routes.turns import MessageBody, TurnBody

CHAT_PARAMETER: Final = "{chat}"
"""The document has a path with this placeholder once for each chat, under the chat's name."""

HEADERS: Final[Mapping[str, Json]] = {
    "ETag": {"description": "the session's version, for If-Match", "schema": STRING},
    "Idempotency-Replayed": {"description": "`true`: the key was known; this is its result", "schema": STRING},
    "Location": {"description": "where to read the turn, or what was created", "schema": STRING},
    "Retry-After": {"description": "seconds", "schema": STRING},
    "X-Session-Id": {"description": "the turn's session", "schema": STRING},
    "X-Turn-Id": {"description": "the turn", "schema": STRING},
}

_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANY_REQUEST: Final = (RequestError, UrlTooLong, HeadersTooLarge, ChatserveError)
_ANY_BODY: Final = (BodyInvalid, BodyTimeout, BodyTooLarge, MediaTypeUnsupported, InputsInvalid)
_ANY_CHAT: Final = (ChatFunctionError, AnswerInvalid, AnswerTooLarge)
_UNKNOWN: Final[Mapping[str, type[ChatserveError]]] = {
    "session_id": SessionUnknown,
    "turn_id": TurnUnknown,
    "message_id": MessageUnknown,
    "file_id": FileUnknown,
}
"""The errors for ids in the path that are unknown or belong to another owner."""


@dataclass(frozen=True, slots=True)
class About:
    """The service's own title and description in the document."""

    title: str
    description: str


def openapi_document(routes: Iterable[Route], chats: Mapping[str, Chat], about: About, root_path: str = "") -> Json:
    """Return the document that describes these routes, by the operations attached to their handlers."""
    return {
        "openapi": "3.1.1",
        "info": {"title": about.title, "description": about.description, "version": chatserve_version()},
        "servers": [{"url": root_path or "/"}],
        "paths": _paths(routes, chats),
        "components": {"schemas": _schemas(chats), "headers": HEADERS},
    }


def chatserve_version() -> str:
    """Return the installed version of chatserve."""
    try:
        return metadata.version("chatserve")
    except metadata.PackageNotFoundError:
        return "0+source"


def _schemas(chats: Mapping[str, Chat]) -> dict[str, Schema]:
    values = value_schemas()
    schemas = values | answer_schemas(values) | event_schemas() | history_schemas(values) | document_schemas()
    for model in (TurnBody, EditBody):
        schemas |= definitions(model)
    takes_files = any(chat.options.multimodal for chat in chats.values())
    schemas["MessageBody"] = message_schema(MessageBody, takes_files=takes_files)
    for name, chat in chats.items():
        schemas[schema_name("Inputs", name)] = inputs_schema(chat)
        schemas[schema_name("Turn", name)] = turn_schema(chat, TurnBody, MessageBody)
    return schemas


def _paths(routes: Iterable[Route], chats: Mapping[str, Chat]) -> dict[str, Any]:
    paths: defaultdict[str, dict[str, Json]] = defaultdict(dict)
    for route in routes:
        operation = operation_of(route.endpoint)
        assert operation is not None
        for path, chat in _expanded(route.path_format, operation, chats):
            described = _operation(path, operation, route.endpoint, chat) | _body(operation, chat, chats)
            paths[path][operation.method.lower()] = described
    return dict(paths)


def _expanded(path: str, operation: Operation, chats: Mapping[str, Chat]) -> Iterator[tuple[str, Chat | None]]:
    if CHAT_PARAMETER in path:
        for name, chat in chats.items():
            yield path.replace(CHAT_PARAMETER, quote(name, safe="")), chat
    else:
        yield path, next(iter(chats.values())) if operation.body == "turn" else None


def _operation(path: str, operation: Operation, handler: Callable[..., Any], chat: Chat | None) -> dict[str, Json]:
    is_named = chat is not None and path.count("/") > 1
    described: dict[str, Json] = {
        "operationId": f"{operation.operation_id}_{chat.options.name}" if is_named and chat else operation.operation_id,
        "summary": (handler.__doc__ or "").partition("\n")[0].removesuffix("."),
        "tags": [path.split("/")[1] or "service"],
        "parameters": [*map(_path_parameter, _PATH_PARAMETER.findall(path)), *map(_parameter, operation.parameters)],
        "responses": _responses(path, operation),
    }
    if chat is not None:
        described["description"] = chat.options.description or chat.options.title
    return described


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"}}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "required": False,
        "schema": parameter.schema,
    }


def _body(operation: Operation, chat: Chat | None, chats: Mapping[str, Chat]) -> dict[str, Json]:
    body, required = operation.body, True
    if body is None:
        return {}
    if isinstance(body, str):
        assert chat is not None
        body = {"application/json": component(schema_name("Turn", chat.options.name))}
    elif isinstance(body, type):
        required = any(field.is_required() for field in body.model_fields.values())
        body = {"application/json": body_schema(body, chats.values())}
    content = {media_type: {"schema": schema} for media_type, schema in body.items()}
    return {"requestBody": {"required": required, "content": content}}


# --- responses -------------------------------------------------------------------------------------------------------


def _responses(path: str, operation: Operation) -> Json:
    responses: dict[str, Json] = {str(answer.status_code): _answer(answer) for answer in operation.answers}
    for status_code, codes in sorted(_codes(path, operation).items()):
        responses[str(status_code)] = _problem(status_code, codes, is_closed=not operation.runs_chat)
    if operation.runs_chat:
        responses["default"] = _problem_content(
            "the turn failed while the client waited: the chat's own code and status", component("Problem")
        )
    return responses


def _answer(answer: Answer) -> Json:
    response: dict[str, Json] = {"description": answer.description}
    if answer.content:
        response["content"] = {media_type: {"schema": schema} for media_type, schema in answer.content.items()}
    if answer.headers:
        response["headers"] = {name: _header(name) for name in answer.headers}
    if answer.links:
        response["links"] = {
            name: {"operationId": name, "parameters": dict(parameters)} for name, parameters in answer.links.items()
        }
    return response


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _codes(path: str, operation: Operation) -> dict[int, list[str]]:
    """Return the codes of all problems that an operation may answer with, by status."""
    is_unsafe = operation.method in _UNSAFE
    errors: list[type[ChatserveError]] = [*_ANY_REQUEST, *operation.errors]
    errors += [_UNKNOWN[name] for name in _PATH_PARAMETER.findall(path)]
    errors += [each.error for each in operation.parameters if each.error is not None]
    if not path.startswith("/health/"):
        errors.append(HostUnknown)
    if is_unsafe:
        errors.append(Forbidden)
    if operation.parameters:
        errors.append(BodyInvalid)
    if operation.body is not None:
        errors.extend(_ANY_BODY)
    if operation.uses_store:
        errors.extend((StoreError, StoreFull) if is_unsafe else (StoreError,))
    if operation.runs_chat:
        errors.extend(_ANY_CHAT)
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for error in errors:
        codes[error.status_code].append(error.code)
    if operation.runs_chat:
        codes[HTTPStatus.GATEWAY_TIMEOUT].append("turn_timeout")
    return codes


def _problem(status_code: int, codes: Sequence[str], *, is_closed: bool) -> Json:
    """Return the response of a status. With `is_closed` no other codes occur; else a chat may add its own."""
    distinct = sorted(set(codes))
    schema = component("Problem")
    if is_closed:
        schema = schema | {"properties": {"code": {"enum": distinct}}}
    response = _problem_content(", ".join(f"`{code}`" for code in distinct), schema)
    if status_code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response["headers"] = {"Retry-After": _header("Retry-After")}
    return response


def _problem_content(description: str, schema: Schema) -> dict[str, Json]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
