"""Routes paths without parameters by a dict lookup; the application behind it handles all other requests.

Most requests are for such a path. Starlette would try one route after another and pass each message of the response
through every middleware layer. Errors are answered as in the application.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chatserve.core.errors import ChatserveError
from chatserve.routes.http.refusals import Refusals
from chatserve.routes.http.requests import path_of


class LiteralPaths:
    """ASGI middleware that serves those routes of an application whose paths have no parameters.

    If a path has no route for the request's method here, the application answers the request.
    """

    def __init__(self, application: Starlette, routes: Iterable[Route], refusals: Refusals) -> None:
        self._application = application
        self._refusals = refusals
        self._routes: dict[tuple[str, str], Route] = {}
        for route in (route for route in routes if not route.param_convertors):
            for method in route.methods or ():
                self._routes.setdefault((method, route.path), route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], path_of(scope))) if scope["type"] == "http" else None
        if route is None:
            await self._application(scope, receive, send)
            return
        scope.setdefault("router", self._application.router)
        scope.update(app=self._application, route=route, endpoint=route.endpoint, path_params={})
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except (ChatserveError, HTTPException) as error:
            response = self._refusals.respond(request, error)
        except Exception as error:
            await self._refusals.respond(request, error)(scope, receive, send)
            raise
        await response(scope, receive, send)
