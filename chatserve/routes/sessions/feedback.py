"""Feedback over HTTP: a reader's opinion of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from chatserve.chat_function import Chat
from chatserve.codec import clean_text, message_json
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import Feedback, Message
from chatserve.engine import TurnEngine
from chatserve.routes.http.requests import JsonBody, etag, if_match, owner_of, read_model
from chatserve.routes.http.responses import json_response
from chatserve.routes.openapi.operations import IF_MATCH, Answer, Operation, json_of


class FeedbackBody(JsonBody):
    """The body of `POST /messages/{message_id}/feedback`."""

    value: str = Field(description="one of the values the chat declares; GET / lists them")
    comment: Annotated[str, Field(max_length=10_000)] | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRoutes:
    """The route of feedback."""

    engine: TurnEngine
    chats: Mapping[str, Chat]

    @Operation(
        "give_feedback",
        "POST /messages/{message_id}/feedback",
        (Answer(200, "the message, with the feedback", json_of("Message"), ("ETag",)),),
        (IF_MATCH,),
        FeedbackBody,
    )
    async def give(self, request: Request) -> Response:
        """Give feedback on an answer.

        It replaces any earlier feedback on the same message.
        """
        engine, owner, message_id = self.engine, owner_of(request), request.path_params["message_id"]
        body, _ = await read_model(request, FeedbackBody, engine.settings)
        allowed = await self._values_for(owner, await engine.store.get_message(owner, message_id))
        if body.value not in allowed:
            detail = f"value: {body.value!r:.80} is not one of {', '.join(map(repr, allowed))}"
            raise InputsInvalid(detail, errors=[{"field": "value", "message": detail, "type": "enum"}])
        feedback = Feedback(body.value, None if body.comment is None else clean_text(body.comment))
        session, message = await engine.store.set_feedback(
            owner, message_id, feedback, now=engine.clock(), if_version=if_match(request.headers)
        )
        return json_response(message_json(message), 200, {"etag": etag(session.version)})

    async def _values_for(self, owner: str, message: Message) -> tuple[str, ...]:
        """Return the feedback values of the message's chat; if it is unknown, as in a forked history, of all chats."""
        if message.turn_id is not None:
            record = await self.engine.store.get_turn(owner, message.turn_id)
            chat = self.chats.get(record.turn.chat)
            if chat is not None:
                return chat.options.feedback
        return tuple(dict.fromkeys(value for chat in self.chats.values() for value in chat.options.feedback))
