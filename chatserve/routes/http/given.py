"""What clients say of sessions, histories and turns: ids they choose, histories in either shape, keys, calls.

Every route and every protocol that takes them comes through here, so the rules stand here once. Starts no turn.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, Literal, cast

from starlette.requests import Request

from chatserve.chat_function import Chat
from chatserve.codec import clean_json
from chatserve.contracts.formats import HistoryFormat, ParsedMessage
from chatserve.contracts.turns import Idempotency, TurnCall, TurnRequest
from chatserve.core.errors import BodyTooLarge, InputsInvalid, SessionUnknown
from chatserve.core.frozen import frozen, replace
from chatserve.core.types import Json, Message, Part, Role
from chatserve.engine import TurnEngine
from chatserve.routes.http.requests import body_hash, headers_of, idempotency_key, owner_of
from chatserve.settings import Settings

CLIENT_SESSION_ID: Final = re.compile(r"(?!s_)[A-Za-z0-9._-]{1,64}")
SERVER_SESSION_ID: Final = re.compile(r"s_[A-Za-z0-9_-]{1,64}")


@frozen
class SessionPlace:
    """Which session a request means, and whether the session may be, or is, yet to be created."""

    session_id: str
    creates: Literal["nothing", "missing", "fresh"] = "nothing"


NOWHERE: Final = SessionPlace("")
"""Nothing is kept."""


def place_of_id(session_id: str, settings: Settings, owner: str) -> SessionPlace:
    """Return the place of an id that the server gave or the client chose; the first use of a chosen one creates it.

    Raises:
        InputsInvalid: it is no session id at all.
        SessionUnknown: it cannot exist: not as the server makes them, or chosen where choosing is off.
    """
    if SERVER_SESSION_ID.fullmatch(session_id):
        return SessionPlace(session_id)
    if session_id.startswith("s_"):
        raise SessionUnknown(f"no session {session_id!r}")
    if not CLIENT_SESSION_ID.fullmatch(session_id):
        raise InputsInvalid(
            f"session_id: {session_id!r} is not 1 to 64 letters, digits, dots, dashes and underscores", errors=[]
        )
    if not may_choose_ids(settings, owner):
        raise SessionUnknown(
            f"no session {session_id!r}; leave session_id out for a new one (choosing ids is off: a guessed id would "
            "open the session; allow_client_session_ids turns it on)"
        )
    return SessionPlace(session_id, "missing")


def place_of_key(key: str, format_name: str, settings: Settings, owner: str) -> SessionPlace:
    """Return the place that a key of another protocol stands for: the id of a front end's conversation, a drawn hash.

    Where clients may choose ids, a key that can be an id is the id, so that every protocol and the native API meet in
    one session. Elsewhere it stands for a session of its protocol's own, whose id is derived from the key: it opens
    nothing that was created another way.
    """
    if SERVER_SESSION_ID.fullmatch(key):
        return SessionPlace(key)
    if may_choose_ids(settings, owner) and CLIENT_SESSION_ID.fullmatch(key):
        return SessionPlace(key, "missing")
    digest = sha256("\0".join((format_name, owner, key)).encode("utf-8", "replace")).digest()
    return SessionPlace(f"s_{urlsafe_b64encode(digest[:18]).decode()}", "missing")


def may_choose_ids(settings: Settings, owner: str) -> bool:
    """Whether clients may choose session ids: where a guessed one opens nobody else's session, or by setting."""
    return bool(settings.allow_client_session_ids or settings.debug or owner)


@frozen
class Asked:
    """A request whose body was read, and the protocol it was read as."""

    request: Request
    body: bytes
    protocol: str = "native"


def turn_request(engine: TurnEngine, asked: Asked, call: TurnCall, place: SessionPlace) -> TurnRequest:
    """Return the request for a turn that a route or a wire format has decoded a call for.

    Raises:
        ChatUnknown: no chat has this name.
        BodyTooLarge: the message is longer than `max_message_bytes`.
        InputsInvalid: the chat takes no files.
        BodyInvalid: the idempotency key is none.
    """
    request = asked.request
    if call.operation != "retry":  # a stored message was checked when it came
        _check_message(call, engine.chat(call.chat), engine.settings)
    history = () if call.history is None and not place.session_id else call.history
    return TurnRequest(
        replace(call, params=clean_json(call.params)) if call.params else call,
        owner_of(request),
        place.session_id,
        place.creates,
        None if history is None else linked_messages(history, engine),
        linked_messages(call.preface, engine),
        idempotency_of(engine, request, asked.body),
        headers_of(request),
        asked.protocol,
        request,
    )


def _check_message(call: TurnCall, chat: Chat, settings: Settings) -> None:
    limit = settings.max_message_bytes
    if len(call.text.encode()) > limit:
        raise BodyTooLarge(f"the message is longer than {limit} bytes", max_bytes=limit)
    if call.files and not chat.options.multimodal:
        raise InputsInvalid(f"message.files: the chat {call.chat!r} takes no files", errors=[])


def idempotency_of(engine: TurnEngine, request: Request, content: bytes) -> Idempotency | None:
    """Return the request's key, if it has one; `content` tells it from other requests with that key.

    Raises:
        BodyInvalid: it is no key.
    """
    key = idempotency_key(headers_of(request))
    if key is None:
        return None
    target = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    digest = body_hash(request.method, target, content)
    return Idempotency(key, digest, engine.clock() + engine.settings.idempotency_ttl_s)


def read_history(history: list[Json], formats: Mapping[str, HistoryFormat]) -> tuple[ParsedMessage, ...]:
    """Return a history the client sent, in either shape.

    Raises:
        InputsInvalid: it has neither shape.
    """
    is_tuples = bool(history) and all(isinstance(entry, list) for entry in history)
    return formats["tuples" if is_tuples else "messages"].parse(history)


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


@frozen
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
    idempotency = idempotency_of(engine, request, content)
    if idempotency is None:
        return Claim(made_id)
    known_id = await engine.store.claim_key(owner_of(request), idempotency, made_id, now=engine.clock())
    return Claim(made_id) if known_id is None else Claim(known_id, is_known=True)
