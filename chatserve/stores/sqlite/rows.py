"""Rows to values and back: a column has the name of the field it holds. Knows no SQL statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeAlias, TypeVar

from chatserve.codec import decode_stored_content, dumps, encode_content, loads_stored
from chatserve.codec.shapes import shape_of
from chatserve.core.types import Feedback, Message, Session, StoredFile, Turn, TurnError, Usage
from chatserve.stores.transitions import TurnPlace

Row: TypeAlias = Sequence[Any]
Value = TypeVar("Value")
Form: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def text(value: Any) -> str:
    """Encode a JSON value."""
    return dumps(value).decode()


def _form_of(cls: type) -> Form:
    shape = shape_of(cls)
    return (lambda value: text(shape.encode(value))), (lambda column: shape.decode(loads_stored(column)))


_OBJECT: Final[Form] = (
    lambda value: text(dict(value)) if value else "{}",  # most are empty
    lambda column: {} if column == "{}" else loads_stored(column),
)
_FORMS: Final[Mapping[str, Form]] = {
    "metadata": _OBJECT,
    "state": _OBJECT,
    "echo": _OBJECT,
    "options": (text, lambda column: tuple(loads_stored(column))),
    "content": (lambda content: encode_content(content).decode(), decode_stored_content),
    "feedback": _form_of(Feedback),
    "usage": _form_of(Usage),
    "error": _form_of(TurnError),
    "follows_head": (int, bool),
}
"""The columns of any table that hold another form of a value, mostly JSON: how to write it, and how to read it."""


class Columns:
    """The columns that a statement writes, in its order. `row` returns their values."""

    def __init__(self, *names: str) -> None:
        self.names = names
        columns = [_in_form(f"value.{name}", name, "write") for name in names]
        self.row: Callable[[object], Row] = _compile(f"lambda value: ({', '.join(columns)})")


def _reader(cls: type[Value], table: str) -> Callable[[Row], Value]:
    """Return the function that reads a value from a row; `table` names all columns, in the order of `schema`."""
    places = table.split()
    arguments = [_in_form(f"row[{places.index(name)}]", name, "read") for name in _names_of(cls)]
    return _compile(f"lambda row: cls({', '.join(arguments)})", cls=cls)


def _in_form(source: str, name: str, way: str) -> str:
    return f"None if (x := {source}) is None else {way}_{name}(x)" if name in _FORMS else source


def _compile(source: str, **names: Any) -> Callable[..., Any]:
    """Return a function made of column names: a loop over the columns would take three times as long."""
    for name, (write, read) in _FORMS.items():
        names |= {f"write_{name}": write, f"read_{name}": read}
    function: Callable[..., Any] = eval(source, names)  # noqa: S307 - made of our own names
    return function


def _names_of(cls: Any) -> list[str]:
    return [field.name for field in fields(cls)]


SESSION: Final = Columns(*_names_of(Session))
SESSION_CHANGES: Final = Columns(
    "session_id", "title", "metadata", "state", "version", "head", "last_seq", "updated_at"
)
SESSION_PROGRESS: Final = Columns("session_id", "version", "head", "last_seq", "updated_at")
MESSAGE: Final = Columns(*_names_of(Message))
FEEDBACK: Final = Columns("message_id", "feedback")
TURN: Final = Columns(*_names_of(Turn))
TURN_END: Final = Columns(
    "turn_id", "status", "finished_at", "finish_reason", "usage", "error", "first_seq", "done_seq", "version"
)
PLACE: Final = Columns(*_names_of(TurnPlace))
FILE: Final = Columns("file_id", "owner", "name", "media_type", "size", "created_at")

_SESSION: Final = "n session_id owner title metadata state version head last_seq created_at updated_at expires_at"
_MESSAGE: Final = "n session_id message_id parent_id turn_id role created_at status feedback metadata options content"
_TURN: Final = (
    "n turn_id session_id chat status user_message_id created_at finished_at finish_reason usage error first_seq"
    " done_seq version follows_head rollback_turn_id base_head answer_end_id echo"
)
_FILE: Final = "n file_id owner name media_type size created_at is_attached session_id"
SESSION_WIDTH: Final = len(_SESSION.split())
"""The number of columns of a session, for rows with more columns after it."""
ANSWER_END: Final = _TURN.split().index("answer_end_id")
"""The column of a turn with the id of the last message of its answer."""

session_of: Final = _reader(Session, _SESSION)
message_of: Final = _reader(Message, _MESSAGE)
turn_of: Final = _reader(Turn, _TURN)
place_of: Final = _reader(TurnPlace, _TURN)
file_of: Final = _reader(StoredFile, _FILE)
"""Reads a `file` row followed by the id of a session that the file belongs to."""
