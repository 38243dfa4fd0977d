"""Events in JSON: what a reader gets as `data`, and what the stores keep (contract section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, assert_never

from chatserve.codec.messages import decode_message, decode_part, message_json, part_json
from chatserve.codec.records import decode_error, decode_turn, error_json, turn_json, usage_json
from chatserve.codec.values import decode_time, dumps, dumps_line, encode_time, escape_line_ends, loads_stored
from chatserve.core.events import (
    EVENT_NAMES,
    Bye,
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    LogEntry,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
    Words,
)
from chatserve.core.types import Json, Turn, Usage

_RUN: Final = "deltas"
"""What an entry is called that holds several deltas; no event has this name."""


def encode_payload(event: Event | Bye) -> bytes:
    """Return the `data` of an event: one line of JSON, U+2028, U+2029 and U+0085 escaped."""
    if type(event) is Delta:  # the hot path: one per token
        data = b'{"text":%b}' % dumps(event.text)
        return data if event.text.isascii() else escape_line_ends(data)
    return dumps_line(event_json(event))


def event_json(event: Event | Bye) -> dict[str, Json]:  # noqa: C901, PLR0911, PLR0912 - a case per event, all of them
    """Return the `data` of an event as a value (contract section 3)."""
    match event:
        case Delta():
            return {"text": event.text}
        case TurnAccepted():
            return _accepted_json(event)
        case MessageOpened():
            return {"message_id": event.message_id, "role": event.role} | _optional("metadata", event.metadata)
        case Replaced():
            return {"text": event.text} | _optional("message_id", event.message_id)
        case ReasoningDelta():
            return {"text": event.text}
        case PartAdded():
            return {
                "message_id": event.message_id,
                "part": {"part_id": event.part_id, **part_json(event.part)},
            }
        case PartDelta():
            return {"part_id": event.part_id, "text": event.text}
        case MetadataChanged():
            return (
                {"message_id": event.message_id}
                | _optional("metadata", event.metadata)
                | _optional("options", event.options)
            )
        case StatusReported():
            return _optional("text", event.text) | _optional("done", event.done) | _optional("total", event.total)
        case Failed():
            return {k: v for k, v in error_json(event.error).items() if k != "status_code"}
        case Done():
            return _done_json(event)
        case Snapshot():
            return {
                "turn": None if event.turn is None else turn_json(event.turn),
                "messages": [message_json(message) for message in event.messages],
            }
        case HistoryChanged():
            return {"version": event.version, "operation": event.operation}
        case Bye():
            return {"reconnect": event.reconnect}
        case _:
            assert_never(event)


def _optional(name: str, value: Any) -> dict[str, Json]:
    return {} if value is None else {name: value}


def _accepted_json(event: TurnAccepted) -> dict[str, Json]:
    turn = event.turn
    value: dict[str, Json] = {
        "turn_id": turn.turn_id,
        "session_id": turn.session_id or None,
        "chat": turn.chat,
        "status": turn.status,
        "created_at": encode_time(turn.created_at),
        "user_message": None if event.user_message is None else message_json(event.user_message),
        "version": event.version,
    }
    if event.position is not None:
        value["position"] = event.position
    if event.eta_s is not None:
        value["eta_s"] = event.eta_s
    return value


def _done_json(event: Done) -> dict[str, Json]:
    value: dict[str, Json] = {
        "turn_id": event.turn_id,
        "status": event.status,
        "finish_reason": event.finish_reason,
        "messages": [message_json(message) for message in event.messages],
        "version": event.version,
    }
    if event.usage is not None:
        value["usage"] = usage_json(event.usage)
    return value


def encode_events(events: Sequence[LogEntry]) -> bytes:
    """Return events as the stores keep them: the JSON of `numbered_json`."""
    return dumps(numbered_json(events))


def numbered_json(events: Sequence[LogEntry]) -> list[Json]:
    """Return the JSON of events with their numbers: entries `[seq, turn_id, name, data]`; a delta's data is its text.

    Deltas of one turn that follow one another are one entry: `[first seq, turn_id, "deltas", texts]`.
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
    """Return the number of the last event in what `numbered_json` returned."""
    seq, _, name, data = entries[-1]
    return int(seq) + (len(data) - 1 if name == _RUN else 0)


def decode_events(data: bytes) -> list[NumberedEvent]:
    """Read what `encode_events` wrote. Raises: ValueError, KeyError on a tampered store."""
    return decode_numbered(loads_stored(data))


def decode_numbered(values: Iterable[Json]) -> list[NumberedEvent]:
    """Read what `numbered_json` returned. Raises: ValueError, KeyError on a tampered store."""
    events: list[NumberedEvent] = []
    for seq, turn_id, name, data in values:
        if name == _RUN:
            events += _decode_run(seq, turn_id, data)
        else:
            events.append(NumberedEvent(seq, turn_id, _EVENT_DECODERS[name](data)))
    return events


def _decode_run(first_seq: int, turn_id: str | None, texts: Json) -> list[NumberedEvent]:
    if not isinstance(texts, list):
        raise ValueError(f"not the texts of deltas: {texts!r:.200}")
    return [NumberedEvent(seq, turn_id, Delta(text)) for seq, text in enumerate(texts, first_seq)]


def _decode_accepted(v: Mapping[str, Json]) -> Event:
    user_message = v["user_message"]
    message = None if user_message is None else decode_message(user_message)
    turn = Turn(
        v["turn_id"],
        v["session_id"] or "",
        v["chat"],
        v["status"],
        None if message is None else message.message_id,
        decode_time(v["created_at"]),
    )
    return TurnAccepted(turn, message, v["version"], v.get("position"), v.get("eta_s"))


def _decode_part_added(v: Mapping[str, Json]) -> Event:
    return PartAdded(v["message_id"], v["part"]["part_id"], decode_part(v["part"]))


def _decode_metadata(v: Mapping[str, Json]) -> Event:
    options = v.get("options")
    return MetadataChanged(v["message_id"], v.get("metadata"), None if options is None else tuple(options))


def _decode_done(v: Mapping[str, Json]) -> Event:
    usage = v.get("usage")
    return Done(
        v["turn_id"],
        v["status"],
        v["finish_reason"],
        tuple(map(decode_message, v["messages"])),
        None if usage is None else Usage(**usage),
        v["version"],
    )


def _decode_snapshot(v: Mapping[str, Json]) -> Event:
    turn = v["turn"]
    return Snapshot(None if turn is None else decode_turn(turn), tuple(map(decode_message, v["messages"])))


_EVENT_DECODERS: Final[Mapping[str, Callable[[Any], Event]]] = {
    "delta": Delta,
    "turn": _decode_accepted,
    "message": lambda v: MessageOpened(v["message_id"], v["role"], v.get("metadata")),
    "replace": lambda v: Replaced(v["text"], v.get("message_id")),
    "reasoning": lambda v: ReasoningDelta(v["text"]),
    "part": _decode_part_added,
    "part_delta": lambda v: PartDelta(v["part_id"], v["text"]),
    "metadata": _decode_metadata,
    "status": lambda v: StatusReported(v.get("text"), v.get("done"), v.get("total")),
    "error": lambda v: Failed(decode_error(v)),
    "done": _decode_done,
    "snapshot": _decode_snapshot,
    "history": lambda v: HistoryChanged(v["version"], v["operation"]),
}
