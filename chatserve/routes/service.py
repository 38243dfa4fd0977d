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
from chatserve.routes.http.refusals import Refusals
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
    refusals = Refusals(spoken_formats(service))
    routes = sorted(all_routes(service, refusals), key=lambda route: bool(route.param_convertors))

    async def refuse(
        request: Request, error: Exception
    ) -> Response:  # Starlette would run a plain function in a thread
        return refusals.respond(request, error)

    application = Starlette(
        routes=routes, exception_handlers=dict.fromkeys((ChatserveError, HTTPException, Exception), refuse)
    )
    application.router.redirect_slashes = False
    return Guards(LiteralPaths(application, routes, refusals), service.engine.settings, refusals)


def spoken_formats(service: Service) -> list[WireFormat]:
    """Return the formats of the protocols that are served."""
    spoken = service.engine.settings.protocols
    return [each for each in service.wire_formats if isinstance(each, WireFormat) and each.name in spoken]


def all_routes(service: Service, refusals: Refusals) -> list[Route]:
    """Return the routes of chatserve's own API, of the information about it, and of the protocols."""
    native = native_routes(service)
    wire = WireRoutes(service.engine, service.chats, service.files, spoken_formats(service), refusals)
    about = About(service.title, service.description)
    info = InfoRoutes(service.engine, service.chats, about, native, wire.describe())
    return [*routes_of(info), *native, *wire.routes()]


def native_routes(service: Service) -> list[Route]:
    """Return the routes of chatserve's own API. See docs/http.md."""
    answers = Answers(service.engine, [each for each in service.wire_formats if isinstance(each, StreamFormat)])
    nouns = (
        TurnRoutes(service.engine, service.chats, service.history_formats, answers),
        SessionRoutes(service.engine, service.chats, service.history_formats),
        HistoryRoutes(service.engine, service.chats, service.history_formats, answers),
        FeedbackRoutes(service.engine, service.chats),
        TransferRoutes(service.engine, service.files),
        FileRoutes(service.engine, service.files),
    )
    return [route for noun in nouns for route in routes_of(noun)]
