"""Streams: the properties of a format's streams, their sources, and their encoders.

A stream reply is a value. One class in `routes.streams` sends all of them, so that all streams behave alike.
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
    """An encoder of one stream. A client can always tell whether a stream ended early: by a farewell, or by a cut."""

    def farewell(self) -> bytes | None:
        """Return the frames that end a stream early because the server stops.

        None: the format cannot express that. The stream is then cut: its connection is closed before the body's end,
        so that half an answer does not look complete.
        """
        ...


class WordEncoder(WireEncoder, Protocol):
    """An encoder of a format that can express nothing but the answer. The stream of a failed turn is cut, too."""

    @property
    def failure(self) -> TurnError | None:
        """Why the turn failed, once the encoder has seen the event."""
        ...


def untold_failure(encoder: WireEncoder) -> TurnError | None:
    """Return why the turn failed, if a `WordEncoder` could not express it; None for any other encoder."""
    failure: TurnError | None = getattr(encoder, "failure", None)  # isinstance of a Protocol takes 500 times as long
    return failure


EVENT_STREAM: Final = "text/event-stream"


@frozen
class StreamForm:
    """The properties of a format's streams, apart from the frames of events.

    `framing`: server-sent events, or bare frames one after the other. `ping` is sent after silence, `ending` after all
    frames of a stream that did not end early. `is_resumable`: its frames carry event numbers, so that a client can
    reconnect with the last number it has; server-sent events also tell the client how long to wait before.
    `awaits_words`: the head is sent with the first frame, and a turn that fails before that is answered with an error
    status; otherwise the head is sent at once.
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

    Without a number they begin with the open turn, or, if no turn is open, with the next event.
    """

    session_id: str
    after: int | None = None


@frozen
class OfNothing:
    """No events: the stream consists of its opening and pings, until the encoder is complete."""


class Delivery(Protocol):
    """Is notified when a stream was sent completely."""

    def complete(self, now: float) -> None:
        """Note that the stream was sent to its own end; `now` is in seconds since the epoch."""
        ...


class Extras(Protocol):
    """Frames of a stream that no event brings."""

    def take(self, now: float) -> bytes:
        """Return the frames that are due, each once; `now` is in seconds since the epoch."""
        ...


@frozen
class StreamReply:
    """A stream: its source, its format, and its opening.

    `serves` are the turns that this client started: when it leaves before the end, their `on_disconnect` decides
    whether they go on. If a format names none, it is the turn that the same request started, unless it is detached.
    """

    source: OfTurn | OfSession | OfNothing
    encoder: WireEncoder
    headers: Mapping[str, str] = field(default_factory=dict)
    form: StreamForm = StreamForm()
    opening: bytes = b""
    serves: Collection[str] = ()
    delivery: Delivery | None = None
    extras: Extras | None = None


@runtime_checkable
class StreamFormat(Protocol):
    """A format for streams of turns on chatserve's own paths; clients choose it by its media type."""

    name: str
    form: StreamForm

    def encoder(self) -> WireEncoder:
        """Return an encoder for one stream; a stateless encoder may be shared by all streams."""
        ...
