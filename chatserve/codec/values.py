"""JSON bytes, clean text and clean JSON, times: the only importer of orjson."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from chatserve.core.types import Json

MAX_DEPTH: Final = 64
MAX_CLEAN_DEPTH: Final = 128
MAX_VALUES: Final = 200_000
_MAX_INT: Final = 2**63 - 1


dumps: Final[Callable[[Json], bytes]] = orjson.dumps
"""Encode a clean JSON value (see `clean_json`) as UTF-8. It is orjson's own function, called for every delta."""


def dumps_line(value: Json) -> bytes:
    """Encode as one line, also for parsers that treat more characters as line ends."""
    return escape_line_ends(orjson.dumps(value))


def escape_line_ends(data: bytes) -> bytes:
    """Escape U+2028, U+2029 and U+0085 in JSON, where some line splitters end a line. See docs/stream.md."""
    if data.isascii():
        return data
    return (
        data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029").replace(b"\xc2\x85", b"\\u0085")
    )


def loads(data: bytes | str, max_depth: int = MAX_DEPTH) -> Json:
    """Decode JSON from outside.

    Raises:
        ValueError: the data is not JSON, has lone surrogates, or is nested deeper than `max_depth` levels.
    """
    value = orjson.loads(data)
    if _depth_exceeds(value, max_depth):
        raise ValueError(f"nested deeper than {max_depth} levels")
    return value


def loads_stored(data: bytes | str) -> Json:
    """Decode JSON that `dumps` wrote, at any depth. Raises: ValueError."""
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
    """Replace lone surrogates with U+FFFD, so that every encoder can write the text."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_json(value: Any, depth: int = MAX_CLEAN_DEPTH) -> Json:
    """Copy a developer's value as JSON that every encoder can write.

    Keys become str, tuples and sets lists, models and dataclasses dicts, non-finite numbers null, integers beyond 64
    bits floats, bytes text; a value without a JSON form becomes its `str()`. Values deeper than 128 levels or beyond
    the first 200,000 become null, so that a value that refers to itself comes to an end.

    Raises:
        ValueError: the value contains a pydantic model that cannot be written as JSON.
    """
    return _clean(value, depth, [MAX_VALUES])


def _clean(value: Any, depth: int, left: list[int]) -> Json:
    left[0] -= 1
    if isinstance(value, str):
        return clean_text(str.__str__(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _clean_number(value)
    if depth <= 0 or left[0] <= 0:
        return None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _clean(item, depth - 1, left) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth - 1, left) for item in value]
    if isinstance(value, bytes):
        return clean_text(value.decode("utf-8", "replace"))
    return _clean_object(value, depth, left)


def _clean_object(value: Any, depth: int, left: list[int]) -> Json:
    if not isinstance(value, type):
        if callable(dump := getattr(value, "model_dump", None)):
            return _clean(dump(mode="json"), depth - 1, left)
        if (fields := getattr(value, "__dataclass_fields__", None)) is not None:
            return {name: _clean(getattr(value, name, None), depth - 1, left) for name in fields}
    return clean_text(str(value))


def _clean_number(value: float) -> float | None:
    return int(value) if isinstance(value, int) and -_MAX_INT <= value <= _MAX_INT else _clean_float(value)


def _clean_float(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


@lru_cache(maxsize=256)  # each time of a turn is encoded several times: for readers, journal and log
def encode_time(seconds: float) -> str:
    """Return RFC 3339 in UTC with milliseconds: `2026-11-21T12:00:00.000Z`."""
    second, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_encode_second(second)}.{microseconds // 1000:03}Z"


@lru_cache(maxsize=64)  # times encoded together mostly have the same second
def _encode_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def decode_time(text: str) -> float:
    """Return seconds since the epoch, to the millisecond. Raises: ValueError."""
    return round(datetime.fromisoformat(text).timestamp(), 3)
