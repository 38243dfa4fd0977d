"""NDJSON, a format made as CONTRIBUTING's recipe says: this file, and a line in `WIRE_FORMATS`.

An event is a line: `{"id": 7, "event": "delta", "data": {"text": "Hi"}}`. Source: ndjson.org, 3.1 and 3.2.
"""

from chatserve.codec import encode_payload
from chatserve.contracts.streams import StreamForm
from chatserve.core.events import EVENT_NAMES, NumberedEvent
from chatserve.settings import Settings
from tests.formats.golden_rows import MESSAGE, FormatRow, Request


class Ndjson:
    """The format: a client asks for `application/x-ndjson`, and comes back with the last `id` it has."""

    name = "ndjson"
    form = StreamForm("application/x-ndjson", framing="bare", ping=b'{"event":"ping"}\n', is_resumable=True)

    def __init__(self, _settings: Settings) -> None:
        self._encoder = NdjsonEncoder()

    def encoder(self) -> "NdjsonEncoder":
        return self._encoder


class NdjsonEncoder:
    """Encodes each event as a line. Stateless: one instance serves every reader."""

    is_per_turn = False
    is_complete = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        seq, _, event = numbered
        name = EVENT_NAMES[type(event)].encode()
        return b'{"id":%d,"event":"%b","data":%b}\n' % (seq, name, encode_payload(event))

    def farewell(self) -> bytes:
        return b'{"event":"bye","data":{"reconnect":true}}\n'


ROW = FormatRow(
    "ndjson",
    (Request("POST", "/chat", {"message": MESSAGE}, {"accept": "application/x-ndjson"}),),
    (),
    r'"event":"(done|bye)".*\n$',
)
"""How a client asks for it."""
