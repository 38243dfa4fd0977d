"""A request for a response as a call of a chat: the place of its turn, its history, and the fields to repeat later.

- `previous_response_id`: the turn follows that response; if another turn already does, it begins a branch.
  `conversation`: the turn comes at the end of that session. Neither: it begins a new session. `store: false`: nothing
  is stored, the history before the turn is only read, and the turn ends with its connection.
- A single message is appended. With more items, those before the last user message join the existing history.
  Instructions without an input are answered like an empty message.
- `instructions` hold for one response and are never stored: the function gets them as a system message before its
  history, and as `ctx.params["instructions"]`.
- A field with the name of an input of the chat function sets this input; all others are `ctx.params`. Unknown fields
  are not refused.

Source: OpenAI API reference, "Create a model response". Knows no engine and no HTTP.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.turns import TURN_OPEN, TurnCall, TurnRecord
from chatserve.contracts.wire import ChatProfile, FindTurn, RawRequest, ReadBranch, Step
from chatserve.core.errors import RequestError, SessionUnknown, TurnUnknown
from chatserve.core.frozen import frozen
from chatserve.core.types import Json, Message, TextPart
from chatserve.formats.shared.message_array import field_invalid, keep_files, read_tools, split_fields, split_turn
from chatserve.formats.shared.openai_endpoints import chat_of, model_of
from chatserve.formats.wire.openai_responses.echo import echo_of
from chatserve.formats.wire.openai_responses.ids import session_key, turn_id
from chatserve.formats.wire.openai_responses.input import read_input
from chatserve.formats.wire.openai_responses.tools import read_offers

Body: TypeAlias = Mapping[str, Json]

STRUCTURE: Final = frozenset(
    {
        "model",
        "input",
        "stream",
        "stream_options",
        "store",
        "background",
        "previous_response_id",
        "conversation",
        "tools",
    }
)
"""Fields that the protocol itself uses; they are neither inputs nor params."""


class PreviousResponseUnknown(RequestError):
    """The previous response does not exist."""

    code = "previous_response_not_found"


class PreviousResponseOpen(RequestError):
    """The previous response has not ended."""

    code = "previous_response_in_progress"
    status_code = 409
    retryable = True


@frozen
class ResponseRequest:
    """The requested call, and the form of its answer."""

    call: TurnCall
    is_streamed: bool
    is_background: bool


@frozen
class _Place:
    """The place of a turn. `head`: the message it follows (None: the newest). `is_chain`: it is in no conversation."""

    session_key: str | None = None
    head: str | None = None
    is_chain: bool = True


def read_request(request: RawRequest) -> Generator[Step, Any, ResponseRequest]:
    """Read a request and store the files in it.

    Raises:
        BodyInvalid, InputsInvalid: the request is invalid.
        ChatUnknown: there is no such model.
        PreviousResponseUnknown, PreviousResponseOpen: the previous response does not exist or has not ended.
        SessionUnknown: there is no such conversation.
        FileUnknown, BodyTooLarge: a file that it names does not exist, or one that it contains is too large.
    """
    body = request.json_object()
    chat = chat_of(body, request)
    is_kept, is_background = body.get("store") is not False, body.get("background") is True
    if is_background and not is_kept:
        raise field_invalid(
            "background", "a response that is not stored cannot be fetched later; leave out store: false"
        )
    place = yield from _place_of(body)
    call = yield from _call_of(body, chat, place, is_kept=is_kept)
    return ResponseRequest(call, body.get("stream") is True, is_background)


# --- where it goes -----------------------------------------------------------------------------------------------


def _place_of(body: Body) -> Generator[Step, Any, _Place]:
    previous, conversation = body.get("previous_response_id"), body.get("conversation")
    if previous is not None and conversation is not None:
        raise field_invalid("previous_response_id", "send either this or a conversation, not both")
    if previous is not None:
        record = yield from find_previous(previous)
        last = record.messages[-1].message_id if record.messages else record.turn.user_message_id
        return _Place(record.turn.session_id, last, is_chain=bool((record.turn.echo or {}).get("is_chain")))
    if conversation is not None:
        named = conversation.get("id") if isinstance(conversation, dict) else conversation
        if not isinstance(named, str) or not named:
            raise field_invalid("conversation", f"{conversation!r:.80} is neither an id nor an object with one")
        return _Place(session_key(named), is_chain=False)
    return _Place()


def find_previous(previous: Json) -> Generator[Step, Any, TurnRecord]:
    """Look up the previous response. Raises: PreviousResponseUnknown, PreviousResponseOpen."""
    record: TurnRecord | None = None
    with suppress(TurnUnknown):
        record = yield from FindTurn(turn_id(previous if isinstance(previous, str) else ""))
    if record is None or not record.turn.session_id:  # it was not stored
        raise PreviousResponseUnknown(
            f"Previous response with id {previous!r:.200} not found.", param="previous_response_id"
        )
    if record.turn.status in TURN_OPEN:
        raise PreviousResponseOpen(
            f"response {previous!r:.200} has not ended; wait for its end, or cancel it", param="previous_response_id"
        )
    return record


# --- the call ----------------------------------------------------------------------------------------------------


def _call_of(body: Body, chat: ChatProfile, place: _Place, *, is_kept: bool) -> Generator[Step, Any, TurnCall]:
    given, preface = body.get("input"), _instructions(body)
    if preface and given in (None, []):
        given = []
    elif given == []:
        raise field_invalid("input", "it must be a text or a list of at least one item; only instructions can go alone")
    before: tuple[Message, ...] = ()
    if place.session_key is not None and not (is_kept and _only_asks(given)):
        before = yield from _branch(place)
    messages = yield from read_input(given, known=before)
    turn = split_turn((yield from keep_files(messages, chat)))
    history: tuple[ParsedMessage | Message, ...] | None = None
    if turn.history or not is_kept:
        history = (*before, *turn.history)
    inputs, params = split_fields(body, STRUCTURE, chat)
    tools, namespaces = read_offers(read_tools(body))
    asked = model_of(body, chat)
    alias = None if asked == chat.name else asked
    return turn.call(
        chat,
        params | ({"instructions": body["instructions"]} if "instructions" in body else {}),
        history=history,
        preface=preface,
        session_key=place.session_key if is_kept else None,
        is_kept=is_kept,
        target_message_id=place.head if is_kept else None,
        inputs=inputs,
        tools=tools,
        on_disconnect=None if is_kept else "stop",
        is_detached=body.get("background") is True,
        echo=echo_of(body, input_count=len(turn.history), is_chain=place.is_chain, alias=alias)
        | ({"namespaces": namespaces} if namespaces else {}),
    )


def _only_asks(given: Json) -> bool:
    """Whether the input is only a message to answer, and says nothing of the history before it."""
    if not isinstance(given, list):
        return True
    item = given[0] if given else {"role": "user"}
    return len(given) < 2 and isinstance(item, dict) and item.get("role", "user") == "user"


def _branch(place: _Place) -> Generator[Step, Any, tuple[Message, ...]]:
    """Read the history before the turn. A conversation that its first use creates has none yet."""
    assert place.session_key is not None
    try:
        return (yield from ReadBranch(place.session_key, place.head))
    except SessionUnknown:
        if place.session_key.startswith("s_"):
            raise
        return ()


def _instructions(body: Body) -> tuple[ParsedMessage, ...]:
    text = body.get("instructions")
    return (ParsedMessage("system", (TextPart(text),)),) if isinstance(text, str) and text else ()
