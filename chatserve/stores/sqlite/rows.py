"""Rows to values and back. Rows are tuples in the column order of the tables in `schema`. Knows no SQL statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chatserve.codec import (
    decode_error,
    decode_feedback,
    decode_stored_content,
    decode_usage,
    dumps,
    encode_content,
    error_json,
    feedback_json,
    loads_stored,
    usage_json,
)
from chatserve.core.types import Feedback, Message, Session, StoredFile, Turn
from chatserve.stores.transitions import TurnPlace

Row = Sequence[Any]
SESSION_WIDTH: Final = 12
"""The number of columns of a session, for rows with more columns after it."""
ANSWER_END: Final = 17
"""The column of a turn with the id of the last message of its answer."""
_ECHO: Final = 18


def text(value: Any) -> str | None:
    """Encode an optional JSON value."""
    return None if value is None else dumps(value).decode()


def session_of(row: Row) -> Session:
    """Read a `session` row."""
    _, session_id, owner, title, metadata, state, version, head, last_seq, created_at, updated_at, expires_at = row[
        :SESSION_WIDTH
    ]
    return Session(
        session_id,
        owner,
        title,
        {} if metadata == "{}" else loads_stored(metadata),
        {} if state == "{}" else loads_stored(state),
        version,
        head,
        last_seq,
        created_at,
        updated_at,
        expires_at,
    )


def session_row(session: Session) -> Row:
    """Return the columns of a session, from `session_id` on."""
    return (
        session.session_id,
        session.owner,
        session.title,
        object_text(session.metadata),
        object_text(session.state),
        session.version,
        session.head,
        session.last_seq,
        session.created_at,
        session.updated_at,
        session.expires_at,
    )


def object_text(value: Any) -> str:
    """Encode a mapping. Most are empty."""
    return dumps(dict(value)).decode() if value else "{}"


def message_of(row: Row) -> Message:
    """Read a `message` row."""
    _, _, message_id, parent_id, turn_id, role, created_at, status, feedback, metadata, options, content = row
    return Message(
        message_id,
        role,
        decode_stored_content(content),
        created_at,
        turn_id,
        parent_id,
        None if metadata is None else loads_stored(metadata),
        None if options is None else tuple(loads_stored(options)),
        status,
        None if feedback is None else decode_feedback(loads_stored(feedback)),
    )


def message_row(session_id: str, message: Message) -> Row:
    """Return the columns of a message, from `session_id` on."""
    return (
        session_id,
        message.message_id,
        message.parent_id,
        message.turn_id,
        message.role,
        message.created_at,
        message.status,
        None if message.feedback is None else feedback_text(message.feedback),
        None if message.metadata is None else object_text(message.metadata),
        None if message.options is None else text(message.options),
        encode_content(message.content).decode(),
    )


def feedback_text(feedback: Feedback | None) -> str | None:
    """Encode the feedback of a message."""
    return None if feedback is None else text(feedback_json(feedback))


def turn_of(row: Row) -> Turn:
    """Read a `turn` row."""
    (_, turn_id, session_id, chat, status, user_message_id, created_at, finished_at, finish_reason, *rest) = row
    usage, error, first_seq, done_seq, version = rest[:5]
    echo = row[_ECHO]
    return Turn(
        turn_id,
        session_id,
        chat,
        status,
        user_message_id,
        created_at,
        finished_at,
        finish_reason,
        None if usage is None else decode_usage(loads_stored(usage)),
        None if error is None else decode_error(loads_stored(error)),
        first_seq,
        done_seq,
        version,
        None if echo is None else loads_stored(echo),
    )


def turn_row(turn: Turn, place: TurnPlace, answer_end_id: str | None) -> Row:
    """Return the columns of a turn, from `turn_id` on."""
    return (
        turn.turn_id,
        turn.session_id,
        turn.chat,
        turn.status,
        turn.user_message_id,
        turn.created_at,
        turn.finished_at,
        turn.finish_reason,
        usage_text(turn),
        error_text(turn),
        turn.first_seq,
        turn.done_seq,
        turn.version,
        place.follows_head,
        place.rollback_turn_id,
        place.base_head,
        answer_end_id,
        None if turn.echo is None else object_text(turn.echo),
    )


def end_row(turn: Turn, answer_end_id: str | None) -> Row:
    """Return the id of a turn and the columns that its end changes."""
    return (
        turn.turn_id,
        turn.status,
        turn.finished_at,
        turn.finish_reason,
        usage_text(turn),
        error_text(turn),
        turn.first_seq,
        turn.done_seq,
        turn.version,
        answer_end_id,
    )


def usage_text(turn: Turn) -> str | None:
    """Encode the usage of a turn."""
    return None if turn.usage is None else text(usage_json(turn.usage))


def error_text(turn: Turn) -> str | None:
    """Encode the error of a turn."""
    return None if turn.error is None else text(error_json(turn.error))


def place_of(row: Row) -> TurnPlace:
    """Read the place of a turn from its row."""
    return TurnPlace(bool(row[14]), row[15], row[16])


def file_of(row: Row) -> StoredFile:
    """Read a `file` row followed by the id of a session that the file belongs to."""
    _, file_id, owner, name, media_type, size, created_at, _, session_id = row
    return StoredFile(file_id, owner, session_id, name, media_type, size, created_at)
