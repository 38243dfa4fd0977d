"""Events in JSON: the `data` that a reader gets, and the form that stores keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from chatserve.codec.shapes import shape_of
from chatserve.codec.values import dumps, dumps_line, escape_line_ends, loads_stored
from chatserve.core.events import EVENT_NAMES, Bye, Delta, Event, LogEntry, NumberedEvent, TurnAccepted, Words
from chatserve.core.types import Json

_RUN: Final = "deltas"
"""The name of an entry that holds several deltas; no event has this name."""


def encode_payload(event: Event | Bye) -> bytes:
    """Return the `data` of an event as one line of JSON, with U+2028, U+2029 and U+0085 escaped."""
    if type(event) is Delta:  # the hot path: one per token
        data = b'{"text":%b}' % dumps(event.text)
        return data if event.text.isascii() else escape_line_ends(data)
    return dumps_line(event_json(event))


def event_json(event: Event | Bye) -> dict[str, Json]:
    """Return the `data` of an event as a value."""
    return _ENCODERS[type(event)](event)


def encode_events(events: Sequence[LogEntry]) -> bytes:
    """Return events as the stores keep them: the JSON of `numbered_json`."""
    return dumps(numbered_json(events))


def numbered_json(events: Sequence[LogEntry]) -> list[Json]:
    """Return the JSON of events with their numbers: entries `[seq, turn_id, name, data]`; a delta's data is its text.

    Consecutive deltas of one turn form one entry: `[first seq, turn_id, "deltas", texts]`.
    """
    if len(events) == 1:
        first = events[0]
        return [(first[0], first[1], _RUN, first[2]) if type(first) is Words else _entry(*first)]
    entries: list[Json] = []
    texts: list[str] = []
    next_seq, speaker = 0, None
    for seq, turn_id, event in events:
        if type(event) is not Delta:
            entries.append(_entry(seq, turn_id, event))
            next_seq = 0
            continue
        if seq != next_seq or turn_id != speaker:
            texts, speaker = [], turn_id
            entries.append((seq, turn_id, _RUN, texts))
        texts.append(event[0])
        next_seq = seq + 1
    return entries


def _entry(seq: int, turn_id: str | None, event: Event | list[str]) -> Json:
    if isinstance(event, list):
        return seq, turn_id, _RUN, event
    if type(event) is Delta:
        return seq, turn_id, "delta", event[0]
    return seq, turn_id, EVENT_NAMES[type(event)], event_json(event)


def last_number(entries: Sequence[Json]) -> int:
    """Return the number of the last event in the entries of `numbered_json`."""
    seq, _, name, data = entries[-1]
    return int(seq) + (len(data) - 1 if name == _RUN else 0)


def decode_events(data: bytes) -> list[NumberedEvent]:
    """Decode the result of `encode_events`. Raises: ValueError, KeyError on a tampered store."""
    return decode_numbered(loads_stored(data))


def decode_numbered(values: Iterable[Json]) -> list[NumberedEvent]:
    """Decode the result of `numbered_json`. Raises: ValueError, KeyError on a tampered store."""
    events: list[NumberedEvent] = []
    for seq, turn_id, name, data in values:
        if name == _RUN:
            events += _decode_run(seq, turn_id, data)
        else:
            events.append(NumberedEvent(seq, turn_id, _DECODERS[name](data)))
    return events


def _decode_run(first_seq: int, turn_id: str | None, texts: Json) -> list[NumberedEvent]:
    if not isinstance(texts, list):
        raise ValueError(f"not the texts of deltas: {texts!r:.200}")
    return [NumberedEvent(seq, turn_id, Delta(text)) for seq, text in enumerate(texts, first_seq)]


def _decode_accepted(value: dict[str, Json]) -> Event:
    """Decode a `turn` event. Its turn takes the user message's id from the message in the event."""
    message = value["user_message"] or {"message_id": None}
    event: Event = shape_of(TurnAccepted).decode(value | {"user_message_id": message["message_id"]})
    return event


_ENCODERS: Final[Mapping[type, Callable[[Any], dict[str, Json]]]] = {cls: shape_of(cls).encode for cls in EVENT_NAMES}
_DECODERS: Final[Mapping[str, Callable[[Json], Event]]] = {
    **{EVENT_NAMES[cls]: shape_of(cls).decode for cls in get_args(Event)},
    EVENT_NAMES[TurnAccepted]: _decode_accepted,
    EVENT_NAMES[Delta]: Delta,
}
"""Decoders by event name. In the log, a delta's data is only its text."""
