"""The members of values in JSON: types that several values share, and the marks that a declaration carries.

A value is declared once, as a class in `types` or `events`. What is stored, what is answered, the OpenAPI document and
the format of imports are all derived from that class, by these rules:

- A field is a member under its own name. One that defaults to None is left out while it is None, the others are always
  written.
- Members that are always written come first. Otherwise members stand in the order of the fields.
- A mark in the field's `Annotated` says where it differs. A property whose type carries a mark is written too.

A `pydantic.Field` in `Annotated` is true of a value anywhere; `Imported` bounds what an import may say.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field
from pydantic.fields import FieldInfo

from chatserve.core.frozen import frozen


class Mark(Enum):
    """How a field stands in JSON."""

    INTERNAL = auto()
    """No member: it never leaves the process."""
    EXPORTED = auto()
    """A member of exports alone, where it comes last."""
    TIME = auto()
    """Seconds since the epoch, written as RFC 3339."""
    CONTENT = auto()
    """A list of parts, written as a string when it is text only. Exports keep the list."""
    EMPTY_IS_NULL = auto()
    """Text that is written as null when it is empty, which it never is in an export."""


@frozen
class Written:
    """A member with a name of its own, a place behind another member, or one that is null where others are left out."""

    name: str | None = None
    after: str | None = None
    is_always_there: bool = False


@frozen
class Within:
    """A field that is written into the value of another member, before that value's own members."""

    member: str


class Inlined:
    """A value whose members, those named, are written as members of the event that holds it.

    `narrowed` gives the types of members that can have fewer values there.
    """

    def __init__(self, *members: str, **narrowed: Any) -> None:
        self.members = members
        self.narrowed: Mapping[str, Any] = narrowed


@frozen
class Imported:
    """A bound that imports are held to. Values that this server makes are not checked against it."""

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
