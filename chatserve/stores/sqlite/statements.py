"""One statement for many rows. Each step of SQLite releases the interpreter's lock and waits to get it back.

Knows no tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
        self._text = text
        self._columns = columns
        self._row = f"({', '.join('?' * columns)})"
        self._texts = {} if alone is None else {1: alone}

    def prepare(self, db: Connection) -> None:
        """Prepare the statement for any number of rows. It runs on empty rows only and changes nothing."""
        places = 2 if 1 in self._texts else 1
        while places <= MAX_ROWS:
            db.execute(self._text_for(places), [None] * (self._columns * places)).fetchall()
            places *= 2

    def run(self, db: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Execute the statement for these rows, in order."""
        for text, parameters in self._portions(rows):
            db.execute(text, parameters)

    def fetch(self, db: Connection, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return the rows that the statement finds, in no particular order."""
        found: list[tuple[Any, ...]] = []
        for text, parameters in self._portions(rows):
            found += db.execute(text, parameters).fetchall()
        return found

    def _portions(self, rows: Sequence[Sequence[Any]]) -> Iterable[tuple[str, Sequence[Any]]]:
        return [(self._text_for(1), rows[0])] if len(rows) == 1 else self._many_portions(rows)

    def _many_portions(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
        for start in range(0, len(rows), MAX_ROWS):
            taken = rows[start : start + MAX_ROWS]
            places = 1 << (len(taken) - 1).bit_length()
            parameters = [value for row in taken for value in row]
            parameters += [None] * (self._columns * (places - len(taken)))
            yield self._text_for(places), parameters

    def _text_for(self, places: int) -> str:
        text = self._texts.get(places)
        if text is None:
            text = self._texts[places] = self._text.format(rows=", ".join([self._row] * places))
        return text
