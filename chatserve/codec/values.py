"""JSON bytes, clean text and clean JSON, times: the only importer of orjson."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime, time
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final

import orjson

from chatserve.core.types import File, Json, LocalFile

MAX_DEPTH: Final = 64
MAX_CLEAN_DEPTH: Final = 128
MAX_VALUES: Final = 200_000
_MAX_INT: Final = 2**63 - 1
_LISTS: Final = (list, tuple, Set, deque, range)
_PLAIN: Final = (str, int, float, Mapping, *_LISTS, Enum, date, time, type(None))
_RECORDS: Final = ("model_dump", "__dataclass_fields__", "__attrs_attrs__")
_FILES: Final = (File, LocalFile, PurePath, bytes, bytearray, memoryview)
_TEXT_LIKE: Final = frozenset({("uuid", "UUID"), ("decimal", "Decimal")})


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


class NoJsonForm(ValueError):
    """A value that JSON cannot carry. `place` are the keys and indices that lead to it."""

    def __init__(self, value: Any, hint: str = "") -> None:
        super().__init__()
        self.kind = value.__name__ if isinstance(value, type) else type(value).__name__
        self.hint = hint
        self.place: tuple[Json, ...] = ()

    def __str__(self) -> str:
        at = "".join(f"[{step!r:.80}]" for step in self.place)
        return f"a value of type {self.kind} has no JSON form{at and f' (at {at})'}{self.hint}"


def clean_json(value: Any, depth: int = MAX_CLEAN_DEPTH) -> Json:
    """Copy a developer's value as JSON that every encoder can write.

    Sequences and sets become lists, models and dataclasses dicts, enums their values, numpy's numbers and arrays what
    their `tolist` gives, times ISO 8601, UUIDs and decimals text; keys become text as in JSON. Non-finite numbers
    become null, integers beyond 64 bits floats. Values deeper than 128 levels or beyond the first 200,000 become null,
    so that a value that refers to itself comes to an end. Nothing else is turned into text: neither `str()` nor
    `repr()` of an object is ever called.

    Raises:
        NoJsonForm: the value holds one without a JSON form: bytes, a path, an exception, an object.
        ValueError: a pydantic model in it cannot be written as JSON.
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
        return {_clean_key(key): _clean_at(key, item, depth - 1, left) for key, item in value.items()}
    if isinstance(value, _LISTS):
        return [_clean_at(number, item, depth - 1, left) for number, item in enumerate(value)]
    return _clean_object(value, depth, left)


def _clean_at(place: Any, value: Any, depth: int, left: list[int]) -> Json:
    try:
        return _clean(value, depth, left)
    except NoJsonForm as error:
        error.place = (_clean_key(place) if isinstance(place, str) else place, *error.place)
        raise


def _clean_key(key: Any) -> str:
    """Return a key as JSON writes it."""
    if isinstance(key, str):
        return clean_text(str.__str__(key))
    cleaned = _clean(key, 1, [MAX_VALUES])
    if isinstance(cleaned, dict | list):
        raise NoJsonForm(key, "; keys may be text and numbers")
    return cleaned if isinstance(cleaned, str) else orjson.dumps(cleaned).decode()


def _clean_object(value: Any, depth: int, left: list[int]) -> Json:
    if isinstance(value, type):
        raise NoJsonForm(value)
    if isinstance(value, Enum):
        return _clean(value.value, depth - 1, left)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, _FILES):
        raise NoJsonForm(value, "; a file is content of a message, not data")
    if is_record(value):
        return _clean_record(value, depth, left)
    if _is_array(value):
        return _clean(value.tolist(), depth - 1, left)
    if _is_text_like(value):
        return str(value)
    raise NoJsonForm(value)


def _clean_record(value: Any, depth: int, left: list[int]) -> Json:
    if _is_declared(value, "model_dump"):
        dump = value.model_dump
        _require_no_path(dump())
        return _clean(dump(mode="json"), depth - 1, left)
    fields = getattr(value, "__dataclass_fields__", None)
    names = fields or [attribute.name for attribute in getattr(type(value), "__attrs_attrs__", ())]
    return {name: _clean_at(name, getattr(value, name, None), depth - 1, left) for name in names}


def has_json_form(value: object) -> bool:
    """Whether `clean_json` can write a value, but for what is in it."""
    if isinstance(value, _PLAIN):
        return True
    is_object = not isinstance(value, type | PurePath | File | LocalFile)
    return is_object and (is_record(value) or _is_array(value) or _is_text_like(value))


def is_record(value: object) -> bool:
    """Whether a value has named fields: a pydantic model, an instance of a dataclass or of an attrs class."""
    return not isinstance(value, type) and any(_is_declared(value, name) for name in _RECORDS)


def _is_declared(value: object, name: str) -> bool:
    """Whether the class of a value has an attribute; an object that makes attributes up has any."""
    return any(name in vars(base) for base in type(value).__mro__)


def _is_array(value: object) -> bool:
    """Whether a value is a number or an array of numpy, or of a library that follows it."""
    return _is_declared(value, "dtype") and _is_declared(value, "tolist")


def _is_text_like(value: object) -> bool:
    """Whether a value is a UUID or a `Decimal`, whose only form in JSON is text."""
    return any((base.__module__, base.__name__) in _TEXT_LIKE for base in type(value).__mro__)


def _require_no_path(value: Any) -> None:
    """Refuse a path in a model's fields, which the model itself would write as text. Raises: NoJsonForm."""
    if isinstance(value, PurePath):
        raise NoJsonForm(value, "; a file is content of a message, not data")
    if isinstance(value, dict | list | tuple | set):
        for item in value.values() if isinstance(value, dict) else value:
            _require_no_path(item)


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
