"""Answers of the Messages API: the events of a stream, and the document with the same content.

Source: platform.claude.com, "Streaming messages". Every frame has an `event:` line: clients ignore frames without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chatserve.codec import dumps_line, loads
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import Delta, Done, NumberedEvent
from chatserve.core.frozen import frozen
from chatserve.core.types import Json, Usage
from chatserve.formats.shared.appended import AppendedAnswer, Ended, Said, tell_whole
from chatserve.formats.shared.frames import typed_frame
from chatserve.formats.wire.anthropic.blocks import BlockEvent, ContentBlocks
from chatserve.formats.wire.anthropic.errors import error_document, turn_error

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'

_STOP_REASONS: Final[Mapping[str, str]] = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""Stop reasons by finish reason. Any other reason, as for a stopped answer, becomes `end_turn`."""

_TEXT_DELTA: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
"""The frame of a delta of text, up to its text. The text and `}}` follow."""


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
        return typed_frame(error_document(503, message, details, self._heading.request_id))

    def _begin(self) -> bytes:
        self._is_begun = True
        return typed_frame({"type": "message_start", "message": _document(self._heading, [], None)}) + PING

    def _frames_of(self, said: Said) -> bytes:
        if isinstance(said, Ended):
            return self._end(said)
        frames = b"".join(map(typed_frame, self._blocks.take(said)))
        number = self._blocks.open_text
        self._before = b"" if number is None else _TEXT_DELTA % number
        return frames

    def _end(self, ended: Ended) -> bytes:
        if ended.error is not None:
            return typed_frame(turn_error(ended.error, self._heading.request_id))
        done = ended.done
        delta = {"container": None, "stop_details": None, "stop_reason": _stop_reason(done), "stop_sequence": None}
        closing = map(typed_frame, self._blocks.finish(is_completed=done.status == "completed"))
        changed = typed_frame({"type": "message_delta", "delta": delta, "usage": _usage(done.usage)})
        return b"".join(closing) + changed + typed_frame({"type": "message_stop"})


# --- the document ------------------------------------------------------------------------------------------------


def message_document(record: TurnRecord, heading: Heading) -> dict[str, Json]:
    """Return the message of a turn that has ended and not failed."""
    blocks = ContentBlocks(heading.base_url)
    events = [event for said in tell_whole(record) for event in blocks.take(said)]
    _, done = record.as_events()
    events.extend(blocks.finish(is_completed=done.status == "completed"))
    return _document(heading, _content(events), done)


def _document(heading: Heading, content: list[dict[str, Json]], done: Done | None) -> dict[str, Json]:
    """Return a message. `done` is None for one that has not ended."""
    return {
        "id": heading.message_id,
        "type": "message",
        "role": "assistant",
        "model": heading.model,
        "container": None,
        "content": content,
        "stop_details": None,
        "stop_reason": _stop_reason(done) if done else None,
        "stop_sequence": None,
        "usage": _usage(done.usage if done else None),
    }


def _stop_reason(done: Done) -> str:
    return _STOP_REASONS.get(done.finish_reason, "end_turn")


def _usage(usage: Usage | None) -> dict[str, Json]:
    """Return the usage: zeros if the chat function reported none. Nothing comes from a cache."""
    spent = usage or Usage()
    return {
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
    }


def _content(events: Iterable[BlockEvent]) -> list[dict[str, Json]]:
    """Build the blocks from the events of their stream."""
    content: list[dict[str, Json]] = []
    arguments = ""
    for step in events:
        match step:
            case {"content_block": block}:
                content.append(dict(block))
                arguments = ""
            case {"delta": {"partial_json": text}}:
                arguments += text
            case {"delta": delta}:
                for name in delta.keys() - {"type"}:
                    content[-1][name] += delta[name]
            case _ if content[-1]["type"] == "tool_use":
                content[-1]["input"] = _read_arguments(arguments)
    return content


def _read_arguments(text: str) -> dict[str, Json]:
    """Return arguments as an object, as the API requires. Any other value becomes the member `arguments`."""
    try:
        value = loads(text or "{}")
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
