"""A turn as a completion: one document, or a stream of chunks that add up to it.

Every step of an answer first becomes `delta` objects. The stream frames them; the document adds them up as every client
does, so both have the same content. Source: OpenAI API reference, "The chat completion object" and "Streaming".
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from chatserve.codec import dumps, dumps_line, escape_line_ends
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import Delta, Done, NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import Json, Usage
from chatserve.formats.shared.appended import AppendedAnswer, Ended, tell_whole
from chatserve.formats.shared.openai_errors import failure_body, farewell_body
from chatserve.formats.wire.openai_chat.deltas import DeltaObject, Deltas

OPENING: Final[DeltaObject] = {"role": "assistant", "content": "", "refusal": None}
"""The first delta, and the only one with a role: clients also add up roles."""

DONE: Final = b"data: [DONE]\n\n"

FINISH_REASONS: Final = frozenset({"stop", "length", "content_filter"})


@frozen
class Completion:
    """The fields that every chunk of a completion repeats."""

    turn_id: str
    created_at: float
    model: str
    base_url: str
    id_prefix: str = "chatcmpl-"

    def head(self, kind: str) -> dict[str, Json]:
        """Return the members before the choices. They follow from the log, so that replays are equal."""
        return {
            "id": f"{self.id_prefix}{self.turn_id.removeprefix('t_')}",
            "object": kind,
            "created": int(self.created_at),
            "model": self.model,
        }


class CompletionEncoder:
    """Encodes one turn as `chat.completion.chunk` events."""

    is_per_turn = True
    is_complete = False

    def __init__(self, completion: Completion, *, includes_usage: bool = False) -> None:
        self._answer = AppendedAnswer()
        self._deltas = Deltas(completion.base_url)
        self._head = dumps_line(completion.head("chat.completion.chunk"))[:-1]
        self._usage = b',"usage":null' if includes_usage else b""
        self._before_delta = b'data: %b,"choices":[{"index":0,"delta":' % self._head
        self._after_delta = b',"logprobs":null,"finish_reason":null}]%b}\n\n' % self._usage
        self._before_text = self._before_delta + b'{"content":'
        self._after_text = b"}" + self._after_delta
        self._is_opened = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        event = numbered[2]
        deltas = self._deltas
        if type(event) is Delta and not deltas.owes_break and self._answer.take_text(event[0]):  # one per token
            text = event[0]
            deltas.told_length += len(text)
            words = dumps(text)
            if not text.isascii():
                words = escape_line_ends(words)
            return self._before_text + words + self._after_text
        return b"".join(self._frames(numbered))

    def farewell(self) -> bytes:
        return _frame(farewell_body())

    def _frames(self, numbered: NumberedEvent) -> Iterable[bytes]:
        if not self._is_opened:
            self._is_opened = True
            yield self._chunk(OPENING)
        for said in self._answer.take(numbered[2]):
            yield from map(self._chunk, self._deltas.tell(said))
            if isinstance(said, Ended):
                yield from self._end(said)

    def _chunk(self, delta: DeltaObject) -> bytes:
        return self._before_delta + dumps_line(delta) + self._after_delta

    def _end(self, ended: Ended) -> Iterable[bytes]:
        """Yield the last chunk, the usage if requested, and the end mark; or the error of a failed turn."""
        if ended.done.status == "failed":
            yield _frame(failure_body(ended.error))
            return
        reason = finish_reason(ended.done, self._deltas)
        yield b'%b%b,"logprobs":null,"finish_reason":"%b"}]%b}\n\n' % (
            self._before_delta,
            dumps_line(self._deltas.last()),
            reason.encode(),
            self._usage,
        )
        if self._usage:
            yield b'data: %b,"choices":[],"usage":%b}\n\n' % (self._head, dumps(usage_of(ended.done.usage)))
        yield DONE


def _frame(value: Json) -> bytes:
    return b"data: %b\n\n" % dumps_line(value)


def describe(record: TurnRecord, completion: Completion) -> Json:
    """Return the document of a turn that has ended and not failed."""
    deltas = Deltas(completion.base_url)
    told = list(chain.from_iterable(map(deltas.tell, tell_whole(record))))
    _, done = record.as_events()
    choice = {
        "index": 0,
        "message": _add_up([*told, deltas.last()]),
        "logprobs": None,
        "finish_reason": finish_reason(done, deltas),
    }
    return {**completion.head("chat.completion"), "choices": [choice], "usage": usage_of(done.usage)}


def finish_reason(done: Done, deltas: Deltas) -> str:
    """Return the protocol's finish reason. It has none for a stopped answer, which ends with `stop`."""
    if done.status != "completed":
        return "stop"
    if deltas.awaits_tools and done.finish_reason in ("stop", "tool_calls"):
        return "tool_calls"
    return done.finish_reason if done.finish_reason in FINISH_REASONS else "stop"


def _add_up(deltas: Iterable[DeltaObject]) -> dict[str, Json]:
    """Return the message that the deltas add up to."""
    texts: dict[str, str] = {}
    annotations: list[Json] = []
    calls: list[Json] = []
    for delta in deltas:
        for name in ("content", "reasoning_content", "reasoning"):
            if name in delta:
                texts[name] = texts.get(name, "") + delta[name]
        annotations.extend(delta.get("annotations", ()))
        for call in delta.get("tool_calls", ()):
            _add_call(calls, call)
    content = texts.pop("content", None if calls else "")
    message = {"role": "assistant", "content": content, "refusal": None, "annotations": annotations, **texts}
    return message | ({"tool_calls": calls} if calls else {})


def _add_call(calls: list[Json], piece: Json) -> None:
    index = piece["index"]
    kind, text = ("custom", "input") if "custom" in piece else ("function", "arguments")
    if index == len(calls):
        calls.append({"id": piece["id"], "type": piece["type"], kind: dict(piece[kind])})
    else:
        calls[index][kind][text] += piece[kind][text]


def usage_of(usage: Usage | None) -> Json:
    """Return the tokens used; zeros if the function reported none."""
    spent = usage or Usage()
    return {
        "prompt_tokens": spent.input_tokens,
        "completion_tokens": spent.output_tokens,
        "total_tokens": spent.input_tokens + spent.output_tokens,
    }
