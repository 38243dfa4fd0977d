"""Core types to and from JSON bytes. What clients read and what the stores keep is the same JSON.

Knows what a message, a session and an event look like (contract sections 3 and 7); knows no HTTP and no SSE framing.
"""

from chatserve.codec.event_log import (
    decode_events,
    decode_numbered,
    encode_events,
    encode_payload,
    event_json,
    numbered_json,
)
from chatserve.codec.messages import (
    content_json,
    decode_content,
    decode_message,
    decode_part,
    decode_stored_content,
    encode_content,
    feedback_json,
    message_json,
    part_json,
)
from chatserve.codec.records import (
    decode_error,
    decode_turn,
    error_json,
    file_json,
    session_json,
    turn_json,
    usage_json,
)
from chatserve.codec.values import (
    MAX_DEPTH,
    clean_json,
    clean_text,
    decode_time,
    dumps,
    dumps_indented,
    dumps_line,
    dumps_sorted,
    encode_time,
    escape_line_ends,
    loads,
    loads_stored,
)

__all__ = [
    "MAX_DEPTH",
    "clean_json",
    "clean_text",
    "content_json",
    "decode_content",
    "decode_error",
    "decode_events",
    "decode_message",
    "decode_numbered",
    "decode_part",
    "decode_stored_content",
    "decode_time",
    "decode_turn",
    "dumps",
    "dumps_indented",
    "dumps_line",
    "dumps_sorted",
    "encode_content",
    "encode_events",
    "encode_payload",
    "encode_time",
    "error_json",
    "escape_line_ends",
    "event_json",
    "feedback_json",
    "file_json",
    "loads",
    "loads_stored",
    "message_json",
    "numbered_json",
    "part_json",
    "session_json",
    "turn_json",
    "usage_json",
]
