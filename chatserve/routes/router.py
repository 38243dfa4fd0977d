"""Finds the route of a path that is written out, without asking all the others: a look into a dict."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

_CHOSEN = "chatserve.route"


def split_by_path(routes: Iterable[Route]) -> list[BaseRoute]:
    """Return routes that match as the given ones do, those with a literal path first and all at once."""
    routes = list(routes)
    literal = LiteralRoutes(route for route in routes if not route.param_convertors)
    return [literal, *[route for route in routes if route.param_convertors]]


class LiteralRoutes(BaseRoute):
    """Routes whose paths hold no parameters."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_path: dict[str, list[Route]] = {}
        for route in routes:
            self._by_path.setdefault(route.path, []).append(route)

    @property
    def routes(self) -> list[Route]:
        """All of them."""
        return [route for routes in self._by_path.values() for route in routes]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether the path is here, and the method with it."""
        if scope["type"] != "http":
            return Match.NONE, {}
        routes = self._by_path.get(_path_of(scope))
        if routes is None:
            return Match.NONE, {}
        method = scope["method"]
        route = next((route for route in routes if method in (route.methods or ())), None)
        found = Match.PARTIAL if route is None else Match.FULL
        chosen = routes[0] if route is None else route
        return found, {"endpoint": chosen.endpoint, "path_params": {}, _CHOSEN: chosen}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that was found answer."""
        await scope[_CHOSEN].handle(scope, receive, send)


def _path_of(scope: Scope) -> str:
    """Return the path below the one the application is mounted at."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    return path.removeprefix(root_path) if root_path and path.startswith(f"{root_path}/") else path
