"""Sessions over HTTP: create, list, read, change, delete. The module `history` has their histories."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chatserve.chat_function import Chat
from chatserve.codec import clean_json, session_json
from chatserve.contracts.formats import HistoryFormat
from chatserve.contracts.store import SessionChanges
from chatserve.contracts.turns import NewSession
from chatserve.core.errors import (
    ChatUnknown,
    FileUnknown,
    Forbidden,
    SessionBusy,
    SessionExists,
    SessionUnknown,
)
from chatserve.core.types import Session
from chatserve.engine import TurnEngine
from chatserve.routes.http.given import Claim, claim_id, linked_messages, place_of_id, read_history
from chatserve.routes.http.requests import (
    JsonBody,
    etag,
    if_match,
    owner_of,
    read_limit,
    read_model,
)
from chatserve.routes.http.responses import json_response
from chatserve.routes.openapi.operations import (
    AFTER_ID,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    LIMIT,
    Answer,
    Operation,
    component,
    json_of,
    page_of,
)

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
SESSION: Final = Answer(200, "the session", json_of("Session"), ("ETag",))
CREATED: Final = Answer(
    201,
    "the session",
    json_of("Session"),
    ("ETag", "Location", "Idempotency-Replayed"),
    {name: {"session_id": "$response.body#/session_id"} for name in _NEXT},
)
Title = Annotated[str, Field(max_length=1000)]


class NewSessionBody(JsonBody):
    """The body of `POST /sessions`; every member is optional."""

    session_id: Annotated[str, Field(max_length=80)] | None = Field(None, description="an id that the client chooses")
    title: Title | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="any values to store with the session")
    history: list[Any] | None = Field(
        None, description="the initial history: a list of messages, or of pairs. Without one, a chat's greeting"
    )
    chat: str | None = Field(None, description="the chat whose greeting it is; by default the first")


class SessionChangesBody(JsonBody):
    """The body of `PATCH /sessions/{session_id}`. Absent members stay as they are; `metadata` is replaced."""

    title: Title | None = Field(None, description="null removes the title")
    metadata: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionRoutes:
    """Routes of sessions."""

    engine: TurnEngine
    chats: Mapping[str, Chat]
    history_formats: Mapping[str, HistoryFormat]

    @Operation(
        "create_session",
        "POST /sessions",
        (CREATED,),
        (IDEMPOTENCY_KEY,),
        NewSessionBody,
        errors=(SessionUnknown, SessionExists, FileUnknown, ChatUnknown),
    )
    async def create(self, request: Request) -> Response:
        """Create a session, optionally with a history.

        If the idempotency key is known, the response is the session created before, in its present state.
        """
        engine, owner = self.engine, owner_of(request)
        body, raw = await read_model(request, NewSessionBody, engine.settings)
        new = await self._new_session(owner, body)
        claim = await claim_id(engine, request, raw, new.session_id)
        creation = engine.store.create_session(replace(new, session_id=claim.made_id), now=engine.clock())
        return await create_once(engine, owner, claim, creation)

    async def _new_session(self, owner: str, body: NewSessionBody) -> NewSession:
        if body.history is None:
            given = self.engine.chat(body.chat or next(iter(self.chats))).options.greeting
        else:
            given = read_history(body.history, self.history_formats)
        messages = linked_messages(given, self.engine)
        return NewSession(
            self._new_id(owner, body.session_id),
            owner,
            body.title or None,
            clean_json(body.metadata),
            messages=await self.engine.attachments.check(owner, messages),
        )

    def _new_id(self, owner: str, chosen: str | None) -> str:
        if chosen is None:
            return self.engine.new_id("s_")
        if place_of_id(chosen, self.engine.settings, owner).creates == "nothing":
            raise SessionUnknown(f"no session {chosen!r}; ids that begin with s_ are the server's to give")
        return chosen

    @Operation(
        "list_sessions",
        "GET /sessions",
        (Answer(200, "a page", page_of(component("Session"))),),
        (AFTER_ID, LIMIT),
        errors=(Forbidden, SessionUnknown),
    )
    async def list(self, request: Request) -> Response:
        """List the caller's sessions, most recently created first."""
        owner = owner_of(request)
        if not owner and not _is_loopback(request):
            raise Forbidden("sessions are listed to callers with an API key, and without one on loopback only")
        after, limit = request.query_params.get("after"), read_limit(request)
        page = await self.engine.sessions.list(owner, after=after, limit=limit)
        return json_response({"items": [session_json(session) for session in page.items], "next": page.next})

    @Operation("read_session", "GET /sessions/{session_id}", (SESSION,))
    async def read(self, request: Request) -> Response:
        """Read a session."""
        session = await self.engine.sessions.get(owner_of(request), request.path_params["session_id"])
        return session_response(session)

    @Operation("change_session", "PATCH /sessions/{session_id}", (SESSION,), (IF_MATCH,), SessionChangesBody)
    async def change(self, request: Request) -> Response:
        """Change a session's title or metadata."""
        body, _ = await read_model(request, SessionChangesBody, self.engine.settings)
        given = body.model_fields_set
        changes = SessionChanges(
            title=(body.title or "") if "title" in given else None,
            metadata=clean_json(body.metadata) if "metadata" in given else None,
        )
        owner, session_id = owner_of(request), request.path_params["session_id"]
        session = await self.engine.store.update_session(
            owner, session_id, changes, now=self.engine.clock(), if_version=if_match(request.headers)
        )
        return session_response(self.engine.sessions.as_seen(session))

    @Operation(
        "delete_session",
        "DELETE /sessions/{session_id}",
        (Answer(204, "the session is deleted"),),
        (IF_MATCH,),
        errors=(SessionBusy,),
    )
    async def delete(self, request: Request) -> Response:
        """Delete a session with all that belongs to it."""
        owner, session_id = owner_of(request), request.path_params["session_id"]
        await self.engine.sessions.delete(owner, session_id, if_version=if_match(request.headers))
        return Response(status_code=204)


async def create_once(engine: TurnEngine, owner: str, claim: Claim, creation: Awaitable[Session]) -> Response:
    """Create a session, or return the one that an earlier request with the same key created.

    Raises:
        SessionExists: a session has this id, and this key did not create it.
    """
    try:
        session = await creation
    except SessionExists:
        if not claim.is_known:
            raise
        session = await engine.sessions.get(owner, claim.made_id)
    return session_created(session, claim.headers)


def session_response(session: Session, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the response with a session and its version as the ETag."""
    return json_response(session_json(session), status_code, {"etag": etag(session.version)} | (headers or {}))


def session_created(session: Session, headers: dict[str, str]) -> Response:
    """Return the response with a new session and its location."""
    return session_response(session, 201, {"location": f"/sessions/{session.session_id}"} | headers)


def _is_loopback(request: Request) -> bool:
    """Whether the client is on this machine. Behind a proxy the answer is no: the connection is the proxy's."""
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
