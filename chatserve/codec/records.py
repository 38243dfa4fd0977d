"""Sessions, turns and files in JSON (contract section 7)."""

from __future__ import annotations

from collections.abc import Mapping

from chatserve.codec.values import decode_time, encode_time
from chatserve.core.types import Json, Session, StoredFile, Turn, TurnError, Usage


def session_json(session: Session) -> dict[str, Json]:
    """Return the JSON of a session (contract section 7)."""
    return {
        "session_id": session.session_id,
        "title": session.title,
        "metadata": dict(session.metadata),
        "version": session.version,
        "last_seq": session.last_seq,
        "created_at": encode_time(session.created_at),
        "updated_at": encode_time(session.updated_at),
    } | ({"expires_at": encode_time(session.expires_at)} if session.expires_at is not None else {})


def usage_json(usage: Usage) -> dict[str, Json]:
    """Return the JSON of a usage."""
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def error_json(error: TurnError) -> dict[str, Json]:
    """Return the JSON of a turn's error."""
    return {
        "code": error.code,
        "detail": error.detail,
        "error_id": error.error_id,
        "retryable": error.retryable,
        "status_code": error.status_code,
    }


def decode_error(value: Mapping[str, Json]) -> TurnError:
    """Read what `error_json` wrote."""
    return TurnError(
        value["code"], value["detail"], value["error_id"], value["retryable"], value.get("status_code", 500)
    )


def turn_json(turn: Turn) -> dict[str, Json]:
    """Return the JSON of a turn."""
    value: dict[str, Json] = {
        "turn_id": turn.turn_id,
        "session_id": turn.session_id or None,
        "chat": turn.chat,
        "status": turn.status,
        "user_message_id": turn.user_message_id,
        "created_at": encode_time(turn.created_at),
    }
    if turn.finished_at is not None:
        value["finished_at"] = encode_time(turn.finished_at)
    if turn.usage is not None:
        value["usage"] = usage_json(turn.usage)
    if turn.error is not None:
        value["error"] = error_json(turn.error)
    for name in ("finish_reason", "first_seq", "done_seq", "version"):
        if (field := getattr(turn, name)) is not None:
            value[name] = field
    return value


def decode_turn(value: Mapping[str, Json]) -> Turn:
    """Read what `turn_json` wrote."""
    finished, usage, error = value.get("finished_at"), value.get("usage"), value.get("error")
    return Turn(
        turn_id=value["turn_id"],
        session_id=value["session_id"] or "",
        chat=value["chat"],
        status=value["status"],
        user_message_id=value.get("user_message_id"),
        created_at=decode_time(value["created_at"]),
        finished_at=None if finished is None else decode_time(finished),
        finish_reason=value.get("finish_reason"),
        usage=None if usage is None else Usage(**usage),
        error=None if error is None else decode_error(error),
        first_seq=value.get("first_seq"),
        done_seq=value.get("done_seq"),
        version=value.get("version"),
    )


def file_json(file: StoredFile) -> dict[str, Json]:
    """Return the JSON of a stored file, as an upload answers it."""
    return {
        "id": file.file_id,
        "name": file.name,
        "media_type": file.media_type,
        "size": file.size,
        "url": f"/files/{file.file_id}",
        "created_at": encode_time(file.created_at),
    }
