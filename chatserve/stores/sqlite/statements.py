"""One statement about many rows: each step of SQLite gives up the interpreter's lock, and waits to have it back.

Knows no tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sqlite3 import Connection
from typing import Any, Final

EXACT_ROWS: Final = 16
"""Up to how many rows one statement takes any number."""

MAX_ROWS: Final = 64
"""Of 18 columns; far below what SQLite takes."""


class Statement:
    """A statement whose text has a place for rows of parameters: `{rows}` becomes `(?, ?), (?, ?), …`.

    More than `EXACT_ROWS` rows are taken in powers of two and a rest, so that few texts serve any number of them, and
    all stay prepared. `alone` is what is cheaper to say about a single row.
    """

    def __init__(self, text: str, columns: int, alone: str | None = None) -> None:
        self._text = text
        self._row = f"({', '.join('?' * columns)})"
        self._texts = {} if alone is None else {1: alone}

    def run(self, db: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Execute the statement for these rows, in order."""
        for taken in _portions(rows):
            db.execute(self._text_for(len(taken)), [value for row in taken for value in row])

    def fetch(self, db: Connection, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return what the statement finds for these rows, in no certain order."""
        found: list[tuple[Any, ...]] = []
        for taken in _portions(rows):
            found += db.execute(self._text_for(len(taken)), [value for row in taken for value in row]).fetchall()
        return found

    def _text_for(self, count: int) -> str:
        text = self._texts.get(count)
        if text is None:
            text = self._texts[count] = self._text.format(rows=", ".join([self._row] * count))
        return text


def _portions(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    start, left = 0, len(rows)
    while left:
        count = left if left <= EXACT_ROWS else min(1 << (left.bit_length() - 1), MAX_ROWS)
        yield rows[start : start + count]
        start, left = start + count, left - count
