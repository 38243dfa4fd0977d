"""`frozen` declares classes of immutable values; `replace` copies a value with changes. Knows no particular class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, dataclass_transform

Cls = TypeVar("Cls")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[Cls]) -> type[Cls]:
    """Make a class a dataclass with slots, equality and a hash, whose attributes are never assigned.

    Only the type checker enforces that. `dataclass(frozen=True)` would enforce it at run time too, but sets each
    attribute by a call. That makes a value five times as expensive, which adds a tenth to the cost of a turn with its
    twenty or so values.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(value: Cls, **changes: Any) -> Cls:
        """Return a copy with these changes, like `dataclasses.replace` but in two thirds of the time."""
        return _replacer(type(value))(value, **changes)


def replacer_of(cls: type[Cls]) -> Callable[..., Cls]:
    """Return `replace` for one class: a call with every field, compiled as `dataclasses` compiles `__init__`.

    Called directly, it costs half of `replace`, which looks it up and passes the changes on.
    """
    names = [each.name for each in fields(cast("Any", cls))]
    parameters = ", ".join(f"{name}=_kept" for name in names)
    arguments = ", ".join(f"_value.{name} if {name} is _kept else {name}" for name in names)
    source = f"lambda _value, *, {parameters}: _cls({arguments})"
    replacer: Callable[..., Cls] = eval(source, {"_cls": cls, "_kept": object()})  # noqa: S307 - only field names
    return replacer


_replacer: Final = cache(replacer_of)
