"""One statement for many rows. Each step of SQLite releases the interpreter's lock and waits to get it back.

Knows no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from sqlite3 import Connection
from typing import Any, Final

MAX_ROWS: Final = 64
"""With 18 columns, this is far below SQLite's limit of parameters."""


class Statement:
    """A statement with rows of parameters: `{rows}` in its text becomes `(?, ?), (?, ?), …`.

    The number of rows in a text is a power of two, and spare rows hold only NULL. So a few texts serve any number of
    rows, and all of them stay prepared. The statement must ignore a row whose first column is NULL. `alone` is a
    cheaper statement for a single row.
    """

    def __init__(self, text: str, columns: int, alone: str | None = None) -> None:
        self._columns = columns
        row = f"({', '.join('?' * columns)})"
        powers = [1 << n for n in range(MAX_ROWS.bit_length())]
        self._texts = {places: text.format(rows=", ".join([row] * places)) for places in powers}
        if alone is not None:
            self._texts[1] = alone

    def prepare(self, db: Connection) -> None:
        """Prepare the statement for any number of rows. It runs on empty rows only and changes nothing."""
        for places, text in self._texts.items():
            db.execute(text, [None] * (self._columns * places)).fetchall()

    def run(self, db: Connection, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Execute the statement for these rows, in order; return the rows it finds, in no particular order."""
        if len(rows) == 1:
            return db.execute(self._texts[1], rows[0]).fetchall()
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(rows), MAX_ROWS):
            taken = rows[start : start + MAX_ROWS]
            places = 1 << (len(taken) - 1).bit_length()
            spare = [None] * (self._columns * (places - len(taken)))
            found += db.execute(self._texts[places], [*chain.from_iterable(taken), *spare]).fetchall()
        return found


def insert(table: str, *columns: str) -> Statement:
    """Return the statement that inserts rows of these columns, the first of which is never NULL."""
    names = ", ".join(columns)
    text = f"INSERT INTO {table} ({names}) SELECT * FROM (VALUES {{rows}}) WHERE column1 IS NOT NULL"  # noqa: S608
    return Statement(text, len(columns))


def update(table: str, key: str, *columns: str) -> Statement:
    """Return the statement that sets these columns; each row begins with the key of the row to change."""
    many = ", ".join(f"{name} = new.column{place}" for place, name in enumerate(columns, 2))
    one = ", ".join(f"{name} = ?{place}" for place, name in enumerate(columns, 2))
    return Statement(
        f"UPDATE {table} SET {many} FROM (VALUES {{rows}}) AS new WHERE {key} = new.column1",  # noqa: S608
        len(columns) + 1,
        alone=f"UPDATE {table} SET {one} WHERE {key} = ?1",  # noqa: S608
    )
