"""Server-sent events of protocols whose events are JSON objects with a `type`. Knows no protocol."""

from __future__ import annotations

from collections.abc import Mapping

from chatserve.codec import dumps_line
from chatserve.core.types import Json


def typed_frame(event: Mapping[str, Json]) -> bytes:
    """Return an event as a frame. Its name is its type."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), dumps_line(event))
