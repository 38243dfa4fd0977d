"""Errors as RFC 9457 problem documents.

Source: RFC 9457 section 3. `code` is stable and public; `error_id` finds the error in the server's log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from secrets import token_hex
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from chatserve.codec import dumps
from chatserve.core.errors import (
    ChatserveError,
    MethodNotAllowed,
    RequestError,
    RouteUnknown,
    SessionBusy,
    VersionConflict,
    error_member,
)
from chatserve.core.types import Turn, TurnError

logger = logging.getLogger("chatserve.http")
MEDIA_TYPE = "application/problem+json"
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def problem(
    status_code: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return a problem document with these additional members.

    Its member `error` is what clients of other protocols read: they may have ended up on a path of chatserve's own.
    """
    value = {
        "type": "about:blank",
        "title": _PHRASES.get(status_code, "Error"),
        "status": status_code,
        "code": code,
        "detail": detail,
        "error_id": members.pop("error_id", None) or f"e_{token_hex(8)}",
        **members,
        "error": error_member(detail, status_code, code),
    }
    return Response(dumps(value), status_code, media_type=MEDIA_TYPE, headers=headers)


def error_response(error: ChatserveError, **members: Any) -> Response:
    """Return the problem document of one of chatserve's errors."""
    extra = {**error.extra, **members}
    headers = dict(error.headers) | _state_headers(error) | extra.pop("headers", {})
    return problem(error.status_code, error.code, error.detail, headers=headers, retryable=error.retryable, **extra)


def _state_headers(error: ChatserveError) -> dict[str, str]:
    """Return headers that help the client to continue: the current version, or the blocking turn's location."""
    if isinstance(error, VersionConflict) and "version" in error.extra:
        return {"etag": f'"{error.extra["version"]}"'}
    if isinstance(error, SessionBusy) and "turn_id" in error.extra:
        return {"location": f"/turns/{error.extra['turn_id']}"}
    return {}


def turn_problem(turn: Turn, error: TurnError) -> Response:
    """Return the problem document of a turn that failed while the client waited."""
    return problem(
        error.status_code,
        error.code,
        error.detail,
        error_id=error.error_id,
        retryable=error.retryable,
        turn_id=turn.turn_id,
        session_id=turn.session_id or None,
    )


def problem_of(request: Request, error: Exception) -> Response:
    """Answer any exception of a route: chatserve's own errors, those of routing and parsing, and bugs."""
    known = known_error(request, error)
    if request.method == "OPTIONS" and isinstance(known, MethodNotAllowed):
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=known.extra["headers"])
    return error_response(known)


def known_error(request: Request, error: Exception) -> ChatserveError:
    """Return any exception of a route as one of chatserve's errors. A bug is logged."""
    if isinstance(error, ChatserveError):
        return error
    if not isinstance(error, HTTPException):
        return _bug(request, error)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _wrong_method(request)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return RouteUnknown("there is nothing at this path; GET / lists what there is")
    refused = RequestError(error.detail, headers=error.headers or {})
    refused.status_code = error.status_code
    return refused


def _wrong_method(request: Request) -> MethodNotAllowed:
    """Return the error that names the methods of all of a path's routes."""
    allow = ", ".join(sorted(_methods_at(request) | {"OPTIONS"}))
    return MethodNotAllowed(f"{request.method} is not allowed here; allowed: {allow}", headers={"allow": allow})


def _methods_at(request: Request) -> set[str]:
    """Return the methods of the routes that match a path; if some match it literally, of those only."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    spelled_out = [route for route in here if not route.param_convertors]
    return {method for route in spelled_out or here for method in route.methods or ()}


def _bug(request: Request, error: Exception) -> ChatserveError:
    """Log a bug of chatserve, and return the error with the id that finds it in the log."""
    error_id = f"e_{token_hex(8)}"
    logger.error("%s %s failed (%s)", request.method, request.scope["path"], error_id, exc_info=error)
    return ChatserveError("the server failed; it is in its log", error_id=error_id)
