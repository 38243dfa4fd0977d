"""JSON bytes, clean text and clean JSON, times: the only importer of orjson."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from chatserve.types import (
    Json,
)

MAX_DEPTH: Final = 32
_MAX_INT: Final = 2**63 - 1


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


def encode_time(seconds: float) -> str:
    """Return RFC 3339 in UTC with milliseconds: `2026-11-21T12:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def decode_time(text: str) -> float:
    """Return seconds since the epoch, to the millisecond. Raises: ValueError."""
    return round(datetime.fromisoformat(text).timestamp(), 3)
