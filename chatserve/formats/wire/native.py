"""chatserve's own stream: one server-sent event per log event.

Source: contract section 3; WHATWG HTML, "Server-sent events". LF line ends, `id:` on every event, one `data:` line
of JSON. Event names and ids come from closed sets; no text of a user or a model ever becomes a field of its own.
"""

from __future__ import annotations

from chatserve.codec import dumps, encode_payload
from chatserve.core.events import EVENT_NAMES, Bye, Delta, NumberedEvent

PING = b":\n\n"


class NativeEncoder:
    """Encodes events as native server-sent events. Stateless: one instance serves every reader."""

    is_per_turn = False
    is_complete = False  # a session's stream goes on until somebody leaves

    def encode(self, numbered: NumberedEvent) -> bytes:
        seq, _, event = numbered
        if type(event) is Delta and event.text.isascii():  # the hot path: one per token
            return b'id: %d\nevent: delta\ndata: {"text":%b}\n\n' % (seq, dumps(event.text))
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, EVENT_NAMES[type(event)].encode(), encode_payload(event))


def encode_bye(*, retry_ms: int) -> bytes:
    """Return the farewell: a new `retry` and `bye`. It has no id, so the client's cursor stays where it is."""
    return b"retry: %d\nevent: bye\ndata: %b\n\n" % (retry_ms, encode_payload(Bye()))


def encode_retry(retry_ms: int) -> bytes:
    """Return the first block of a stream: how long to wait before reconnecting."""
    return b"retry: %d\n\n" % retry_ms
