"""Error replies in the shapes from which clients show the message. Knows endpoints only by their paths.

A client that joins the queue understands two errors: 422 with a list of validation errors, whose messages it raises,
and 503, which it interprets as a full queue. The Python client loses the messages of all others.
Source: gradio_client 2.7 `Client.send_data`, `utils.extract_validation_message`; @gradio/client 2.7 `submit`.
"""

from __future__ import annotations

from typing import Any

from chatserve.contracts.wire import JsonReply, RawRequest
from chatserve.core.errors import (
    ChatserveError,
    Forbidden,
    HostUnknown,
    InputsInvalid,
    MethodNotAllowed,
    Overloaded,
    RequestError,
    StoreError,
)
from chatserve.core.types import Json, TurnError


def refuse(error: ChatserveError, request: RawRequest) -> JsonReply:
    """Return the reply to a request that cannot be answered."""
    is_join = request.path.endswith("/queue/join")
    if isinstance(error, Overloaded) or (is_join and isinstance(error, StoreError)):
        return _reply(error, error.detail, 503)
    is_astray = isinstance(error, Forbidden | HostUnknown | MethodNotAllowed)
    if isinstance(error, InputsInvalid) or (is_join and isinstance(error, RequestError) and not is_astray):
        return _reply(error, _validations(error), 422)
    return _reply(error, error.detail, error.status_code)


def refusal_of(error: RequestError) -> TurnError:
    """Return the error of a joined call; every wrong field is named, under the client's name for it."""
    wrong = error.extra.get("errors") or ()
    named = [f"{str(each['field']).removeprefix('inputs.')}: {each['message']}" for each in wrong]
    return TurnError(error.code, "; ".join(named) or error.detail, "", error.retryable, error.status_code)


def _reply(error: ChatserveError, detail: Json, status_code: int) -> JsonReply:
    body = {"detail": detail, "error": error.detail, "code": error.code}
    return JsonReply(body, status_code, error.headers)


def _validations(error: ChatserveError) -> list[dict[str, Any]]:
    """Return one entry for each wrong field, under the client's name for it."""
    field = "message" if isinstance(error, InputsInvalid) else "request"
    wrong = error.extra.get("errors") or [{"field": field, "message": error.detail}]
    return [_validation(str(each["field"]), str(each["message"])) for each in wrong]


def _validation(field: str, message: str) -> dict[str, Any]:
    name = field.removeprefix("inputs.")
    return {"__type__": "validate", "is_valid": False, "message": message, "parameter_name": name}
