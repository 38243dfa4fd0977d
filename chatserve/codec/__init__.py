"""Conversion of core types to and from JSON bytes. Clients and stores get the same JSON.

Derives the form of values from their declarations; knows no HTTP and no SSE framing.
"""

from chatserve.codec.event_log import (
    decode_events,
    decode_numbered,
    encode_events,
    encode_payload,
    event_json,
    last_number,
    numbered_json,
)
from chatserve.codec.records import (
    EXPORTED_SESSION,
    decode_file,
    decode_message,
    decode_stored_content,
    decode_turn,
    encode_content,
    file_json,
    message_json,
    session_json,
    turn_json,
    usage_json,
)
from chatserve.codec.shapes import decode_part, part_json
from chatserve.codec.values import (
    MAX_DEPTH,
    NoJsonForm,
    clean_json,
    clean_text,
    dumps,
    dumps_line,
    encode_time,
    escape_line_ends,
    has_json_form,
    is_record,
    loads,
    loads_stored,
)

__all__ = [
    "EXPORTED_SESSION",
    "MAX_DEPTH",
    "NoJsonForm",
    "clean_json",
    "clean_text",
    "decode_events",
    "decode_file",
    "decode_message",
    "decode_numbered",
    "decode_part",
    "decode_stored_content",
    "decode_turn",
    "dumps",
    "dumps_line",
    "encode_content",
    "encode_events",
    "encode_payload",
    "encode_time",
    "escape_line_ends",
    "event_json",
    "file_json",
    "has_json_form",
    "is_record",
    "last_number",
    "loads",
    "loads_stored",
    "message_json",
    "numbered_json",
    "part_json",
    "session_json",
    "turn_json",
    "usage_json",
]
