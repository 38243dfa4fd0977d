"""The application's routes put together behind the guards."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from chatserve.chat_function import Chat
from chatserve.contracts import HistoryFormat
from chatserve.engine import TurnEngine
from chatserve.errors import ChatserveError
from chatserve.files import FileFolder
from chatserve.routes.feedback import FeedbackRoutes
from chatserve.routes.files import FileRoutes
from chatserve.routes.guards import Guards
from chatserve.routes.history import HistoryRoutes
from chatserve.routes.info import InfoRoutes
from chatserve.routes.problems import on_chatserve_error, on_http_exception, on_unexpected
from chatserve.routes.router import split_by_path
from chatserve.routes.sessions import SessionRoutes
from chatserve.routes.transfer import TransferRoutes
from chatserve.routes.turns import TurnRoutes
from chatserve.routes.wire.endpoints import WireRoutes
from chatserve.wire import WireFormat


@dataclass(frozen=True, slots=True)
class Service:
    """What routes work with."""

    engine: TurnEngine
    chats: dict[str, Chat]
    history_formats: dict[str, HistoryFormat]
    files: FileFolder
    title: str
    description: str
    wire_formats: tuple[WireFormat, ...] = ()


def build_application(service: Service) -> ASGIApp:
    """Return the ASGI application of a service. Raises: ConfigurationError (settings of the guards)."""
    settings = service.engine.settings
    application = Starlette(
        routes=split_by_path(all_routes(service)),
        exception_handlers={
            ChatserveError: on_chatserve_error,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
    )
    application.router.redirect_slashes = False
    return Guards(application, allowed_hosts=settings.allowed_hosts, cors_origins=settings.cors_origins)


def all_routes(service: Service) -> list[Route]:
    """Return the routes of chatserve's own API, what it tells of itself, and those of the protocols."""
    native = native_routes(service)
    wire = WireRoutes(service.engine, service.chats, service.files, service.wire_formats)
    info = InfoRoutes(service.engine, service.chats, native, wire.describe(), service.title, service.description)
    return [*info.routes(), *native, *wire.routes()]


def native_routes(service: Service) -> list[Route]:
    """Return the routes of chatserve's own API (contract section 2)."""
    nouns = (
        TurnRoutes(service.engine, service.chats, service.history_formats),
        SessionRoutes(service.engine, service.history_formats),
        HistoryRoutes(service.engine, service.chats, service.history_formats),
        FeedbackRoutes(service.engine, service.chats),
        TransferRoutes(service.engine, service.files),
        FileRoutes(service.engine, service.files),
    )
    return [route for noun in nouns for route in noun.routes()]
