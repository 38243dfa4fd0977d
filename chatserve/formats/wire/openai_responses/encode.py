"""Streams of responses: the log's events as numbered events of the protocol.

Every number, id and time follows from the log, so encoding a stream again gives the same bytes. To resume a stream is
to encode it from the beginning and leave out the events that the client has (`starting_after`). If the log is gone, the
stream is shorter; the number of its last event is above `starting_after`, so that it is never left out.

Source: Open Responses specification of 2026-04-24, "Streaming"; OpenAI API reference, "Streaming events".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from chatserve.codec import dumps, escape_line_ends
from chatserve.core.events import Delta, Done, Event, NumberedEvent, Snapshot, TurnAccepted
from chatserve.core.types import Turn
from chatserve.formats.shared.appended import AppendedAnswer, Ended
from chatserve.formats.shared.frames import typed_frame
from chatserve.formats.wire.openai_responses.documents import item_status_of, namespaces_of, response_object
from chatserve.formats.wire.openai_responses.output import OutputItems, WireEvent

_DELTA: Final = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
_DONE: Final = b"data: [DONE]\n\n"
_LAST: Final = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "cancelled": "response.incomplete",  # the protocol has no event for it; the status shows it
    "failed": "response.failed",
}
_LAST_TYPES: Final = frozenset(_LAST.values())


class ResponseEncoder:
    """Encodes one turn. Leaves out the events up to `starting_after`. `base_url` is the address of the server.

    `prefill` is as for `AppendedAnswer`.
    """

    is_per_turn = True
    is_complete = False

    def __init__(self, base_url: str, starting_after: int | None = None, *, prefill: int = 0) -> None:
        self._after = -1 if starting_after is None else starting_after
        self._number = 0
        self._answer = AppendedAnswer(prefill)
        self._items = OutputItems(base_url)
        self._turn: Turn | None = None
        self._is_running = False
        self._words: list[str] | None = None  # the pieces of the open item of words
        self._before_text = b""  # the frame of a plain delta up to its text

    def encode(self, numbered: NumberedEvent) -> bytes:
        event, words = numbered[2], self._words
        if words is not None and type(event) is Delta and self._answer.take_text(event[0]):  # the hot path: per token
            text = event[0]
            words.append(text)
            number = self._number
            self._number = number + 1
            if number <= self._after:
                return b""
            data = dumps(text)
            if not text.isascii():
                data = escape_line_ends(data)
            return self._before_text + data + b',"logprobs":[],"sequence_number":%d}\n\n' % number
        frames = b"".join([self._frame(event) for event in self._events(event)])
        item = self._items.open_words
        self._words = None if item is None else item.pieces
        if item is not None:
            self._before_text = _DELTA + dumps(item.place)[1:-1] + b',"delta":'
        return frames + _DONE if type(event) is Done else frames

    def farewell(self) -> bytes:
        """Return an error event for a stream that ends before its response, with the number of the last event.

        A client that resumes after this number misses nothing. Both of OpenAI's client libraries raise the error.
        """
        said = {
            "code": "shutting_down",
            "message": "the server is going away; retrieve the response, or its stream from where this one ended",
            "param": None,
        }
        number = max(self._number - 1, 0)
        error = {"type": "server_error", **said}
        return typed_frame({"type": "error", "sequence_number": number, **said, "error": error})

    def _frame(self, event: WireEvent) -> bytes:
        number = self._number
        self._number += 1
        kind = event["type"]
        if number <= self._after:
            if kind not in _LAST_TYPES:
                return b""
            number = self._after + 1
        return typed_frame({"type": kind, "sequence_number": number, **event})

    def _events(self, event: Event) -> Iterator[WireEvent]:
        if isinstance(event, TurnAccepted):
            yield from self._begin(event.turn)
        elif isinstance(event, Snapshot) and event.turn is not None:
            yield from self._begin(replace(event.turn, status="running"))
        told = self._answer.take(event)
        if isinstance(event, Done):
            told = told[-1:]  # calls that are still open were cut off: they get the status of the turn
        for said in told:
            yield from self._end(said) if isinstance(said, Ended) else self._items.take(said)

    def _begin(self, turn: Turn) -> Iterator[WireEvent]:
        """Yield the events for a response that is created, queued, in progress: each once."""
        is_new, self._turn = self._turn is None, turn
        self._items.namespaces = namespaces_of(turn)
        response = response_object(_opened(turn), [])
        if is_new:
            yield {"type": "response.created", "response": response}
        if turn.status == "queued":
            yield {"type": "response.queued", "response": response}
        elif not self._is_running:
            self._is_running = True
            yield {"type": "response.in_progress", "response": response}

    def _end(self, ended: Ended) -> Iterator[WireEvent]:
        """Close the open items, also calls that were cut off, and yield the last event."""
        assert self._turn is not None
        done = ended.done
        turn = replace(
            self._turn, status=done.status, finish_reason=done.finish_reason, usage=done.usage, error=ended.error
        )
        yield from self._items.close(item_status_of(turn))
        response = response_object(turn, self._items.items())
        yield {"type": _LAST[response["status"]], "response": response}


def _opened(turn: Turn) -> Turn:
    """Return a turn in its state at the beginning."""
    return replace(turn, finish_reason=None, usage=None, error=None, finished_at=None)
