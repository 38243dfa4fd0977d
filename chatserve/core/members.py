"""The members of values in JSON: types that several values share, and the marks for declarations.

A value is declared once, as a class in `types` or `events`. Its stored form, its form in responses, its schema in the
OpenAPI document and its form in imports are all derived from that class, by these rules:

- A field is a member under its own name. A field that defaults to None is omitted while it is None; all others are
  always written.
- Members that are always written come first. Otherwise members have the order of the fields.
- A mark in the field's `Annotated` declares an exception. A property whose type has a mark is written, too.

A `pydantic.Field` in `Annotated` applies to a value everywhere; `Imported` limits values in imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field
from pydantic.fields import FieldInfo

from chatserve.core.frozen import frozen


class Mark(Enum):
    """How a field is written in JSON."""

    INTERNAL = auto()
    """Not a member: the field never leaves the process."""
    EXPORTED = auto()
    """A member only in exports, where it comes last."""
    TIME = auto()
    """Seconds since the epoch, written as RFC 3339."""
    CONTENT = auto()
    """A list of parts, written as a string if it is only text. Exports keep the list."""
    EMPTY_IS_NULL = auto()
    """Text that is written as null if it is empty. In an export it never is."""


@frozen
class Written:
    """A member with another name, with a place after another member, or written as null instead of omitted."""

    name: str | None = None
    after: str | None = None
    is_always_there: bool = False


@frozen
class Within:
    """A field that is written inside another member's value, before that value's own members."""

    member: str


class Inlined:
    """A value whose named members are written as members of the event that holds it.

    `narrowed` gives the types of members that have fewer possible values there.
    """

    def __init__(self, *members: str, **narrowed: Any) -> None:
        self.members = members
        self.narrowed: Mapping[str, Any] = narrowed


@frozen
class Imported:
    """A bound for imports. Values that this server makes are not checked against it."""

    bound: FieldInfo


def _imported(**bounds: Any) -> Imported:
    return Imported(Field(**bounds))


_ID: Final = r"[A-Za-z0-9_-]{1,64}$"

SessionId: TypeAlias = Annotated[str, _imported(pattern=r"^[A-Za-z0-9._-]{1,80}$")]
TurnId: TypeAlias = Annotated[str, _imported(pattern="^t_" + _ID)]
MessageId: TypeAlias = Annotated[str, _imported(pattern="^m_" + _ID)]
FileId: TypeAlias = Annotated[str, _imported(pattern="^f_" + _ID)]
Time: TypeAlias = Annotated[float, Mark.TIME]
Count: TypeAlias = Annotated[int, Field(ge=0), _imported(le=2**53 - 1)]
Version: TypeAlias = Annotated[Count, Field(description="grows with every accepted change of the session")]
Name: TypeAlias = Annotated[str, _imported(max_length=1000)]
