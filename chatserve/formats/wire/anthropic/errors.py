"""Errors in the shape of the Messages API: as a document, and as the last event of a stream.

Source: platform.claude.com, "Errors". `error.details.error_code` holds the code, also that of a chat function's own
error: clients read it as `APIStatusError.error_code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatserve.contracts.wire import JsonReply
from chatserve.core.errors import ChatserveError
from chatserve.core.types import Json, TurnError
from chatserve.formats.shared.failures import status_of_failure

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_document(status_code: int, message: str, details: Mapping[str, Json], request_id: str) -> dict[str, Json]:
    """Return the document of an error. Its type follows from the status."""
    otherwise = "api_error" if status_code >= 500 else "invalid_request_error"
    error = {"type": _TYPES.get(status_code, otherwise), "message": message, "details": dict(details)}
    return {"type": "error", "error": error, "request_id": request_id}


def turn_error(error: TurnError, request_id: str) -> dict[str, Json]:
    """Return the document for a failed turn."""
    details = {"error_code": error.code, "error_id": error.error_id}
    return error_document(status_of_failure(error), error.detail, details, request_id)


def turn_failure(error: TurnError, request_id: str) -> JsonReply:
    """Return the reply for a failed turn. Clients must not send the request again: the function has run."""
    headers = {"request-id": request_id, "x-should-retry": "false"}
    return JsonReply(turn_error(error, request_id), status_of_failure(error), headers)


def refusal(error: ChatserveError, request_id: str) -> JsonReply:
    """Return the reply to a refused request. An invalid body has status 400, because the API has no 422."""
    status_code = 400 if error.status_code == 422 else error.status_code
    should_retry = "true" if error.retryable else "false"
    headers = {**error.headers, "request-id": request_id, "x-should-retry": should_retry}
    document = error_document(status_code, error.detail, {"error_code": error.code}, request_id)
    return JsonReply(document, status_code, headers)
