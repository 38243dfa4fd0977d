"""Responses that every route can return."""

from __future__ import annotations

from starlette.responses import Response

from chatserve.codec import dumps
from chatserve.core.types import Json


def json_response(value: Json, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(dumps(value), status_code, headers=headers, media_type="application/json")
