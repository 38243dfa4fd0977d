"""Streams: what a format's are like, what one is of, and who encodes it.

A stream reply is a value. One class in `routes.streams` sends all of them, so that what is true of one is true of all.
Knows no format and no route.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Final, Literal, Protocol, runtime_checkable

from chatserve.contracts.formats import FrameEncoder
from chatserve.core.frozen import frozen
from chatserve.core.types import TurnError


class WireEncoder(FrameEncoder, Protocol):
    """An encoder of one stream, which never ends without saying so: in words, or else by a cut."""

    def farewell(self) -> bytes | None:
        """Return the frames that end a stream whose turn goes on, or was cut off: the server goes away.

        None: the format has no words for it. The stream is then cut: its connection is closed before the body's end,
        so that half an answer does not look like a whole one.
        """
        ...


class WordEncoder(WireEncoder, Protocol):
    """An encoder of a format that has words for nothing but the answer. A stream of a turn that failed is cut, too."""

    @property
    def failure(self) -> TurnError | None:
        """Why the turn failed, once the encoder has heard of it."""
        ...


def untold_failure(encoder: WireEncoder) -> TurnError | None:
    """Return why the turn failed, where a `WordEncoder` had no word for it; None of any other encoder."""
    failure: TurnError | None = getattr(encoder, "failure", None)  # isinstance of a Protocol takes 500 times as long
    return failure


EVENT_STREAM: Final = "text/event-stream"


@frozen
class StreamForm:
    """What a format's streams are like, beside the frames of events.

    `framing`: server-sent events, or bare frames one after the other. `ping` is sent after silence, `ending` behind all
    frames of a stream that was not ended early. `is_resumable`: its frames tell the numbers of events, so that a client
    comes back with the last one it has; a client of server-sent events is told when. `awaits_words`: the head is sent
    with the first frame, and a turn that fails before it is answered as an error; else the head is sent at once.
    """

    media_type: str = EVENT_STREAM
    framing: Literal["events", "bare"] = "events"
    ping: bytes = b":\n\n"
    ending: bytes = b""
    is_resumable: bool = False
    awaits_words: bool = False


@frozen
class OfTurn:
    """The events of one turn after a number (None: from its beginning), until its `done`."""

    turn_id: str
    after: int | None = None


@frozen
class OfSession:
    """The events of a session after a number, until the encoder is complete.

    Without a number they begin with the open turn, or else with what comes next.
    """

    session_id: str
    after: int | None = None


@frozen
class OfNothing:
    """No events at all: the stream is its opening and its pings, until the encoder is complete."""


class Delivery(Protocol):
    """What waits for a stream to be sent."""

    def complete(self, now: float) -> None:
        """Take note that all was sent, to the stream's own end; `now` is in seconds since the epoch."""
        ...


@frozen
class StreamReply:
    """A stream: of what, in which format, and what comes first.

    `serves` are the turns whose own client reads it: when it leaves before the end, their `on_disconnect` says what
    becomes of them. Where a format names none, it is the turn that the same request has started, unless it is detached.
    """

    source: OfTurn | OfSession | OfNothing
    encoder: WireEncoder
    headers: Mapping[str, str] = field(default_factory=dict)
    form: StreamForm = StreamForm()
    opening: bytes = b""
    serves: Collection[str] = ()
    delivery: Delivery | None = None


@runtime_checkable
class StreamFormat(Protocol):
    """One way to tell of turns on chatserve's own paths, which clients ask for by its media type."""

    name: str
    form: StreamForm

    def encoder(self) -> WireEncoder:
        """Return an encoder for one stream; one for all, if it keeps nothing."""
        ...
