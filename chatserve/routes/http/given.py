"""Input from clients about sessions, histories and turns: chosen ids, histories in either shape, keys, calls.

Every route and every protocol that takes such input uses this module, so each rule exists once. Starts no turn.
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
    """Which session a request means, and whether the session may have to be created, or has to be."""

    session_id: str
    creates: Literal["nothing", "missing", "fresh"] = "nothing"


NOWHERE: Final = SessionPlace("")
"""The place of a stateless turn, which stores nothing."""


def place_of_id(session_id: str, settings: Settings, owner: str) -> SessionPlace:
    """Return the place of an id that the server or the client chose; the first use of a client's id creates a session.

    Raises:
        InputsInvalid: the text is not a session id.
        SessionUnknown: no session can have this id: it starts with `s_` but is not of the server's form, or the client
            chose it and may not choose ids.
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
    """Return the place for a key of another protocol, like a front end's conversation id or a random hash.

    Where clients may choose ids, a key that has the form of an id is used as the id. Every protocol and the native API
    then share one session. Otherwise the session id is derived from the protocol's name and the key, so that the key
    opens no session that was created in another way.
    """
    if SERVER_SESSION_ID.fullmatch(key):
        return SessionPlace(key)
    if may_choose_ids(settings, owner) and CLIENT_SESSION_ID.fullmatch(key):
        return SessionPlace(key, "missing")
    digest = sha256("\0".join((format_name, owner, key)).encode("utf-8", "replace")).digest()
    return SessionPlace(f"s_{urlsafe_b64encode(digest[:18]).decode()}", "missing")


def may_choose_ids(settings: Settings, owner: str) -> bool:
    """Whether clients may choose session ids: where requests have owners, or by the settings.

    With owners, a guessed id opens no other owner's session.
    """
    return bool(settings.allow_client_session_ids or settings.debug or owner)


@frozen
class Asked:
    """A request with the body that was read, and the protocol that read it."""

    request: Request
    body: bytes
    protocol: str = "native"


def turn_request(engine: TurnEngine, asked: Asked, call: TurnCall, place: SessionPlace) -> TurnRequest:
    """Return the turn request for a call that a route or a wire format has decoded.

    Raises:
        ChatUnknown: no chat has this name.
        BodyTooLarge: the message is longer than `max_message_bytes`.
        InputsInvalid: the chat takes no files.
        BodyInvalid: the idempotency key is malformed.
    """
    request = asked.request
    if call.operation != "retry":  # a stored message was checked when it was received
        _check_message(call, engine.chat(call.chat), engine.settings)
    history = () if call.history is None and not place.session_id else call.history
    return TurnRequest(
        replace(call, params=clean_json(call.params)) if call.params else call,
        owner_of(request),
        place.session_id,
        place.creates,
        None if history is None else linked_messages(history, engine),
        linked_messages(call.preface, engine),
        _greeting(engine, call, place) if history is None else (),
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
    """Return the request's key, if it has one; `content` distinguishes it from other requests with that key.

    Raises:
        BodyInvalid: the key is malformed.
    """
    key = idempotency_key(headers_of(request))
    if key is None:
        return None
    target = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    digest = body_hash(request.method, target, content)
    return Idempotency(key, digest, engine.clock() + engine.settings.idempotency_ttl_s)


def read_history(history: list[Json], formats: Mapping[str, HistoryFormat]) -> tuple[ParsedMessage, ...]:
    """Parse a history that the client sent, in either shape.

    Raises:
        InputsInvalid: it has neither shape.
    """
    is_tuples = bool(history) and all(isinstance(entry, list) for entry in history)
    return formats["tuples" if is_tuples else "messages"].parse(history)


def _greeting(engine: TurnEngine, call: TurnCall, place: SessionPlace) -> tuple[Message, ...]:
    if not call.is_greeted or place.creates == "nothing":
        return ()
    return linked_messages(engine.chat(call.chat).options.greeting, engine)


def linked_messages(given: Iterable[ParsedMessage | Message], engine: TurnEngine) -> tuple[Message, ...]:
    """Return the messages with new ids, each linked to the one before. Stored messages are copied."""
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
    """The id of what a request creates. `is_known`: an earlier request with the same key has claimed this id."""

    made_id: str
    is_known: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The response headers about the claim."""
        return {"idempotency-replayed": "true"} if self.is_known else {}


async def claim_id(engine: TurnEngine, request: Request, content: bytes, made_id: str) -> Claim:
    """Bind the request's idempotency key, if it has one, to the id of what the request creates.

    `content` distinguishes this request from others with the same key: the body, or the part of it that matters. A
    known id may not have its session yet, if the first request failed halfway. The caller then creates the session.

    Raises:
        IdempotencyConflict: the key was used with other content.
        SessionExists: a session has this id, and this key did not create it.
    """
    idempotency = idempotency_of(engine, request, content)
    if idempotency is None:
        return Claim(made_id)
    known_id = await engine.store.claim_key(owner_of(request), idempotency, made_id, now=engine.clock())
    return Claim(made_id) if known_id is None else Claim(known_id, is_known=True)
