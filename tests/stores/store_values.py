"""Values that tests of stores are made of: sessions s_1, turns t_1, messages u_1 (of a user) and a_1 (an answer)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from chatserve.contracts.store import HistoryMove, Store
from chatserve.contracts.turns import BeginTurn, BegunTurn, CommittedTurn, CommitTurn, NewSession, TurnCall, TurnRequest
from chatserve.core.events import Delta, Done, Event, MessageOpened, NumberedEvent, TurnAccepted
from chatserve.core.types import Message, StoredFile, TextPart

OWNER = "alice"
STRANGER = "mallory"


def user(message_id: str = "u_1", text: str = "hi", **fields: Any) -> Message:
    return Message(message_id, fields.pop("role", "user"), (TextPart(text),), 10.0, **fields)


def answer(message_id: str = "a_1", text: str = "hello", **fields: Any) -> Message:
    return Message(message_id, fields.pop("role", "assistant"), (TextPart(text),), 11.0, **fields)


def new_session(session_id: str = "s_1", owner: str = OWNER, **fields: Any) -> NewSession:
    return NewSession(session_id, owner, **fields)


OF_CALL = ("chat", "operation", "target_message_id", "if_version", "echo")
OF_REQUEST = ("owner", "history", "idempotency")


def begin(number: int = 1, session_id: str = "s_1", **fields: Any) -> BeginTurn:
    """Return a turn to begin: t_<number>, with u_<number>, in a session made for it where there is none.

    `fields` are those of the call, of the request and of the turn.
    """
    values: dict[str, Any] = {
        "owner": OWNER,
        "chat": "chat",
        "turn_id": f"t_{number}",
        "status": "running",
        "user_message": user(f"u_{number}", f"question {number}"),
        "now": 100.0 + number,
        "create": new_session(session_id),
    } | fields
    call = TurnCall(**{name: values.pop(name) for name in OF_CALL if name in values})
    request = TurnRequest(
        call, session_id=session_id, **{name: values.pop(name) for name in OF_REQUEST if name in values}
    )
    return BeginTurn(request, **values)


def retry(number: int, **fields: Any) -> BeginTurn:
    return begin(number, **({"operation": "retry", "user_message": None} | fields))


def edit(number: int, **fields: Any) -> BeginTurn:
    return begin(number, **({"operation": "edit"} | fields))


def commit(number: int = 1, *messages: Message, session_id: str = "s_1", done_seq: int, **fields: Any) -> CommitTurn:
    values: dict[str, Any] = {
        "owner": OWNER,
        "now": 200.0 + number,
        "status": "completed",
        "finish_reason": "stop",
        "events": (),
    }
    return CommitTurn(
        session_id=session_id, turn_id=f"t_{number}", messages=messages, done_seq=done_seq, **(values | fields)
    )


async def run_turn(store: Store, number: int = 1, session_id: str = "s_1", **fields: Any) -> CommittedTurn:
    """Begin and commit turn t_<number>: u_<number>, answered by a_<number>."""
    begun = await store.begin_turn(begin(number, session_id, **fields))
    done_seq = begun.session.last_seq + 1
    return await store.commit_turn(
        commit(number, answer(f"a_{number}", f"answer {number}"), session_id=session_id, done_seq=done_seq)
    )


async def end_turn(
    store: Store, number: int, *messages: Message, session_id: str = "s_1", **fields: Any
) -> CommittedTurn:
    """Commit turn t_<number>, with the next number of its log."""
    session = await store.get_session(OWNER, session_id)
    return await store.commit_turn(
        commit(number, *messages, session_id=session_id, done_seq=session.last_seq + 1, **fields)
    )


def undo(seq: int, **fields: Any) -> HistoryMove:
    return HistoryMove(OWNER, fields.pop("session_id", "s_1"), "undo", 300.0, seq, **fields)


def clear(seq: int, **fields: Any) -> HistoryMove:
    return HistoryMove(OWNER, fields.pop("session_id", "s_1"), "clear", 300.0, seq, **fields)


def replacement(seq: int, *messages: Message, **fields: Any) -> HistoryMove:
    return HistoryMove(
        OWNER, fields.pop("session_id", "s_1"), "replace", 300.0, seq, **({"messages": messages} | fields)
    )


async def branch_ids(store: Store, session_id: str = "s_1") -> list[str]:
    """Return the ids of the current branch, oldest first."""
    session = await store.get_session(OWNER, session_id)
    return [message.message_id for message in await store.read_branch(OWNER, session_id, session.head)]


def opening_events(begun: BegunTurn, first_seq: int, *texts: str) -> list[NumberedEvent]:
    """Return the events of a turn that has begun to answer: `turn`, `message`, and a delta per text."""
    turn_id, number = begun.turn.turn_id, begun.turn.turn_id.removeprefix("t_")
    events: list[Event] = [
        TurnAccepted(begun.turn, begun.user_message, begun.session.version),
        MessageOpened(f"a_{number}", "assistant"),
        *map(Delta, texts),
    ]
    return [NumberedEvent(first_seq + place, turn_id, event) for place, event in enumerate(events)]


def done_of(events: tuple[NumberedEvent, ...]) -> list[tuple[int, Done]]:
    return [(event.seq, event.event) for event in events if isinstance(event.event, Done)]


def file(file_id: str = "f_1", session_id: str | None = None, **fields: Any) -> StoredFile:
    values: dict[str, Any] = {
        "owner": OWNER,
        "name": "a.txt",
        "media_type": "text/plain",
        "size": 3,
        "created_at": 50.0,
    }
    return StoredFile(file_id=file_id, session_id=session_id, **(values | fields))


def fresh_ids(prefix: str = "m_new") -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{prefix}_{next(numbers)}"
