"""Assembles the application: its routes, behind the guards."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from chatserve.chat_function import Chat
from chatserve.contracts.formats import HistoryFormat
from chatserve.contracts.streams import StreamFormat
from chatserve.contracts.wire import WireFormat
from chatserve.core.errors import ChatserveError
from chatserve.engine import TurnEngine
from chatserve.routes.answers import Answers
from chatserve.routes.files import FileRoutes
from chatserve.routes.http.guards import Guards
from chatserve.routes.http.problems import problem_of
from chatserve.routes.http.router import LiteralPaths
from chatserve.routes.info import InfoRoutes
from chatserve.routes.openapi.document import About
from chatserve.routes.openapi.operations import routes_of
from chatserve.routes.sessions.feedback import FeedbackRoutes
from chatserve.routes.sessions.history import HistoryRoutes
from chatserve.routes.sessions.sessions import SessionRoutes
from chatserve.routes.sessions.transfer import TransferRoutes
from chatserve.routes.turns import TurnRoutes
from chatserve.routes.wire.endpoints import WireRoutes
from chatserve.stores.file_folder import FileFolder


@dataclass(frozen=True, slots=True)
class Service:
    """What routes work with. `wire_formats` are all formats; the setting `protocols` chooses which are served."""

    engine: TurnEngine
    chats: dict[str, Chat]
    history_formats: dict[str, HistoryFormat]
    files: FileFolder
    title: str
    description: str
    wire_formats: tuple[StreamFormat | WireFormat, ...] = ()


def build_application(service: Service) -> ASGIApp:
    """Return the ASGI application of a service."""
    routes = sorted(all_routes(service), key=lambda route: bool(route.param_convertors))
    application = Starlette(
        routes=routes, exception_handlers=dict.fromkeys((ChatserveError, HTTPException, Exception), _on_error)
    )
    application.router.redirect_slashes = False
    return Guards(LiteralPaths(application, routes), service.engine.settings)


async def _on_error(request: Request, error: Exception) -> Response:
    """Answer an error. It is a coroutine because Starlette would run a plain function in a thread."""
    return problem_of(request, error)


def all_routes(service: Service) -> list[Route]:
    """Return the routes of chatserve's own API, of the information about it, and of the protocols."""
    native = native_routes(service)
    spoken = service.engine.settings.protocols
    protocols = [each for each in service.wire_formats if isinstance(each, WireFormat) and each.name in spoken]
    wire = WireRoutes(service.engine, service.chats, service.files, protocols)
    about = About(service.title, service.description)
    info = InfoRoutes(service.engine, service.chats, about, native, wire.describe())
    return [*routes_of(info), *native, *wire.routes()]


def native_routes(service: Service) -> list[Route]:
    """Return the routes of chatserve's own API. See docs/http.md."""
    answers = Answers(service.engine, [each for each in service.wire_formats if isinstance(each, StreamFormat)])
    nouns = (
        TurnRoutes(service.engine, service.chats, service.history_formats, answers),
        SessionRoutes(service.engine, service.history_formats),
        HistoryRoutes(service.engine, service.chats, service.history_formats, answers),
        FeedbackRoutes(service.engine, service.chats),
        TransferRoutes(service.engine, service.files),
        FileRoutes(service.engine, service.files),
    )
    return [route for noun in nouns for route in routes_of(noun)]
