"""Histories over HTTP: read them, undo, retry, edit, fork, clear.

Retry and edit start a turn and answer exactly as `POST /chat` does. Messages are never changed: each operation moves
the session to another branch, and the earlier messages stay readable with `?branches=true`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chatserve.chat_function import Chat
from chatserve.codec import message_json
from chatserve.contracts.formats import HistoryFormat
from chatserve.contracts.store import Page
from chatserve.contracts.turns import TurnCall
from chatserve.core.errors import (
    BodyInvalid,
    ChatUnknown,
    FileUnknown,
    MessageUnknown,
    NothingToUndo,
    SessionBusy,
    SessionExists,
    SessionUnknown,
)
from chatserve.core.frozen import replace
from chatserve.core.types import (
    FilePart,
    Json,
    Message,
    OnDisconnect,
    ToolResultPart,
    TurnOperation,
    WhenBusy,
)
from chatserve.engine import TurnEngine
from chatserve.formats.shared.history_views import render_openai, render_tuples
from chatserve.routes.answers import Answers
from chatserve.routes.http.given import Asked, SessionPlace, claim_id, turn_request
from chatserve.routes.http.requests import (
    JsonBody,
    etag,
    headers_of,
    idempotency_key,
    if_match,
    owner_of,
    read_flag,
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
    Parameter,
    component,
    flag,
    json_of,
    page_of,
)
from chatserve.routes.openapi.schemas import STRING, VERSION, record
from chatserve.routes.openapi.turn_operations import turn_operation
from chatserve.routes.sessions.sessions import CREATED, SESSION, create_once, session_created, session_response
from chatserve.routes.turns import MessageBody, with_message

MESSAGE_FORMATS: Final = ("messages", "tuples", "openai")
MessageId = Annotated[str, Field(max_length=80)]


class EmptyBody(JsonBody):
    """The body of requests without members: no body, or an empty object."""


class RunBody(JsonBody):
    """What retry and edit have in common."""

    chat: str | None = Field(None, description="the chat that answers; default: the one that answered before")
    inputs: dict[str, Any] = Field(default_factory=dict, description="the inputs; those of the earlier turn are lost")
    stream: bool | None = Field(None, description="true: answer with server-sent events, whatever Accept says")
    when_busy: WhenBusy | None = None
    on_disconnect: OnDisconnect | None = None


class RetryBody(RunBody):
    """The body of `POST /sessions/{session_id}/retry`; every member is optional."""

    message_id: MessageId | None = Field(
        None, description="the user message to answer again, or a message of its answer; default: the last one"
    )


class EditBody(RunBody):
    """The body of `POST /sessions/{session_id}/edit`."""

    message_id: MessageId = Field(description="the user message to replace")
    message: str | MessageBody = Field(description="the new message")


class ForkBody(JsonBody):
    """The body of `POST /sessions/{session_id}/fork`."""

    message_id: MessageId | None = Field(None, description="the last message to copy; default: the newest")


_UNDONE: Final = record({"session_id": STRING, "version": VERSION, "message": component("Message")})


@dataclass(frozen=True, slots=True)
class HistoryRoutes:
    """Routes of histories."""

    engine: TurnEngine
    chats: Mapping[str, Chat]
    history_formats: Mapping[str, HistoryFormat]
    answers: Answers

    # read

    @Operation(
        "list_messages",
        "GET /sessions/{session_id}/messages",
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
                {"type": "string", "enum": [*MESSAGE_FORMATS], "default": "messages"},
            ),
            flag("branches", "true: all messages in order of creation, with `format=messages` only"),
            AFTER_ID,
            LIMIT,
        ),
        errors=(MessageUnknown,),
    )
    async def list(self, request: Request) -> Response:
        """Page through a session's history."""
        owner, session_id = owner_of(request), request.path_params["session_id"]
        shape, branches = request.query_params.get("format", "messages"), read_flag(request, "branches")
        if shape not in MESSAGE_FORMATS:
            raise BodyInvalid(f"format={shape!r:.80} is not one of {', '.join(MESSAGE_FORMATS)}")
        if branches and shape != "messages":
            raise BodyInvalid(f"branches are listed with format=messages only, not with format={shape}")
        session = await self.engine.store.get_session(owner, session_id)
        after, limit = request.query_params.get("after"), read_limit(request)
        if shape == "tuples":
            page = await self._page_of_turns(owner, session_id, after, limit)
        else:
            page = await self.engine.store.list_messages(owner, session_id, after=after, limit=limit, branches=branches)
        items = self._rendered(page.items, shape)
        return json_response({"items": items, "next": page.next}, 200, {"etag": etag(session.version)})

    def _rendered(self, messages: Sequence[Message], shape: str) -> Sequence[Json]:
        if shape == "tuples":
            return render_tuples(messages, self.history_formats["tuples"])
        if shape == "openai":
            return render_openai(messages, self.history_formats["messages"])
        return [message_json(message) for message in messages]

    async def _page_of_turns(self, owner: str, session_id: str, after: str | None, limit: int) -> Page:
        """Return a page of whole turns, which pairs require: about `limit` messages, more only if a turn is longer."""
        store, messages = self.engine.store, list[Message]()
        while True:
            page = await store.list_messages(owner, session_id, after=after, limit=limit, branches=False)
            messages += page.items
            if page.next is None:
                return Page(tuple(messages), None)
            if start := _last_turn_start(messages):
                return Page(tuple(messages[:start]), messages[start - 1].message_id)
            after = page.next

    # move

    @Operation(
        "clear_history",
        "DELETE /sessions/{session_id}/messages",
        (SESSION,),
        (IF_MATCH,),
        errors=(SessionBusy,),
    )
    async def clear(self, request: Request) -> Response:
        """Clear a session's history and state."""
        owner, session_id = owner_of(request), request.path_params["session_id"]
        moved = await self.engine.sessions.move_history(owner, session_id, "clear", if_match(request.headers))
        return session_response(moved.session)

    @Operation(
        "undo",
        "POST /sessions/{session_id}/undo",
        (Answer(200, "the user message of that turn", json_of(_UNDONE), ("ETag",)),),
        (IF_MATCH,),
        EmptyBody,
        errors=(SessionBusy, NothingToUndo),
    )
    async def undo(self, request: Request) -> Response:
        """Undo the last turn."""
        owner, session_id = owner_of(request), request.path_params["session_id"]
        _ = await read_model(request, EmptyBody, self.engine.settings)
        moved = await self.engine.sessions.move_history(owner, session_id, "undo", if_match(request.headers))
        assert moved.message is not None
        version = moved.session.version
        value = {"session_id": session_id, "version": version, "message": message_json(moved.message)}
        return json_response(value, 200, {"etag": etag(version)})

    # run again

    @turn_operation("retry", "POST /sessions/{session_id}/retry", RetryBody, MessageUnknown, ChatUnknown, NothingToUndo)
    async def retry(self, request: Request) -> Response:
        """Answer a message again.

        The earlier answer stays readable as another branch.
        """
        body, raw = await read_model(request, RetryBody, self.engine.settings)
        owner, session_id = owner_of(request), request.path_params["session_id"]
        try:
            prompt, chat = await self._prompt(owner, session_id, body.message_id)
        except NothingToUndo as refusal:
            return await self._answer_again(Asked(request, raw), body, refusal)
        chat = self.engine.chat(body.chat) if body.chat else chat
        target = body.message_id and prompt.message_id  # without an id, the turn picks the last message when it begins
        call = _with_input(_call(body, "retry", chat, target), prompt)
        return await self._run(Asked(request, raw), body, call)

    @turn_operation("edit", "POST /sessions/{session_id}/edit", EditBody, MessageUnknown, ChatUnknown, FileUnknown)
    async def edit(self, request: Request) -> Response:
        """Replace a message and answer the new one.

        The old message stays readable as another branch.
        """
        body, raw = await read_model(request, EditBody, self.engine.settings)
        owner = owner_of(request)
        message = await self.engine.store.get_message(owner, body.message_id)
        chat = self.engine.chat(body.chat) if body.chat else await self._chat_of(owner, message)
        call = with_message(_call(body, "edit", chat, body.message_id), body.message)
        return await self._run(Asked(request, raw), body, call)

    @Operation(
        "fork_session",
        "POST /sessions/{session_id}/fork",
        (CREATED,),
        (IDEMPOTENCY_KEY,),
        ForkBody,
        errors=(MessageUnknown, SessionExists),
    )
    async def fork(self, request: Request) -> Response:
        """Copy a history, up to a message, into a new session."""
        engine, owner, session_id = self.engine, owner_of(request), request.path_params["session_id"]
        body, raw = await read_model(request, ForkBody, self.engine.settings)
        claim = await claim_id(engine, request, raw, engine.new_id("s_"))
        if claim.is_known:  # return the copy even if it could not be made again now
            with suppress(SessionUnknown):
                return session_created(await engine.sessions.get(owner, claim.made_id), claim.headers)
        creation = engine.sessions.fork(owner, session_id, body.message_id, claim.made_id)
        return await create_once(engine, owner, claim, creation)

    async def _run(self, asked: Asked, body: RunBody, call: TurnCall) -> Response:
        request = asked.request
        call = replace(call, if_version=if_match(headers_of(request)))
        place = SessionPlace(request.path_params["session_id"])
        turn = await self.engine.submit(turn_request(self.engine, asked, call, place))
        return await self.answers.answer(request, turn, stream=body.stream)

    async def _answer_again(self, asked: Asked, body: RunBody, refusal: NothingToUndo) -> Response:
        """Answer a retry that was sent before with its turn, even if it could not start now. Raises: `refusal`."""
        if idempotency_key(headers_of(asked.request)) is None:
            raise refusal
        chat = self.engine.chat(body.chat) if body.chat else self._default_chat
        try:
            return await self._run(asked, body, replace(_call(body, "retry", chat, None), when_busy="reject"))
        except MessageUnknown:
            raise refusal from None

    async def _prompt(self, owner: str, session_id: str, message_id: str | None) -> tuple[Message, Chat]:
        """Return the message to answer again, and the chat that answered it.

        Raises:
            SessionUnknown, MessageUnknown: the session or message does not exist.
            NothingToUndo: the history has no message to answer.
        """
        store = self.engine.store
        session = await store.get_session(owner, session_id)
        named = message_id or session.head
        if named is None:
            raise NothingToUndo(f"session {session_id!r} has no message to answer again")
        message = await store.get_message(owner, named)
        if message.turn_id is not None:
            record = await store.get_turn(owner, message.turn_id)
            return record.user_message or message, self.engine.chat(record.turn.chat)
        branch = await store.read_branch(owner, session_id, named)
        prompts = [each for each in branch if each.role == "user"]
        if not prompts:
            raise NothingToUndo(f"session {session_id!r} has no message to answer again")
        return prompts[-1], self._default_chat

    async def _chat_of(self, owner: str, message: Message) -> Chat:
        if message.turn_id is None:
            return self._default_chat
        record = await self.engine.store.get_turn(owner, message.turn_id)
        return self.engine.chat(record.turn.chat)

    @property
    def _default_chat(self) -> Chat:
        return next(iter(self.chats.values()))


def _last_turn_start(messages: Sequence[Message]) -> int:
    """Return the index of the last turn's first message; 0 when all messages belong to one turn."""
    for number in range(len(messages) - 1, 0, -1):
        if messages[number].role == "user" or messages[number].turn_id != messages[number - 1].turn_id:
            return number
    return 0


def _call(body: RunBody, operation: TurnOperation, chat: Chat, target_message_id: str | None) -> TurnCall:
    return TurnCall(
        chat.options.name,
        operation=operation,
        target_message_id=target_message_id,
        inputs=body.inputs,
        when_busy=body.when_busy,
        on_disconnect=body.on_disconnect,
    )


def _with_input(call: TurnCall, message: Message) -> TurnCall:
    """Return the call with a stored message as the user's input."""
    files = tuple(part for part in message.content if isinstance(part, FilePart))
    results = tuple(part for part in message.content if isinstance(part, ToolResultPart))
    return replace(call, text=message.text, files=files, tool_results=results)
