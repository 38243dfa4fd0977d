"""Checks the options of a developer or operator against the pydantic model that declares them.

Beside its type, a field states in words which values it may have. A wrong value leads to an error of one line. Knows no
particular model.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from chatserve.core.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class MayBe:
    """The values a field may have, in words like "a whole number, 1 or more". Part of the `Annotated` type."""

    text: str


def _require_encodable(text: str) -> str:
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_require_encodable), MayBe("a text")]
"""Text that can be encoded as UTF-8, which excludes lone surrogates."""

_REPR: Final = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 160


def check(model: type[Model], place: str, values: Mapping[str, Any], *, strict: bool) -> Model:
    """Return the model of these values. `place` begins the line of an error. With `strict` no type is converted.

    Raises:
        ConfigurationError: the model does not take a name or a value, or values contradict each other.
    """
    try:
        return model.model_validate(dict(values), strict=strict)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        raise ConfigurationError(f"{place}{fault['ctx']['error']}")
    name = str(fault["loc"][0])
    field = model.model_fields.get(name)
    reason = f"unknown; there are {', '.join(model.model_fields)}" if field is None else f"may be {allowed_of(field)}"
    raise ConfigurationError(f"{place}{name}={shown(values.get(name))}: {reason}")


def shown(value: Any) -> str:
    """Return a value as text for a message: on one line and of limited length."""
    return " ".join(_REPR.repr(value).split())


def allowed_of(field: FieldInfo) -> str:
    """Return in words which values a field may have."""
    for entry in field.metadata:
        if isinstance(entry, MayBe):
            return entry.text
    if field.annotation is bool:
        return "True or False"
    assert typing.get_origin(field.annotation) is Literal, f"{field!r} does not say what it may be"
    return choice_of(map(repr, typing.get_args(field.annotation)))


def choice_of(words: Iterable[str]) -> str:
    """Join words as a choice: `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
