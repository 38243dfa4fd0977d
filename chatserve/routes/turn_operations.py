"""What the routes of turns say of themselves in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from chatserve.core.errors import (
    FileUnknown,
    IdempotencyConflict,
    Overloaded,
    QueueFull,
    SessionBusy,
    SessionUnknown,
    ShuttingDown,
    TurnUnknown,
    VersionConflict,
)
from chatserve.routes.openapi.operations import (
    AFTER_EVENT,
    EVENTS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    LAST_EVENT_ID,
    PREFER,
    Answer,
    Link,
    Operation,
    component,
    json_of,
)
from chatserve.routes.openapi.schemas import list_of, record

_TURN_HEADERS: Final = ("X-Turn-Id", "X-Session-Id", "Idempotency-Replayed")
_TURN: Final = {"turn_id": "$response.header.X-Turn-Id"}
_SESSION: Final = {"session_id": "$response.header.X-Session-Id"}

TURN_ANSWERS: Final = (
    Answer(
        200,
        "the turn: as JSON when it is over, as events or words while it runs; what Accept or `stream` ask for",
        {**json_of("Answer"), **EVENTS, "text/plain": {"type": "string"}},
        (*_TURN_HEADERS, "ETag"),
        (
            Link("read_turn", _TURN),
            Link("follow_turn", _TURN),
            Link("stop_turn", _TURN),
            Link("stop_session", _SESSION),
        ),
    ),
    Answer(
        202,
        "accepted; it runs or waits",
        json_of("Accepted"),
        (*_TURN_HEADERS, "Location"),
        (Link("read_turn", _TURN), Link("stop_turn", _TURN)),
    ),
)
"""How every request that starts a turn is answered."""

TURN_ERRORS: Final = (
    SessionUnknown,
    SessionBusy,
    VersionConflict,
    IdempotencyConflict,
    QueueFull,
    Overloaded,
    ShuttingDown,
)
"""What may keep a turn from starting."""

START_TURN: Final = Operation(
    "start_turn",
    "Start a turn",
    TURN_ANSWERS,
    (IDEMPOTENCY_KEY, IF_MATCH, PREFER),
    body="turn",
    errors=(*TURN_ERRORS, FileUnknown),
    runs_chat=True,
)

READ_TURN: Final = Operation(
    "read_turn",
    "Read a turn: its state, and its answer as far as it is",
    (
        Answer(
            200,
            "the turn",
            json_of("TurnState"),
            links=(Link("give_feedback", {"message_id": "$response.body#/messages/0/message_id"}),),
        ),
    ),
    errors=(TurnUnknown,),
)

FOLLOW_TURN: Final = Operation(
    "follow_turn",
    "Follow a turn's events",
    (
        Answer(200, "the turn's events from its beginning or after the cursor, until `done`", EVENTS),
        Answer(204, "the client has them all; a browser stops reconnecting"),
    ),
    (LAST_EVENT_ID, AFTER_EVENT),
    errors=(TurnUnknown,),
)

STOP_TURN: Final = Operation(
    "stop_turn",
    "Stop a turn; one that is over stays as it is",
    (Answer(200, "what became of it", json_of("Answer")),),
    errors=(TurnUnknown,),
)

FOLLOW_SESSION: Final = Operation(
    "follow_session",
    "Follow a session's events",
    (Answer(200, "the events after the cursor, or from the open turn on, without end", EVENTS),),
    (LAST_EVENT_ID, AFTER_EVENT),
    errors=(SessionUnknown,),
)

STOP_SESSION: Final = Operation(
    "stop_session",
    "Stop whatever runs and waits in a session",
    (
        Answer(
            200, "the turns that were stopped", {"application/json": record({"stopped": list_of(component("Answer"))})}
        ),
    ),
    errors=(SessionUnknown,),
)
