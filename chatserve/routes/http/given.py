"""What clients give of sessions and histories: ids they choose, histories in either shape, keys for what they create.

Shared by every route that takes them; the rules stand here once. Starts no turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import Request

from chatserve.contracts.formats import HistoryFormat, ParsedMessage
from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import InputsInvalid, SessionUnknown
from chatserve.core.types import Json, Message, Part, Role
from chatserve.engine import TurnEngine
from chatserve.routes.http.requests import body_hash, idempotency_key, owner_of
from chatserve.settings import Settings

CLIENT_SESSION_ID: Final = re.compile(r"(?!s_)[A-Za-z0-9._-]{1,64}")
SERVER_SESSION_ID: Final = re.compile(r"s_[A-Za-z0-9_-]{1,64}")


def is_client_chosen(session_id: str, settings: Settings, owner: str) -> bool:
    """Whether a session id is one the client chose, so that its first use creates the session.

    Raises:
        InputsInvalid: it is no session id at all.
        SessionUnknown: it cannot be there: not as the server makes them, or chosen where choosing is off.
    """
    if SERVER_SESSION_ID.fullmatch(session_id):
        return False
    if session_id.startswith("s_"):
        raise SessionUnknown(f"no session {session_id!r}")
    if not CLIENT_SESSION_ID.fullmatch(session_id):
        raise InputsInvalid(
            f"session_id: {session_id!r} is not 1 to 64 letters, digits, dots, dashes and underscores", errors=[]
        )
    if not (settings.allow_client_session_ids or settings.debug or owner):
        raise SessionUnknown(
            f"no session {session_id!r}; leave session_id out for a new one (choosing ids is off: a guessed id would "
            "open the session; allow_client_session_ids turns it on)"
        )
    return True


def read_history(history: list[Json], formats: Mapping[str, HistoryFormat], engine: TurnEngine) -> tuple[Message, ...]:
    """Return a history the client sent, in either shape, as messages one behind the other.

    Raises:
        InputsInvalid: it has neither shape.
    """
    is_tuples = bool(history) and all(isinstance(entry, list) for entry in history)
    return linked_messages(formats["tuples" if is_tuples else "messages"].parse(history), engine)


def linked_messages(given: Iterable[ParsedMessage | Message], engine: TurnEngine) -> tuple[Message, ...]:
    """Return messages with ids of their own, one behind the other; of stored ones, copies."""
    now, parent_id = engine.clock(), None
    messages: list[Message] = []
    for each in given:
        messages.append(_given_message(each, engine.new_id("m_"), parent_id, now))
        parent_id = messages[-1].message_id
    return tuple(messages)


def _given_message(parsed: ParsedMessage | Message, message_id: str, parent_id: str | None, now: float) -> Message:
    role = cast("Role", parsed.role)  # the formats let only known roles through,
    content = cast("tuple[Part, ...]", parsed.content)  # and no local files
    return Message(
        message_id, role, content, now, parent_id=parent_id, metadata=parsed.metadata, options=parsed.options
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """The id of what a request creates; `is_known`: the request's key stood for it already."""

    made_id: str
    is_known: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told of it."""
        return {"idempotency-replayed": "true"} if self.is_known else {}


async def claim_id(engine: TurnEngine, request: Request, content: bytes, made_id: str) -> Claim:
    """Let the request's key, if it has one, stand for what it is about to create.

    `content` tells this request from another with the same key: its body, or what matters of it. An id that is known
    may still be without its session, when the first try did not come to its end: the caller creates it then.

    Raises:
        IdempotencyConflict: the key came with something else.
        SessionExists: there is a session of this id, which this key did not make.
    """
    key = idempotency_key(request.headers)
    if key is None:
        return Claim(made_id)
    now = engine.clock()
    target = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    idempotency = Idempotency(key, body_hash("POST", target, content), now + engine.settings.idempotency_ttl_s)
    known_id = await engine.store.claim_key(owner_of(request), idempotency, made_id, now=now)
    return Claim(made_id) if known_id is None else Claim(known_id, is_known=True)
