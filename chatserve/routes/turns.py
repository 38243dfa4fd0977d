"""Turns over HTTP: start, follow, stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from chatserve.chat_function import Chat
from chatserve.codec import clean_json, message_json, turn_json
from chatserve.contracts.formats import HistoryFormat
from chatserve.contracts.streams import OfSession, OfTurn
from chatserve.contracts.turns import TurnCall
from chatserve.core.errors import FileUnknown, InputsInvalid
from chatserve.core.frozen import replace
from chatserve.core.types import FilePart, OnDisconnect, ToolResultPart, WhenBusy
from chatserve.engine import TurnEngine
from chatserve.routes.answers import Answers, answer_json
from chatserve.routes.http.given import (
    NOWHERE,
    Asked,
    SessionPlace,
    place_of_id,
    read_history,
    turn_request,
)
from chatserve.routes.http.requests import (
    JsonBody,
    headers_of,
    if_match,
    owner_of,
    read_cursor,
    read_model,
    require_json,
)
from chatserve.routes.http.responses import json_response
from chatserve.routes.openapi.operations import (
    AFTER_EVENT,
    EVENTS,
    LAST_EVENT_ID,
    Answer,
    Operation,
    component,
    json_of,
)
from chatserve.routes.openapi.schemas import list_of, record
from chatserve.routes.openapi.turn_operations import turn_operation

_STOPPED: Final = record({"stopped": list_of(component("Answer"))})


def _whole(value: Any) -> Any:
    """Convert 1.0 to 1, which JSON Schema treats as equal."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Index = Annotated[int, Field(ge=0), BeforeValidator(_whole)]


class ToolResultBody(JsonBody):
    """The result of a tool that ran in the client."""

    tool_call_id: str
    output: Any = None
    is_error: bool = False


class MessageBody(JsonBody):
    """A message with more than text: files by id, or results of tools."""

    text: str = ""
    files: list[str] = Field(default_factory=list, max_length=100)
    tool_results: list[ToolResultBody] | None = Field(None, min_length=1, max_length=100)


class TurnBody(JsonBody):
    """The body of `POST /chat`."""

    message: str | MessageBody | None = Field(None, description="the user's message; or give `example`")
    session_id: Annotated[str, Field(max_length=80)] | None = Field(None, description="continue this session")
    inputs: dict[str, Any] = Field(
        default_factory=dict, description="the chat function's inputs; GET / has their schema"
    )
    history: list[Any] | None = Field(None, description="a history instead of a session; the turn is stateless")
    stream: bool | None = Field(None, description="true: answer with server-sent events, whatever Accept says")
    when_busy: WhenBusy | None = None
    on_disconnect: OnDisconnect | None = None
    example: Index | None = Field(None, description="send this example instead of a message")


@dataclass(frozen=True, slots=True)
class TurnRoutes:
    """Routes that start, follow and stop turns."""

    engine: TurnEngine
    chats: dict[str, Chat]
    history_formats: dict[str, HistoryFormat]
    answers: Answers

    # start

    @turn_operation("start_turn", "POST /chat /chat/{chat}", "turn", FileUnknown)
    async def start(self, request: Request) -> Response:
        """Start a turn."""
        chat = self.engine.chat(request.path_params.get("chat") or next(iter(self.chats)))
        require_json(request)
        body, raw = await read_model(request, TurnBody, self.engine.settings)
        call, place = self._read_call(chat, body), self._place(owner_of(request), body)
        call = replace(call, if_version=if_match(headers_of(request)))
        turn = await self.engine.submit(turn_request(self.engine, Asked(request, raw), call, place))
        return await self.answers.answer(request, turn, stream=body.stream)

    def _read_call(self, chat: Chat, body: TurnBody) -> TurnCall:
        """Return the call that a body asks for. Raises: InputsInvalid."""
        if (body.example is None) == (body.message is None):
            detail = "Field required" if body.message is None else "send a message or an example, not both"
            raise InputsInvalid(f"message: {detail}", errors=[{"field": "message", "message": detail}])
        call = TurnCall(
            chat.options.name,
            history=None if body.history is None else read_history(body.history, self.history_formats),
            inputs=body.inputs,
            when_busy=body.when_busy,
            is_greeted=True,
            on_disconnect=body.on_disconnect,
        )
        if body.message is not None:
            return with_message(call, body.message)
        return with_example(call, chat, body)

    def _place(self, owner: str, body: TurnBody) -> SessionPlace:
        if body.session_id is None:
            return NOWHERE if body.history is not None else SessionPlace(self.engine.new_id("s_"), "fresh")
        if body.history is not None:
            raise InputsInvalid("history: send either a history or a session_id, not both", errors=[])
        return place_of_id(body.session_id, self.engine.settings, owner)

    # watch and stop

    @Operation(
        "read_turn",
        "GET /turns/{turn_id}",
        (
            Answer(
                200,
                "the turn",
                json_of("TurnState"),
                links={"give_feedback": {"message_id": "$response.body#/messages/0/message_id"}},
            ),
        ),
    )
    async def read(self, request: Request) -> Response:
        """Read a turn: its state, and its answer so far."""
        record = await self.engine.get_turn(owner_of(request), request.path_params["turn_id"])
        user_message = None if record.user_message is None else message_json(record.user_message)
        return json_response(turn_json(record.turn) | answer_json(record) | {"user_message": user_message})

    @Operation(
        "follow_turn",
        "GET /turns/{turn_id}/events",
        (
            Answer(200, "the turn's events from its beginning or after the cursor, until `done`", EVENTS),
            Answer(204, "the client has all events; a browser stops reconnecting"),
        ),
        (LAST_EVENT_ID, AFTER_EVENT),
    )
    async def follow(self, request: Request) -> Response:
        """Follow a turn's events."""
        return await self.answers.follow(request, OfTurn(request.path_params["turn_id"], read_cursor(request)))

    @Operation("stop_turn", "POST /turns/{turn_id}/stop", (Answer(200, "the turn as it ended", json_of("Answer")),))
    async def stop(self, request: Request) -> Response:
        """Stop a turn; one that has ended stays as it is."""
        return json_response(
            answer_json(await self.engine.stop_turn(owner_of(request), request.path_params["turn_id"]))
        )

    @Operation(
        "follow_session",
        "GET /sessions/{session_id}/events",
        (Answer(200, "the events after the cursor, or from the open turn on, in an endless stream", EVENTS),),
        (LAST_EVENT_ID, AFTER_EVENT),
    )
    async def follow_session(self, request: Request) -> Response:
        """Follow a session's events."""
        return await self.answers.follow(request, OfSession(request.path_params["session_id"], read_cursor(request)))

    @Operation(
        "stop_session",
        "POST /sessions/{session_id}/stop",
        (Answer(200, "the turns that were stopped", json_of(_STOPPED)),),
    )
    async def stop_session(self, request: Request) -> Response:
        """Stop all running and waiting turns of a session."""
        turns = await self.engine.stop_session(owner_of(request), request.path_params["session_id"])
        return json_response({"stopped": [answer_json(turn.record) for turn in turns if turn.record]})


# --- decoding ------------------------------------------------------------------------------------------------------


def with_example(call: TurnCall, chat: Chat, body: TurnBody) -> TurnCall:
    """Return the call with an example's message and inputs. Raises: InputsInvalid."""
    examples = chat.examples
    number = body.example
    assert number is not None
    if number >= len(examples):
        raise InputsInvalid(f"example: there is no example {number}; the chat has {len(examples)}", errors=[])
    example = examples[number]
    inputs = dict(example.inputs) | dict(body.inputs)
    unchanged = None if body.inputs else number
    return replace(call, text=example.text, local_files=example.files, inputs=inputs, example=unchanged)


def with_message(call: TurnCall, message: str | MessageBody) -> TurnCall:
    """Return the call with the user's message."""
    if isinstance(message, str):
        return replace(call, text=message)
    if message.tool_results:
        return replace(call, tool_results=tuple(map(_tool_result, message.tool_results)))
    files = tuple(FilePart(file_id, "", "", 0) for file_id in message.files)
    return replace(call, text=message.text, files=files)


def _tool_result(body: ToolResultBody) -> ToolResultPart:
    return ToolResultPart(body.tool_call_id, clean_json(body.output), body.is_error)
