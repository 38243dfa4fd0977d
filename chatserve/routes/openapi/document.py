"""`GET /openapi.json`: one document, assembled from what the handlers say of themselves and from the chats' inputs.

Source: OpenAPI Specification 3.1.1. Knows no operation by itself: handlers carry theirs, see `operations`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from pydantic import BaseModel
from starlette.routing import BaseRoute, Route

from chatserve.chat_function import Chat
from chatserve.core.errors import (
    AnswerInvalid,
    AnswerTooLarge,
    BodyInvalid,
    BodyTooLarge,
    ChatFunctionError,
    ChatserveError,
    Forbidden,
    HeadersTooLarge,
    HostUnknown,
    InputsInvalid,
    MediaTypeUnsupported,
    RequestError,
    StoreError,
    StoreFull,
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
from chatserve.routes.openapi.event_schemas import event_schemas
from chatserve.routes.openapi.operations import Answer, Operation, Parameter, Schema, component, operation_of
from chatserve.routes.openapi.schemas import STRING, answer_schemas, value_schemas
from chatserve.routes.sessions.document import document_schemas
from chatserve.routes.sessions.history import EditBody
from chatserve.routes.turns import MessageBody, TurnBody

CHAT_PARAMETER: Final = "{chat}"
"""A path with this is described once for each chat, with that chat's name in its place."""

HEADERS: Final[Mapping[str, Json]] = {
    "ETag": {"description": "the session's version, for If-Match", "schema": STRING},
    "Idempotency-Replayed": {"description": "`true`: the key was known, this is its turn", "schema": STRING},
    "Location": {"description": "where the turn, or what was created, is read", "schema": STRING},
    "Retry-After": {"description": "seconds", "schema": STRING},
    "X-Session-Id": {"description": "the turn's session", "schema": STRING},
    "X-Turn-Id": {"description": "the turn", "schema": STRING},
}

_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANY_REQUEST: Final[tuple[type[ChatserveError], ...]] = (
    RequestError,
    HostUnknown,
    UrlTooLong,
    HeadersTooLarge,
    ChatserveError,
)
_ANY_BODY: Final = (BodyInvalid, BodyTimeout, BodyTooLarge, MediaTypeUnsupported, InputsInvalid)
_ANY_CHAT: Final = (ChatFunctionError, AnswerInvalid, AnswerTooLarge)


@dataclass(frozen=True, slots=True)
class About:
    """What the document says of the service itself."""

    title: str
    description: str
    version: str


def openapi_document(routes: Iterable[BaseRoute], chats: Mapping[str, Chat], about: About, root_path: str = "") -> Json:
    """Return the document that describes these routes; routes that say nothing of themselves are left out."""
    return {
        "openapi": "3.1.1",
        "info": {"title": about.title, "description": about.description, "version": about.version},
        "servers": [{"url": root_path or "/"}],
        "paths": _paths(routes, chats),
        "components": {"schemas": _schemas(chats), "headers": HEADERS},
    }


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


def _paths(routes: Iterable[BaseRoute], chats: Mapping[str, Chat]) -> dict[str, Any]:
    paths: defaultdict[str, dict[str, Json]] = defaultdict(dict)
    for route in routes:
        operation = operation_of(route.endpoint) if isinstance(route, Route) else None
        if operation is None or not isinstance(route, Route):
            continue
        for path, chat in _expanded(route, operation, chats):
            for method in (route.methods or set()) - {"HEAD"}:
                paths[path][method.lower()] = _operation(path, method, operation, chat) | _body(operation, chat, chats)
    return dict(paths)


def _expanded(route: Route, operation: Operation, chats: Mapping[str, Chat]) -> Iterator[tuple[str, Chat | None]]:
    if CHAT_PARAMETER in route.path_format:
        for name, chat in chats.items():
            yield route.path_format.replace(CHAT_PARAMETER, quote(name, safe="")), chat
    else:
        yield route.path_format, next(iter(chats.values())) if operation.body == "turn" else None


def _operation(path: str, method: str, operation: Operation, chat: Chat | None) -> dict[str, Json]:
    noun = path.split("/")[1]
    is_named = chat is not None and path.count("/") > 1
    described: dict[str, Json] = {
        "operationId": f"{operation.operation_id}_{chat.options.name}" if is_named and chat else operation.operation_id,
        "summary": operation.summary,
        "tags": [noun or "service"],
        "parameters": [*map(_path_parameter, _PATH_PARAMETER.findall(path)), *map(_parameter, operation.parameters)],
        "responses": _responses(method, operation, is_probe=noun == "health"),
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
        required = _has_required(body)
        body = {"application/json": body_schema(body, chats.values())}
    content = {media_type: {"schema": schema} for media_type, schema in body.items()}
    return {"requestBody": {"required": required, "content": content}}


def _has_required(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


# --- responses -------------------------------------------------------------------------------------------------------


def _responses(method: str, operation: Operation, *, is_probe: bool) -> Json:
    responses: dict[str, Json] = {str(answer.status_code): _answer(answer) for answer in operation.answers}
    for status_code, codes in sorted(_codes(method, operation, is_probe=is_probe).items()):
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
            link.operation_id: {"operationId": link.operation_id, "parameters": dict(link.parameters)}
            for link in answer.links
        }
    return response


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _codes(method: str, operation: Operation, *, is_probe: bool) -> dict[int, list[str]]:
    """Return the codes of all problems an operation may answer with, by status."""
    errors: list[type[ChatserveError]] = [error for error in _ANY_REQUEST if not (is_probe and error is HostUnknown)]
    if method in _UNSAFE:
        errors.append(Forbidden)
    if operation.parameters:
        errors.append(BodyInvalid)
    if operation.body is not None:
        errors.extend(_ANY_BODY)
    if operation.uses_store:
        errors.extend((StoreError, StoreFull) if method in _UNSAFE else (StoreError,))
    if operation.runs_chat:
        errors.extend(_ANY_CHAT)
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for error in dict.fromkeys((*errors, *operation.errors)):
        codes[error.status_code].append(error.code)
    if operation.runs_chat:
        codes[HTTPStatus.GATEWAY_TIMEOUT].append("turn_timeout")
    return codes


def _problem(status_code: int, codes: Sequence[str], *, is_closed: bool) -> Json:
    """Return the response of a status; its codes are all there are, unless a chat's own may be among them."""
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
