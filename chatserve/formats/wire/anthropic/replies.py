"""Answers of the Messages API: the events of a stream, and the document with the same content.

Source: platform.claude.com, "Streaming messages". Every frame has an `event:` line: clients ignore frames without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from chatserve.codec import dumps_line, loads
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import Delta, Done, NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import Json, Usage
from chatserve.formats.shared.appended import AppendedAnswer, Ended, Said, tell_whole
from chatserve.formats.wire.anthropic.blocks import BlockGrown, BlockStarted, BlockStep, ContentBlocks, DeltaKind
from chatserve.formats.wire.anthropic.errors import error_document, turn_error

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'

_STOP_REASONS: Final[Mapping[str, str]] = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""Stop reasons by finish reason. Any other reason, as for a stopped answer, becomes `end_turn`."""

_FIELDS: Final[Mapping[DeltaKind, str]] = {
    "text": "text",
    "thinking": "thinking",
    "input_json": "partial_json",
    "signature": "signature",
}


@frozen
class Heading:
    """The fields of an answer besides its content. `turn_id` becomes the message's id."""

    turn_id: str
    model: str
    request_id: str
    base_url: str

    @property
    def message_id(self) -> str:
        """The turn's id with the protocol's prefix."""
        return f"msg_{self.turn_id.partition('_')[2]}"


class MessageEncoder:
    """Encodes one turn as the events of one message."""

    is_per_turn = True
    is_complete = False  # the stream ends with its turn

    def __init__(self, heading: Heading) -> None:
        self._heading = heading
        self._answer = AppendedAnswer()
        self._blocks = ContentBlocks(heading.base_url)
        self._is_begun = False
        self._before = b""  # the frame of a delta up to its text, while the open block takes text

    def encode(self, numbered: NumberedEvent) -> bytes:
        event = numbered.event
        if type(event) is Delta and self._before and self._answer.take_text(event.text):  # the hot path
            return b"%b%b}}\n\n" % (self._before, dumps_line(event.text))
        frames = b"" if self._is_begun else self._begin()
        return frames + b"".join(map(self._frames_of, self._answer.take(event)))

    def farewell(self) -> bytes:
        """Return the last frame of a stream that the server leaves before the turn has ended."""
        message = "the server is shutting down before the answer's end; ask again"
        details = {"error_code": "shutting_down"}
        return _frame("error", error_document(503, message, details, self._heading.request_id))

    def _begin(self) -> bytes:
        self._is_begun = True
        message = _document(self._heading, [], Ending(None, Usage()))
        return _frame("message_start", {"type": "message_start", "message": message}) + PING

    def _frames_of(self, said: Said) -> bytes:
        if isinstance(said, Ended):
            return self._end(said)
        frames = b"".join(map(_block_frame, self._blocks.take(said)))
        self._before = _before_delta(self._blocks.number, "text") if self._blocks.takes_text else b""
        return frames

    def _end(self, ended: Ended) -> bytes:
        if ended.error is not None:
            return _frame("error", turn_error(ended.error, self._heading.request_id))
        ending = Ending.of(ended.done)
        delta = {"container": None, "stop_details": None, "stop_reason": ending.stop_reason, "stop_sequence": None}
        rest = self._blocks.finish(is_completed=ended.done.status == "completed")
        closing = b"".join(map(_block_frame, rest))
        changed = _frame("message_delta", {"type": "message_delta", "delta": delta, "usage": ending.usage_json})
        return closing + changed + _frame("message_stop", {"type": "message_stop"})


class Ending(NamedTuple):
    """Why an answer has ended (None: it has not), and its usage."""

    stop_reason: str | None
    usage: Usage

    @classmethod
    def of(cls, done: Done) -> Ending:
        """Return the ending of a turn. Its usage is zero if the chat function reported none."""
        return cls(_STOP_REASONS.get(done.finish_reason, "end_turn"), done.usage or Usage())

    @property
    def usage_json(self) -> dict[str, Json]:
        """The usage as JSON. Nothing comes from a cache."""
        return {
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
        }


def _before_delta(number: int, kind: DeltaKind) -> bytes:
    """Return a delta's frame up to its text. The text and `}}` follow."""
    return (
        f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{number},'
        f'"delta":{{"type":"{kind}_delta","{_FIELDS[kind]}":'
    ).encode()


def _block_frame(step: BlockStep) -> bytes:
    match step:
        case BlockGrown(number, kind, text):
            return b"%b%b}}\n\n" % (_before_delta(number, kind), dumps_line(text))
        case BlockStarted(number, block):
            event = {"type": "content_block_start", "index": number, "content_block": block}
            return _frame("content_block_start", event)
        case _:
            return _frame("content_block_stop", {"type": "content_block_stop", "index": step.number})


def _frame(name: str, event: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps_line(event))


# --- the document ------------------------------------------------------------------------------------------------


def message_document(record: TurnRecord, heading: Heading) -> dict[str, Json]:
    """Return the message of a turn that has ended and not failed."""
    blocks = ContentBlocks(heading.base_url)
    steps: list[BlockStep] = []
    for said in tell_whole(record):
        steps.extend(blocks.take(said))
    _, done = record.as_events()
    steps.extend(blocks.finish(is_completed=done.status == "completed"))
    return _document(heading, _content(steps), Ending.of(done))


def _document(heading: Heading, content: list[dict[str, Json]], ending: Ending) -> dict[str, Json]:
    return {
        "id": heading.message_id,
        "type": "message",
        "role": "assistant",
        "model": heading.model,
        "container": None,
        "content": content,
        "stop_details": None,
        "stop_reason": ending.stop_reason,
        "stop_sequence": None,
        "usage": ending.usage_json,
    }


def _content(steps: Iterable[BlockStep]) -> list[dict[str, Json]]:
    """Build the blocks from the steps of their stream."""
    content: list[dict[str, Json]] = []
    arguments = ""
    for step in steps:
        match step:
            case BlockStarted(_, block):
                content.append(dict(block))
                arguments = ""
            case BlockGrown(_, "input_json", text):
                arguments += text
            case BlockGrown(_, kind, text):
                content[-1][_FIELDS[kind]] += text
            case _ if content[-1]["type"] == "tool_use":
                content[-1]["input"] = _read_arguments(arguments)
            case _:
                pass
    return content


def _read_arguments(text: str) -> dict[str, Json]:
    """Return arguments as an object, as the API requires. Any other value becomes the member `arguments`."""
    try:
        value = loads(text or "{}")
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
