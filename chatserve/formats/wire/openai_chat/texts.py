"""The older endpoint `/completions`: one prompt, and its answer as text.

Only the words of an answer are sent: there is no place for reasoning, calls of tools and sources. Older clients and
editors use it. Source: OpenAI API reference, "Completions" (legacy).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import chain
from typing import Any, Final

from chatserve.codec import dumps_line
from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import Handling, RawRequest, Step, Submit, Wait
from chatserve.core.events import Done, NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import Json
from chatserve.formats.shared.appended import AppendedAnswer, Ended, tell_whole
from chatserve.formats.shared.message_array import field_invalid, split_fields
from chatserve.formats.shared.openai_endpoints import chat_of, headers_of, model_of, reply
from chatserve.formats.shared.openai_errors import failure_body, farewell_body, reply_to_failure
from chatserve.formats.wire.openai_chat.completions import DONE, Completion, finish_reason, usage_of
from chatserve.formats.wire.openai_chat.deltas import DeltaObject, Deltas
from chatserve.formats.wire.openai_chat.sessions import session_key_of

STRUCTURE: Final = frozenset({"prompt", "model", "stream", "stream_options", "session_id"})
"""Fields that the protocol itself uses; they are neither inputs nor params."""


@frozen
class TextRequest:
    """The requested call, and the form of its answer."""

    call: TurnCall
    model: str
    is_streamed: bool
    includes_usage: bool


def create_text(request: RawRequest) -> Handling:
    """Answer one prompt. Raises: RequestError."""
    asked = yield from _read(request)
    started = yield from Submit(asked.call)
    completion = Completion(started.turn_id, started.created_at, asked.model, request.base_url, "cmpl-")
    if asked.is_streamed:
        encoder = TextEncoder(completion, includes_usage=asked.includes_usage)
        return StreamReply(OfTurn(started.turn_id), encoder, headers_of(request))
    record = yield from Wait(started.turn_id)
    if record.turn.status == "failed":
        return reply_to_failure(record.turn.error, request)
    deltas = Deltas(completion.base_url)
    told = list(chain.from_iterable(map(deltas.tell, tell_whole(record))))
    _, done = record.as_events()
    choice = _choice("".join(map(_words, told)), _reason(done, deltas))
    body = {**completion.head("text_completion"), "choices": [choice], "usage": usage_of(done.usage)}
    return reply(body, request)


def _read(request: RawRequest) -> Generator[Step, Any, TextRequest]:
    yield from ()
    body = request.json_object()
    chat = chat_of(body, request)
    prompt = _read_prompt(body.get("prompt"))
    key = session_key_of(request.headers, body, prompt)
    inputs, params = split_fields(body, STRUCTURE, chat)
    call = TurnCall(
        chat.name,
        prompt,
        history=None if key is not None else (),
        session_key=key,
        is_kept=key is not None,
        inputs=inputs,
        params=params,
        on_disconnect="stop",
    )
    options = body.get("stream_options")
    includes_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return TextRequest(call, model_of(body, chat), bool(body.get("stream")), includes_usage)


def _read_prompt(prompt: Json) -> str:
    """Return the one prompt: a text, or a list of one. Raises: InputsInvalid."""
    if isinstance(prompt, list) and len(prompt) == 1:
        (prompt,) = prompt
    if isinstance(prompt, list) and prompt and all(isinstance(each, str) for each in prompt):
        raise field_invalid("prompt", f"there are {len(prompt)} prompts; send one, and a request for each")
    if not isinstance(prompt, str):
        raise field_invalid("prompt", f"{prompt!r:.80} is no text; send one prompt as text, not as tokens")
    return prompt


def _choice(text: str, reason: str | None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def _reason(done: Done, deltas: Deltas) -> str:
    reason = finish_reason(done, deltas)
    return "stop" if reason == "tool_calls" else reason


def _words(delta: DeltaObject) -> str:
    words: str = delta.get("content", "")
    return words


class TextEncoder:
    """Encodes one turn as `text_completion` chunks."""

    is_per_turn = True
    is_complete = False

    def __init__(self, completion: Completion, *, includes_usage: bool) -> None:
        self._head = completion.head("text_completion")
        self._includes_usage = includes_usage
        self._answer = AppendedAnswer()
        self._deltas = Deltas(completion.base_url)

    def encode(self, numbered: NumberedEvent) -> bytes:
        return b"".join(self._frames(numbered))

    def farewell(self) -> bytes:
        return _frame(farewell_body())

    def _frames(self, numbered: NumberedEvent) -> Iterable[bytes]:
        for said in self._answer.take(numbered.event):
            for text in filter(None, map(_words, self._deltas.tell(said))):
                yield self._chunk([_choice(text, None)])
            if isinstance(said, Ended):
                yield from self._end(said)

    def _end(self, ended: Ended) -> Iterable[bytes]:
        if ended.done.status == "failed":
            yield _frame(failure_body(ended.error))
            return
        yield self._chunk([_choice("", _reason(ended.done, self._deltas))])
        if self._includes_usage:
            yield self._chunk([], usage_of(ended.done.usage))
        yield DONE

    def _chunk(self, choices: Json, usage: Json = None) -> bytes:
        counted = {"usage": usage} if self._includes_usage else {}
        return _frame({**self._head, "choices": choices, **counted})


def _frame(value: Json) -> bytes:
    return b"data: %b\n\n" % dumps_line(value)
