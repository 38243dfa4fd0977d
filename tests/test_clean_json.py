"""Developers' values as JSON: each has one obvious form, or none; nothing is ever turned into text by `str()`."""

import enum
import fractions
import io
import uuid
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pydantic
import pytest

from chatserve import File
from chatserve.codec import NoJsonForm, clean_json, has_json_form


class Secret:
    def __repr__(self) -> str:
        raise AssertionError("shown")

    __str__ = __repr__


class Color(enum.Enum):
    RED = "red"
    BOTH = ("red", 1)


class Level(enum.IntEnum):
    HIGH = 3


class Model(pydantic.BaseModel, arbitrary_types_allowed=True):
    when: date = date(2026, 12, 1)
    key: pydantic.SecretStr = pydantic.SecretStr("sk-1")
    extra: Any = None


@dataclass
class Point:
    x: int = 1
    tags: set[str] = field(default_factory=lambda: {"a"})


@attrs.define
class Line:
    length: float = 2.5


Pair = namedtuple("Pair", "left right")

FORMS: dict[str, tuple[Any, Any]] = {
    "enum": (Color.RED, "red"),
    "enum of a tuple": (Color.BOTH, ["red", 1]),
    "int enum": (Level.HIGH, 3),
    "datetime": (datetime(2026, 12, 1, 2, 3, tzinfo=UTC), "2026-12-01T02:03:00+00:00"),
    "date": (date(2026, 12, 1), "2026-12-01"),
    "time": (time(2, 3), "02:03:00"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "decimal": (Decimal("1.10"), "1.10"),
    "pydantic model": (Model(), {"when": "2026-12-01", "key": "**********", "extra": None}),
    "dataclass": (Point(), {"x": 1, "tags": ["a"]}),
    "attrs": (Line(), {"length": 2.5}),
    "named tuple": (Pair(1, 2), [1, 2]),
    "deque, range, frozenset": ([deque([1]), range(2), frozenset({3})], [[1], [0, 1], [3]]),
    "views": ([{"a": 1}.keys(), OrderedDict(a=1)], [["a"], {"a": 1}]),
    "numpy number": (np.float32(0.5), 0.5),
    "numpy bool": (np.bool_(True), True),
    "numpy array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "numpy time": (np.datetime64("2026-12-01"), "2026-12-01"),
    "keys as JSON writes them": (
        {1: "a", 2.5: "b", False: "c", None: "d", Color.RED: "e", date(2026, 1, 1): "f"},
        {"1": "a", "false": "c", "2.5": "b", "null": "d", "red": "e", "2026-01-01": "f"},
    ),
}


@pytest.mark.parametrize(("value", "form"), FORMS.values(), ids=FORMS.keys())
def test_value_with_an_obvious_form_has_it(value: Any, form: Any):
    assert clean_json(value) == form
    assert clean_json({"in": [value]}) == {"in": [form]}
    assert has_json_form(value)


FORMLESS: dict[str, Any] = {
    "object": Secret(),
    "class": Secret,
    "function": lambda: 1,
    "exception": ValueError("sk-1"),
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "path": Path("/etc/passwd"),
    "File": File("/etc/passwd"),
    "generator": (each for each in "ab"),
    "iterator": iter([1]),
    "open file": io.StringIO("x"),
    "namespace": SimpleNamespace(key="sk-1"),
    "complex number": 1j,
    "duration": timedelta(1),
    "fraction": fractions.Fraction(1, 2),
    "module": io,
}
HOLDING: dict[str, Any] = {
    "model with an object": Model(extra=Secret()),
    "model with a path": Model(extra=[{"deep": Path("/etc/passwd")}]),
    "numpy array of objects": np.array([Secret()]),
}


@pytest.mark.parametrize("value", FORMLESS.values(), ids=FORMLESS.keys())
def test_value_without_a_form_is_refused_by_its_place(value: Any):
    assert not has_json_form(value)
    with pytest.raises(NoJsonForm, match=r"has no JSON form \(at \['a'\]\[1\]\['b'\]\)"):
        clean_json({"a": [0, {"b": value}]})
    with pytest.raises(NoJsonForm):
        clean_json({"metadata": Point(x=value)})


@pytest.mark.parametrize("value", [*HOLDING.values(), {Secret(): 1}, {(1, 2): 1}])
def test_value_that_holds_one_without_a_form_is_refused(value: Any):
    with pytest.raises(ValueError, match=r"."):
        clean_json(value)
