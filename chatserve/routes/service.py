"""The application's routes put together, and what describes the service itself: `GET /` and health."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatserve.chat_function import Chat
from chatserve.contracts import HistoryFormat
from chatserve.engine import TurnEngine
from chatserve.errors import ChatserveError, ShuttingDown
from chatserve.files import FileFolder
from chatserve.routes.problems import on_chatserve_error, on_http_exception, on_unexpected
from chatserve.routes.turns import TurnRoutes, json_response
from chatserve.types import Json


@dataclass(frozen=True, slots=True)
class Service:
    """What routes work with."""

    engine: TurnEngine
    chats: dict[str, Chat]
    history_formats: dict[str, HistoryFormat]
    files: FileFolder
    title: str
    description: str


def build_application(service: Service) -> Starlette:
    """Return the ASGI application of a service."""
    info = InfoRoutes(service)
    turns = TurnRoutes(service.engine, service.chats, service.history_formats)
    return Starlette(
        routes=[*info.routes(), *turns.routes()],
        exception_handlers={
            ChatserveError: on_chatserve_error,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
    )


@dataclass(frozen=True, slots=True)
class InfoRoutes:
    """Routes that tell about the service."""

    service: Service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.describe, methods=["GET"]),
            Route("/health/live", self.live, methods=["GET"]),
            Route("/health/ready", self.ready, methods=["GET"]),
        ]

    async def describe(self, _request: Request) -> Response:
        """Return what is served here."""
        service = self.service
        return json_response(
            {
                "title": service.title,
                "description": service.description,
                "chats": [chat_json(chat) for chat in service.chats.values()],
            }
        )

    async def live(self, _request: Request) -> Response:
        """Tell that the process answers."""
        return json_response({"status": "live"})

    async def ready(self, _request: Request) -> Response:
        """Tell whether new turns are taken: not while draining, nor without a store."""
        if self.service.engine.is_draining:
            raise ShuttingDown("the server is about to stop")
        await self.service.engine.store.check()
        return json_response({"status": "ready"})


def chat_json(chat: Chat) -> dict[str, Json]:
    """Return what clients may know of a chat."""
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
        "feedback": list(options.feedback),
    }
