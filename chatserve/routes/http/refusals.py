"""Answers what is refused outside of a protocol's endpoints, in the form that the client reads.

A request ends up there by a wrong path or method, a host or origin that is not allowed, a limit, or a bug. A header
that only clients of one protocol send decides first, then the path; all other requests get a problem document. Knows
protocols only by their contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex

from starlette.requests import Request
from starlette.responses import Response

from chatserve.contracts.wire import RawRequest, WireFormat
from chatserve.core.errors import ChatserveError, ChatUnknown, MethodNotAllowed, RouteUnknown
from chatserve.routes.http.problems import known_error, problem_of
from chatserve.routes.http.requests import headers_of, path_of
from chatserve.routes.http.responses import json_response
from chatserve.routes.http.signposts import Signposts


class Refusals:
    """Answers every error that no endpoint of a protocol answers."""

    def __init__(self, formats: Sequence[WireFormat]) -> None:
        self._by_header = {each.client_header: each for each in formats if each.client_header is not None}
        self._signposts = Signposts(formats)

    def respond(self, request: Request, error: Exception) -> Response:
        """Return the response to any exception of a route or a guard."""
        known, path = known_error(request, error), path_of(request.scope)
        wire_format = self.format_of(request) or self._signposts.format_at(request.method, path)
        if isinstance(known, RouteUnknown | MethodNotAllowed | ChatUnknown):
            self._point(known, request, path)
        if wire_format is None or request.method == "OPTIONS":
            return problem_of(request, known)
        raw = RawRequest(request.method, path, {}, f"req_{token_hex(12)}", 0.0, headers=headers_of(request))
        reply = wire_format.refuse(known, raw)
        return json_response(reply.body, reply.status_code, {**known.extra.get("headers", {}), **reply.headers})

    def _point(self, error: ChatserveError, request: Request, path: str) -> None:
        """Add to an error which path the client should have used."""
        hint = self._signposts.hint(request.method, path, request.scope.get("root_path", ""))
        if hint is not None:
            said = f"there is nothing at {path!r:.200}" if type(error) is RouteUnknown else error.detail
            error.detail = f"{said}; {hint}"

    def format_of(self, request: Request) -> WireFormat | None:
        """Return the format whose clients alone send a header that the request has."""
        headers = headers_of(request)
        return next((each for name, each in self._by_header.items() if name in headers), None)
