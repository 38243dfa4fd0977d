"""chatserve's own stream: one server-sent event per log event.

Source: docs/stream.md; WHATWG HTML, "Server-sent events". LF line ends, `id:` on every event, one `data:` line
of JSON. Event names and ids come from closed sets; no text of a user or a model ever becomes a field of its own.
"""

from __future__ import annotations

from chatserve.codec import dumps, encode_payload
from chatserve.contracts.streams import StreamForm
from chatserve.core.events import EVENT_NAMES, Bye, Delta, NumberedEvent
from chatserve.settings import Settings


class Native:
    """The format: server-sent events, after which a client can resume where it left off."""

    name = "native"
    form = StreamForm(is_resumable=True)

    def __init__(self, _settings: Settings) -> None:
        self._encoder = NativeEncoder()

    def encoder(self) -> NativeEncoder:
        """Return the one encoder, so that every event is encoded once for all readers."""
        return self._encoder


class NativeEncoder:
    """Encodes events as native server-sent events. Stateless: one instance serves every reader."""

    is_per_turn = False
    is_complete = False  # a session's stream goes on until its client leaves

    def encode(self, numbered: NumberedEvent) -> bytes:
        seq, _, event = numbered
        if type(event) is Delta and event.text.isascii():  # the hot path: one per token
            return b'id: %d\nevent: delta\ndata: {"text":%b}\n\n' % (seq, dumps(event.text))
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, EVENT_NAMES[type(event)].encode(), encode_payload(event))

    def farewell(self) -> bytes:
        """Return `bye`. It has no id, so the client's cursor stays where it is."""
        return b"event: bye\ndata: %b\n\n" % encode_payload(Bye())
