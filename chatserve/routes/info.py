"""Information about the service: `GET /`, the OpenAPI document, health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatserve.chat_function import Chat
from chatserve.core.errors import ShuttingDown, StoreError, StoreFull
from chatserve.core.types import HistoryFormatName, Json
from chatserve.engine import TurnEngine
from chatserve.formats.shared.history_content import text_of
from chatserve.routes.http.responses import json_response
from chatserve.routes.openapi.document import About, openapi_document
from chatserve.routes.openapi.operations import Answer, Operation, json_of, routes_of
from chatserve.routes.openapi.schemas import BOOLEAN, STRING, list_of, record

_CHAT_SCHEMA = record(
    {
        "name": STRING,
        "title": STRING,
        "description": STRING,
        "history": {"type": "string", "enum": [*get_args(HistoryFormatName)]},
        "yields": {"type": "string", "enum": ["snapshots", "deltas"]},
        "multimodal": BOOLEAN,
        "inputs": {"type": "object", "description": "JSON Schema of the inputs"},
        "examples": list_of(record({"message": STRING, "inputs": {"type": "object"}})),
        "when_busy": STRING,
        "on_disconnect": STRING,
        "feedback": list_of(STRING),
        "greeting": list_of(record({"role": STRING, "content": STRING})),
        "url": STRING,
    }
)
_ENDPOINT_SCHEMA = record({"method": STRING, "path": STRING, "summary": STRING})
_SERVICE_SCHEMA = record(
    {
        "title": STRING,
        "description": STRING,
        "chats": list_of(_CHAT_SCHEMA),
        "endpoints": list_of(_ENDPOINT_SCHEMA),
        "protocols": {"type": "object", "additionalProperties": list_of(_ENDPOINT_SCHEMA)},
        "openapi_url": STRING,
        "chatserve_version": STRING,
    }
)
_STATUS_SCHEMA = record({"status": STRING})


class InfoRoutes:
    """Routes that describe the service.

    `described` are the other routes, for the list and the document. `protocols` are the endpoints of wire formats, for
    the list only, because their own specifications describe them.
    """

    def __init__(
        self, engine: TurnEngine, chats: Mapping[str, Chat], about: About, described: Sequence[Route], protocols: Json
    ) -> None:
        self._engine = engine
        self._chats = chats
        self._about = about
        self._routes = (*routes_of(self), *described)
        self._protocols = protocols
        self._document: Json = None

    @Operation(
        "read_service", "GET /", (Answer(200, "the chats and endpoints", json_of(_SERVICE_SCHEMA)),), uses_store=False
    )
    async def tell(self, request: Request) -> Response:
        """List the chats and endpoints."""
        root_path = request.scope.get("root_path", "")
        document = await self._describe(root_path)
        return json_response(
            {
                "title": self._about.title,
                "description": self._about.description,
                "chats": [chat_json(chat, root_path) for chat in self._chats.values()],
                "endpoints": _endpoints(document, root_path),
                "protocols": self._protocols,
                "openapi_url": f"{root_path}/openapi.json",
                "chatserve_version": document["info"]["version"],
            }
        )

    @Operation(
        "read_openapi",
        "GET /openapi.json",
        (Answer(200, "this document", json_of({"type": "object"})),),
        uses_store=False,
    )
    async def document(self, request: Request) -> Response:
        """Describe the API."""
        return json_response(await self._describe(request.scope.get("root_path", "")))

    async def _describe(self, root_path: str) -> Json:
        """Return the document. It is made at the first request, so that the server starts quickly, and kept."""
        if self._document is None:
            self._document = await to_thread.run_sync(
                openapi_document, self._routes, self._chats, self._about, root_path
            )
        return self._document

    @Operation("check_live", "GET /health/live", (Answer(200, "it does", json_of(_STATUS_SCHEMA)),), uses_store=False)
    async def live(self, _request: Request) -> Response:
        """Check that the process responds."""
        return json_response({"status": "live"})

    @Operation(
        "check_ready", "GET /health/ready", (Answer(200, "it does", json_of(_STATUS_SCHEMA)),), errors=(ShuttingDown,)
    )
    async def ready(self, _request: Request) -> Response:
        """Check whether the server accepts new turns.

        It accepts none while it drains, or while the store is out of reach.
        """
        if self._engine.is_draining:
            raise ShuttingDown("the server is about to stop")
        try:
            await self._engine.store.check()
        except StoreFull as error:  # a load balancer may not know 507
            raise StoreError(error.detail) from error
        return json_response({"status": "ready"})


def _endpoints(document: Json, root_path: str) -> list[Json]:
    return [
        {"method": method.upper(), "path": root_path + path, "summary": operation["summary"]}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def chat_json(chat: Chat, root_path: str = "") -> dict[str, Json]:
    """Return the public description of a chat."""
    options = chat.options
    return {
        "name": options.name,
        "title": options.title,
        "description": options.description,
        "history": options.history,
        "yields": options.yields,
        "multimodal": options.multimodal,
        "inputs": chat.inputs_schema,
        "examples": [{"message": example.text, "inputs": dict(example.inputs)} for example in chat.examples],
        "when_busy": options.when_busy,
        "on_disconnect": options.on_disconnect,
        "feedback": list(options.feedback),
        "greeting": [{"role": message.role, "content": text_of(message.content)} for message in options.greeting],
        "url": f"{root_path}/chat/{options.name}",
    }
