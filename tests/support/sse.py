"""Reads a stream of server-sent events as a browser would. Source: HTML Living Standard, section 9.2."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SseEvent:
    """One dispatched event. `id` is the last id seen in the stream, "" before the first."""

    event: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def read_events(lines: Iterable[str]) -> Iterator[SseEvent]:
    """Yield the events of a stream given line by line (without line ends)."""
    name, last_id = "", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield SseEvent(name or "message", "\n".join(data), last_id)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
