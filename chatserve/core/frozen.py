"""`frozen`: the decorator of the values that data flows down as. Knows none in particular."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Cls = TypeVar("Cls")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[Cls]) -> type[Cls]:
    """Make a class a dataclass with slots, equality and a hash, whose attributes are never assigned.

    The type checker sees to that. Were it checked at run time too, as by `dataclass(frozen=True)`, each attribute would
    be set by a call: five times the price of a value, and a tenth of that of a turn, which is some twenty of them.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
