"""Errors in OpenAI's shape, for formats that speak to its clients: `{"error": {"message", "type", "param", "code"}}`.

`code` is chatserve's code, except for those that client libraries look for. Invalid requests have status 400. Source:
OpenAI API reference, "Error codes".
"""

from __future__ import annotations

from typing import Final

from chatserve.contracts.wire import JsonReply, RawRequest
from chatserve.core.errors import ChatserveError, ChatUnknown, InputsInvalid, error_member
from chatserve.core.types import Json, TurnError
from chatserve.formats.shared.failures import status_of_failure
from chatserve.formats.shared.openai_endpoints import headers_of

_NO_RETRY: Final = {"x-should-retry": "false"}
"""Stops OpenAI's libraries from trying again, which they otherwise do after every 409, 429 and 5xx."""

_INPUTS: Final = "inputs."
"""The native API puts a function's inputs under this name. Here they are among the other fields."""


def reply_to_error(error: ChatserveError, request: RawRequest) -> JsonReply:
    """Return the reply to a request that cannot be answered."""
    retry = {} if error.retryable else _NO_RETRY
    headers = {**headers_of(request), **retry, **error.headers}
    if isinstance(error, ChatUnknown):
        return JsonReply(error_body(error.detail, 404, param="model", code="model_not_found"), 404, headers)
    status_code = 400 if isinstance(error, InputsInvalid) else error.status_code
    body = error_body(error.detail.removeprefix(_INPUTS), status_code, param=_param_of(error), code=error.code)
    return JsonReply(body, status_code, headers)


def reply_to_failure(error: TurnError | None, request: RawRequest) -> JsonReply:
    """Return the reply to a request whose turn failed. Clients must not send it again: its function has run."""
    headers = {**headers_of(request), **_NO_RETRY}
    return JsonReply(failure_body(error), 500 if error is None else status_of_failure(error), headers)


def failure_body(error: TurnError | None) -> dict[str, dict[str, Json]]:
    """Return the error of a failed turn. `error_id` finds it in the server's log."""
    if error is None:
        return error_body("the turn failed", 500, param=None, code="internal_error")
    body = error_body(error.detail, status_of_failure(error), param=None, code=error.code)
    body["error"]["error_id"] = error.error_id
    return body


def farewell_body() -> dict[str, dict[str, Json]]:
    """Return the error for a stream that ends before its answer because the server stops."""
    return error_body("the server is stopping; try again in a moment", 503, param=None, code="shutting_down")


def error_body(message: str, status_code: int, *, param: str | None, code: str) -> dict[str, dict[str, Json]]:
    """Return the body of an error."""
    member = error_member(message, status_code, code)
    return {"error": {"message": message, "type": member["type"], "param": param, "code": code}}


def _param_of(error: ChatserveError) -> str | None:
    """Return the name of the invalid field, if the error has one."""
    named = error.extra.get("param")
    if isinstance(named, str):
        return named
    errors = error.extra.get("errors")
    field = errors[0].get("field") if errors else None
    return field.removeprefix(_INPUTS) if isinstance(field, str) else None
