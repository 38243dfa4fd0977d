"""`turn_operation`, the common description of all routes that start a turn."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel

from chatserve.core.errors import ChatserveError, Overloaded, QueueFull, SessionBusy, SessionUnknown, ShuttingDown
from chatserve.routes.openapi.operations import EVENTS, IDEMPOTENCY_KEY, IF_MATCH, PREFER, Answer, Operation, json_of
from chatserve.routes.openapi.schemas import STRING

_HEADERS: Final = ("X-Turn-Id", "X-Session-Id", "Idempotency-Replayed")
_TURN: Final = {"turn_id": "$response.header.X-Turn-Id"}
_SESSION: Final = {"session_id": "$response.header.X-Session-Id"}

_ANSWERS: Final = (
    Answer(
        200,
        "the turn: as JSON when it has ended, or as events or text while it runs, as Accept or `stream` ask",
        {**json_of("Answer"), **EVENTS, "text/plain": STRING},
        (*_HEADERS, "ETag"),
        {"read_turn": _TURN, "follow_turn": _TURN, "stop_turn": _TURN, "stop_session": _SESSION},
    ),
    Answer(
        202,
        "accepted; the turn runs or waits",
        json_of("Accepted"),
        (*_HEADERS, "Location"),
        {"read_turn": _TURN, "stop_turn": _TURN},
    ),
)
_ERRORS: Final = (SessionUnknown, SessionBusy, QueueFull, Overloaded, ShuttingDown)


def turn_operation(
    operation_id: str, at: str, body: type[BaseModel] | Literal["turn"], *errors: type[ChatserveError]
) -> Operation:
    """Return an operation that starts a turn. `errors` are those that not all such operations have."""
    parameters = (IDEMPOTENCY_KEY, IF_MATCH, PREFER)
    return Operation(operation_id, at, _ANSWERS, parameters, body, (*_ERRORS, *errors), runs_chat=True)
