"""Why a store refuses an operation: the errors, worded the same for all stores, and the checks that raise them.

Pure functions over values. Knows no store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from chatserve.contracts.turns import TURN_OPEN, Idempotency
from chatserve.core.errors import (
    FileUnknown,
    IdempotencyConflict,
    InputsInvalid,
    LeaseLost,
    MessageUnknown,
    NothingToUndo,
    SessionBusy,
    SessionExists,
    SessionUnknown,
    TurnUnknown,
    VersionConflict,
)
from chatserve.core.types import Message, Session, Turn


def session_unknown(session_id: str) -> SessionUnknown:
    """Return the error for a session that does not exist or has another owner."""
    return SessionUnknown(f"no session {session_id!r}")


def session_exists(session_id: str) -> SessionExists:
    """Return the error for a session whose id, or an id inside it, is in use."""
    return SessionExists(f"session {session_id!r}, or something in it, already exists")


def turn_unknown(turn_id: str) -> TurnUnknown:
    """Return the error for a turn that does not exist or has another owner."""
    return TurnUnknown(f"no turn {turn_id!r}")


def message_unknown(message_id: str | None) -> MessageUnknown:
    """Return the error for a message that does not exist or cannot be the target of the operation."""
    return MessageUnknown("there is no user message yet" if message_id is None else f"no such message {message_id!r}")


def file_unknown(file_id: str) -> FileUnknown:
    """Return the error for a file that does not exist or has another owner."""
    return FileUnknown(f"no file {file_id!r}")


def lease_lost(turn_id: str) -> LeaseLost:
    """Return the error for a turn that has ended or never existed."""
    return LeaseLost(f"turn {turn_id!r} is not open any more")


def nothing_to_undo(session_id: str) -> NothingToUndo:
    """Return the error for a history without a turn."""
    return NothingToUndo(f"session {session_id!r} has no turn to undo")


def check_version(session: Session, if_version: int | None) -> None:
    """Check `If-Match`. Raises: VersionConflict."""
    if if_version is not None and if_version != session.version:
        detail = f"session {session.session_id!r} is at version {session.version}, not {if_version}"
        raise VersionConflict(detail, version=session.version)


def check_idle(session_id: str, open_turn_id: str | None) -> None:
    """Check that no turn is open. Raises: SessionBusy."""
    if open_turn_id is not None:
        raise SessionBusy(f"session {session_id!r} is busy with turn {open_turn_id!r}", turn_id=open_turn_id)


def check_key(idempotency: Idempotency, body_hash: str | None) -> None:
    """Check that a key was used with the same body before. `body_hash` is None if its use made something else.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    if idempotency.body_hash != body_hash:
        raise IdempotencyConflict(f"idempotency key {idempotency.key!r} was used with another body")


def check_ended(turn: Turn) -> None:
    """Check that a turn has ended. Raises: SessionBusy."""
    if turn.status in TURN_OPEN:
        check_idle(turn.session_id, turn.turn_id)


def check_new(messages: Iterable[Message], taken: Collection[str]) -> None:
    """Check that the ids of new messages are unique and not `taken`. Raises: InputsInvalid."""
    seen: set[str] = set()
    for message in messages:
        if message.message_id in taken or message.message_id in seen:
            raise InputsInvalid(f"messages: {message.message_id!r} is the id of another message")
        seen.add(message.message_id)
