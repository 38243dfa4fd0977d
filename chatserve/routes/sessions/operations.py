"""What the routes of sessions, their histories and feedback say of themselves in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from chatserve.core.errors import (
    ChatUnknown,
    FileUnknown,
    Forbidden,
    IdempotencyConflict,
    MessageUnknown,
    NothingToUndo,
    SessionBusy,
    SessionExists,
    SessionUnknown,
    VersionConflict,
)
from chatserve.routes.openapi.operations import (
    AFTER_ID,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    LIMIT,
    PREFER,
    Answer,
    Link,
    Operation,
    Parameter,
    component,
    flag,
    json_of,
    page_of,
)
from chatserve.routes.openapi.schemas import STRING, VERSION, record
from chatserve.routes.turn_operations import TURN_ANSWERS, TURN_ERRORS

_SESSION: Final = {"session_id": "$response.body#/session_id"}
_NEXT: Final = (
    "read_session",
    "change_session",
    "delete_session",
    "list_messages",
    "undo",
    "retry",
    "edit",
    "fork_session",
)
_CREATED: Final = Answer(
    201,
    "the session",
    json_of("Session"),
    ("ETag", "Location", "Idempotency-Replayed"),
    tuple(Link(operation_id, _SESSION) for operation_id in _NEXT),
)
_SESSION_ANSWER: Final = Answer(200, "the session", json_of("Session"), ("ETag",))
_CHANGE_ERRORS: Final = (SessionUnknown, VersionConflict)
_HISTORY_ERRORS: Final = (*_CHANGE_ERRORS, SessionBusy)

CREATE_SESSION: Final = Operation(
    "create_session",
    "Create a session, perhaps with a history",
    (_CREATED,),
    (IDEMPOTENCY_KEY,),
    errors=(SessionUnknown, SessionExists, FileUnknown, IdempotencyConflict),
)

LIST_SESSIONS: Final = Operation(
    "list_sessions",
    "Page through one's own sessions, most recently created first",
    (Answer(200, "a page", page_of(component("Session"))),),
    (AFTER_ID, LIMIT),
    errors=(Forbidden, SessionUnknown),
)

READ_SESSION: Final = Operation("read_session", "Read a session", (_SESSION_ANSWER,), errors=(SessionUnknown,))

CHANGE_SESSION: Final = Operation(
    "change_session",
    "Change a session's title or metadata",
    (_SESSION_ANSWER,),
    (IF_MATCH,),
    errors=_CHANGE_ERRORS,
)

DELETE_SESSION: Final = Operation(
    "delete_session",
    "Delete a session with all that belongs to it",
    (Answer(204, "it is gone"),),
    (IF_MATCH,),
    errors=_HISTORY_ERRORS,
)

LIST_MESSAGES: Final = Operation(
    "list_messages",
    "Page through a session's history",
    (
        Answer(
            200,
            "a page, oldest first: messages, pairs of user and assistant, or OpenAI's messages",
            page_of({"anyOf": [component("Message"), component("Pair"), component("OpenAIMessage")]}),
            ("ETag",),
        ),
    ),
    (
        Parameter(
            "format",
            "query",
            "the shape of the history",
            {"type": "string", "enum": ["messages", "tuples", "openai"], "default": "messages"},
        ),
        flag("branches", "all messages in the order they were made, with `format=messages` only"),
        AFTER_ID,
        LIMIT,
    ),
    errors=(SessionUnknown, MessageUnknown),
)

CLEAR_HISTORY: Final = Operation(
    "clear_history",
    "Clear a session's history and state",
    (_SESSION_ANSWER,),
    (IF_MATCH,),
    errors=_HISTORY_ERRORS,
)

UNDO: Final = Operation(
    "undo",
    "Take the last turn back",
    (
        Answer(
            200,
            "the user message of that turn",
            {
                "application/json": record(
                    {"session_id": STRING, "version": VERSION, "message": component("Message")},
                )
            },
            ("ETag",),
        ),
    ),
    (IF_MATCH,),
    errors=(*_HISTORY_ERRORS, NothingToUndo),
)

RETRY: Final = Operation(
    "retry",
    "Answer a message again",
    TURN_ANSWERS,
    (IDEMPOTENCY_KEY, IF_MATCH, PREFER),
    errors=(*TURN_ERRORS, MessageUnknown, ChatUnknown, NothingToUndo),
    runs_chat=True,
)

EDIT: Final = Operation(
    "edit",
    "Replace a message, and answer the new one",
    TURN_ANSWERS,
    (IDEMPOTENCY_KEY, IF_MATCH, PREFER),
    errors=(*TURN_ERRORS, MessageUnknown, ChatUnknown, FileUnknown),
    runs_chat=True,
)

FORK_SESSION: Final = Operation(
    "fork_session",
    "Copy a history, up to a message, into a new session",
    (_CREATED,),
    (IDEMPOTENCY_KEY,),
    errors=(SessionUnknown, MessageUnknown, SessionExists, IdempotencyConflict),
)

GIVE_FEEDBACK: Final = Operation(
    "give_feedback",
    "Say what one thinks of an answer",
    (Answer(200, "the message, with the feedback", json_of("Message"), ("ETag",)),),
    (IF_MATCH,),
    errors=(MessageUnknown, VersionConflict),
)
