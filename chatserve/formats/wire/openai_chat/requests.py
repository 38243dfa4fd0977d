"""A request for a completion as a call of a chat.

A field with the name of an input of the chat function sets this input. The function gets all other fields as
`ctx.params`; unknown fields are not refused. Source: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import FindFiles, RawRequest, Step
from chatserve.core.frozen import frozen, replace
from chatserve.formats.shared.message_array import keep_files, read_tools, split_fields, split_turn
from chatserve.formats.shared.openai_endpoints import chat_of, model_of
from chatserve.formats.wire.openai_chat.messages import read_messages
from chatserve.formats.wire.openai_chat.sessions import session_key_of

STRUCTURE: Final = frozenset({"messages", "model", "stream", "stream_options", "tools", "session_id"})
"""Fields that the protocol itself uses; they are neither inputs nor params."""


@frozen
class CompletionRequest:
    """The requested call, and the form of its answer."""

    call: TurnCall
    model: str
    is_streamed: bool
    includes_usage: bool


def read_request(request: RawRequest) -> Generator[Step, Any, CompletionRequest]:
    """Read a request and store the files in it.

    Raises:
        BodyInvalid, InputsInvalid: the request is invalid.
        ChatUnknown: there is no such model.
        FileUnknown, BodyTooLarge: a file that it names does not exist, or one that it contains is too large.
    """
    body = request.json_object()
    chat = chat_of(body, request)
    tools = read_tools(body)
    messages = read_messages(body.get("messages"), request.base_url)
    turn = split_turn((yield from keep_files(messages, chat)))
    if turn.files:
        turn = replace(turn, files=(yield from FindFiles(tuple(file.file_id for file in turn.files))))
    session_key = session_key_of(request.headers, body, turn.text)
    inputs, params = split_fields(body, STRUCTURE, chat)
    call = turn.call(
        chat,
        params,
        history=turn.history,
        session_key=session_key,
        is_kept=session_key is not None,
        inputs=inputs,
        tools=tuple(tools),
        on_disconnect="stop",
    )
    options = body.get("stream_options")
    includes_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return CompletionRequest(call, model_of(body, chat), bool(body.get("stream")), includes_usage)
