"""Core types to and from JSON bytes: the only importer of orjson.

Knows what a message, a session and an event look like in JSON (contract sections 3 and 7); the same JSON is what
clients read and what the stores keep. Knows no HTTP and no SSE framing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, assert_never, cast

import orjson

from chatserve.events import (
    EVENT_NAMES,
    Bye,
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
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
)
from chatserve.types import (
    DataPart,
    Feedback,
    FilePart,
    Json,
    Message,
    Part,
    ReasoningPart,
    Session,
    SourcePart,
    StoredFile,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
    Usage,
)

MAX_DEPTH: Final = 32
_MAX_INT: Final = 2**63 - 1

# --- bytes -------------------------------------------------------------------------------------------------------


def dumps(value: Json) -> bytes:
    """Encode a clean JSON value (see `clean_json`) as UTF-8."""
    return orjson.dumps(value)


def dumps_sorted(value: Json) -> bytes:
    """Encode with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def dumps_indented(value: Json) -> bytes:
    """Encode for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def loads(data: bytes | str, max_depth: int = MAX_DEPTH) -> Json:
    """Decode JSON from outside.

    Raises:
        ValueError: not JSON, lone surrogates, or nested deeper than `max_depth` levels.
    """
    value = orjson.loads(data)
    if _depth_exceeds(value, max_depth):
        raise ValueError(f"nested deeper than {max_depth} levels")
    return value


def loads_stored(data: bytes | str) -> Json:
    """Decode JSON that `dumps` wrote, however deep. Raises: ValueError."""
    return orjson.loads(data)


def _depth_exceeds(value: Json, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def clean_text(text: str) -> str:
    """Replace lone surrogates by U+FFFD, so that every encoder can write the text."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_json(value: Any, depth: int = MAX_DEPTH * 4) -> Json:  # noqa: PLR0911 - one return per kind of value
    """Copy a developer's value as JSON that every encoder can write.

    Keys become str, tuples and sets lists, non-finite numbers null, integers beyond 64 bits floats, bytes text;
    what has no JSON form becomes its `str()`. Deeper than 128 levels is cut to null.
    """
    if isinstance(value, str):
        return clean_text(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_MAX_INT <= value <= _MAX_INT else _clean_float(value)
    if isinstance(value, float):
        return _clean_float(value)
    if depth <= 0:
        return None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean_json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean_json(item, depth - 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return clean_text(str(value))


def _clean_float(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


# --- times -------------------------------------------------------------------------------------------------------


def encode_time(seconds: float) -> str:
    """Return RFC 3339 in UTC with milliseconds: `2026-11-21T12:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def decode_time(text: str) -> float:
    """Return seconds since the epoch, to the millisecond. Raises: ValueError."""
    return round(datetime.fromisoformat(text).timestamp(), 3)


# --- parts and messages ------------------------------------------------------------------------------------------


def part_json(part: Part) -> dict[str, Json]:
    """Return the JSON of one part, `type` first."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ReasoningPart():
            return {"type": "reasoning", "text": part.text}
        case FilePart():
            return {
                "type": "file",
                "file_id": part.file_id,
                "name": part.name,
                "media_type": part.media_type,
                "size": part.size,
                "url": f"/files/{part.file_id}",
            }
        case DataPart():
            return {"type": "data", "data": part.data} | ({"name": part.name} if part.name is not None else {})
        case SourcePart():
            return {"type": "source", "url": part.url} | ({"title": part.title} if part.title is not None else {})
        case ToolCallPart():
            return {
                "type": "tool_call",
                "tool_call_id": part.tool_call_id,
                "name": part.name,
                "arguments": part.arguments,
                "where": part.where,
            }
        case ToolResultPart():
            return {
                "type": "tool_result",
                "tool_call_id": part.tool_call_id,
                "output": part.output,
                "is_error": part.is_error,
            }
        case _:
            assert_never(part)


_PART_DECODERS: Final[Mapping[str, Callable[[Mapping[str, Json]], Part]]] = {
    "text": lambda v: TextPart(v["text"]),
    "reasoning": lambda v: ReasoningPart(v["text"]),
    "file": lambda v: FilePart(v["file_id"], v["name"], v["media_type"], v["size"]),
    "data": lambda v: DataPart(v["data"], v.get("name")),
    "source": lambda v: SourcePart(v["url"], v.get("title")),
    "tool_call": lambda v: ToolCallPart(v["tool_call_id"], v["name"], v["arguments"], v.get("where", "client")),
    "tool_result": lambda v: ToolResultPart(v["tool_call_id"], v["output"], v.get("is_error", False)),
}


def decode_part(value: Mapping[str, Json]) -> Part:
    """Read a part. Raises: ValueError naming what is wrong."""
    try:
        return _PART_DECODERS[value["type"]](value)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message part: {value!r:.200}") from error


def content_json(content: Sequence[Part]) -> Json:
    """Return a string when the content is text only, else a list of parts."""
    if len(content) == 1:
        only = content[0]
        return only.text if isinstance(only, TextPart) else [part_json(only)]
    if all(isinstance(part, TextPart) for part in content):
        return "".join(part.text for part in content if isinstance(part, TextPart))
    return [part_json(part) for part in content]


def decode_content(value: Json) -> tuple[Part, ...]:
    """Read what `content_json` wrote. Raises: ValueError."""
    if isinstance(value, str):
        return (TextPart(value),)
    if not isinstance(value, list):
        raise ValueError(f"content is neither text nor a list of parts: {value!r:.200}")
    return tuple(map(decode_part, value))


def message_json(message: Message) -> dict[str, Json]:
    """Return the JSON of a message (contract section 7)."""
    value: dict[str, Json] = {
        "message_id": message.message_id,
        "turn_id": message.turn_id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": content_json(message.content),
        "created_at": encode_time(message.created_at),
    }
    if message.metadata is not None:
        value["metadata"] = dict(message.metadata)
    if message.options is not None:
        value["options"] = [dict(option) for option in message.options]
    if message.status is not None:
        value["status"] = message.status
    if message.feedback is not None:
        value["feedback"] = feedback_json(message.feedback)
    return value


def feedback_json(feedback: Feedback) -> dict[str, Json]:
    """Return the JSON of a feedback."""
    return {"value": feedback.value} | ({"comment": feedback.comment} if feedback.comment is not None else {})


def decode_message(value: Mapping[str, Json]) -> Message:
    """Read what `message_json` wrote. Raises: ValueError, KeyError."""
    options, feedback = value.get("options"), value.get("feedback")
    return Message(
        message_id=value["message_id"],
        role=value["role"],
        content=decode_content(value["content"]),
        created_at=decode_time(value["created_at"]),
        turn_id=value.get("turn_id"),
        parent_id=value.get("parent_id"),
        metadata=value.get("metadata"),
        options=None if options is None else tuple(options),
        status=value.get("status"),
        feedback=None if feedback is None else Feedback(feedback["value"], feedback.get("comment")),
    )


# --- sessions, turns, files --------------------------------------------------------------------------------------


def session_json(session: Session) -> dict[str, Json]:
    """Return the JSON of a session (contract section 7)."""
    return {
        "session_id": session.session_id,
        "title": session.title,
        "metadata": dict(session.metadata),
        "version": session.version,
        "last_seq": session.last_seq,
        "created_at": encode_time(session.created_at),
        "updated_at": encode_time(session.updated_at),
    } | ({"expires_at": encode_time(session.expires_at)} if session.expires_at is not None else {})


def usage_json(usage: Usage) -> dict[str, Json]:
    """Return the JSON of a usage."""
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def error_json(error: TurnError) -> dict[str, Json]:
    """Return the JSON of a turn's error."""
    return {
        "code": error.code,
        "detail": error.detail,
        "error_id": error.error_id,
        "retryable": error.retryable,
        "status_code": error.status_code,
    }


def decode_error(value: Mapping[str, Json]) -> TurnError:
    """Read what `error_json` wrote."""
    return TurnError(
        value["code"], value["detail"], value["error_id"], value["retryable"], value.get("status_code", 500)
    )


def turn_json(turn: Turn) -> dict[str, Json]:
    """Return the JSON of a turn."""
    value: dict[str, Json] = {
        "turn_id": turn.turn_id,
        "session_id": turn.session_id or None,
        "chat": turn.chat,
        "status": turn.status,
        "user_message_id": turn.user_message_id,
        "created_at": encode_time(turn.created_at),
    }
    if turn.finished_at is not None:
        value["finished_at"] = encode_time(turn.finished_at)
    if turn.usage is not None:
        value["usage"] = usage_json(turn.usage)
    if turn.error is not None:
        value["error"] = error_json(turn.error)
    for name in ("finish_reason", "first_seq", "done_seq", "version"):
        if (field := getattr(turn, name)) is not None:
            value[name] = field
    return value


def decode_turn(value: Mapping[str, Json]) -> Turn:
    """Read what `turn_json` wrote."""
    finished, usage, error = value.get("finished_at"), value.get("usage"), value.get("error")
    return Turn(
        turn_id=value["turn_id"],
        session_id=value["session_id"] or "",
        chat=value["chat"],
        status=value["status"],
        user_message_id=value.get("user_message_id"),
        created_at=decode_time(value["created_at"]),
        finished_at=None if finished is None else decode_time(finished),
        finish_reason=value.get("finish_reason"),
        usage=None if usage is None else Usage(**usage),
        error=None if error is None else decode_error(error),
        first_seq=value.get("first_seq"),
        done_seq=value.get("done_seq"),
        version=value.get("version"),
    )


def file_json(file: StoredFile) -> dict[str, Json]:
    """Return the JSON of a stored file, as an upload answers it."""
    return {
        "id": file.file_id,
        "name": file.name,
        "media_type": file.media_type,
        "size": file.size,
        "url": f"/files/{file.file_id}",
        "created_at": encode_time(file.created_at),
    }


# --- events ------------------------------------------------------------------------------------------------------


def encode_payload(event: Event | Bye) -> bytes:
    """Return the `data` of an event: one line of JSON, U+2028, U+2029 and U+0085 escaped."""
    if type(event) is Delta:  # the hot path: one per token
        data = b'{"text":%b}' % orjson.dumps(event.text)
        return data if event.text.isascii() else _escape_line_ends(data)
    return _escape_line_ends(orjson.dumps(event_json(event)))


def _escape_line_ends(data: bytes) -> bytes:
    """Escape the characters that some line splitters take for line ends. Source: contract section 3."""
    if data.isascii():
        return data
    return (
        data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029").replace(b"\xc2\x85", b"\\u0085")
    )


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
    return (
        {
            "turn_id": event.turn.turn_id,
            "session_id": event.turn.session_id or None,
            "chat": event.turn.chat,
            "status": event.turn.status,
            "created_at": encode_time(event.turn.created_at),
            "user_message": None if event.user_message is None else message_json(event.user_message),
            "version": event.version,
        }
        | _optional("position", event.position)
        | _optional("eta_s", event.eta_s)
    )


def _done_json(event: Done) -> dict[str, Json]:
    return {
        "turn_id": event.turn_id,
        "status": event.status,
        "finish_reason": event.finish_reason,
        "messages": [message_json(message) for message in event.messages],
        "version": event.version,
    } | _optional("usage", None if event.usage is None else usage_json(event.usage))


def encode_events(events: Iterable[NumberedEvent]) -> bytes:
    """Return events as the stores keep them: a JSON array of `[seq, turn_id, name, data]`."""
    return orjson.dumps(numbered_json(events))


def numbered_json(events: Iterable[NumberedEvent]) -> list[Json]:
    """Return the JSON of events with their numbers, `[seq, turn_id, name, data]` each; a delta's data is its text."""
    return [
        (seq, turn_id, "delta", event[0])
        if type(event) is Delta
        else (seq, turn_id, EVENT_NAMES[type(event)], event_json(event))
        for seq, turn_id, event in events
    ]


def decode_events(data: bytes) -> list[NumberedEvent]:
    """Read what `encode_events` wrote. Raises: ValueError, KeyError on a tampered store."""
    return decode_numbered(orjson.loads(data))


def decode_numbered(values: Iterable[Json]) -> list[NumberedEvent]:
    """Read what `numbered_json` returned. Raises: ValueError, KeyError on a tampered store."""
    return [NumberedEvent(seq, turn_id, _EVENT_DECODERS[name](data)) for seq, turn_id, name, data in values]


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


def encode_content(content: Sequence[Part]) -> bytes:
    """Return content as the stores keep it. Reading it back gives equal parts."""
    return orjson.dumps([part_json(part) for part in content])


def decode_stored_content(data: bytes | str) -> tuple[Part, ...]:
    """Read what `encode_content` wrote. Raises: ValueError."""
    return tuple(map(decode_part, cast("list[dict[str, Json]]", orjson.loads(data))))
