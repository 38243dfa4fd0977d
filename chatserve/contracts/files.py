"""`FileKeeper`: the storage for the bytes of files. Knows no implementation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from chatserve.core.types import (
    FilePart,
    LocalFile,
)


class FileKeeper(Protocol):
    """Stores the bytes of files."""

    def path_of(self, file: FilePart) -> str:
        """Return the local path of a file, which ends in its name. Does not access the disk."""
        ...

    async def store_local(self, file_id: str, file: LocalFile) -> tuple[str, str, int]:
        """Copy a file from an answer; return its name, media type and size. Raises: AnswerInvalid."""
        ...

    async def remove(self, file_ids: Iterable[str], *, written_before: float | None = None) -> None:
        """Unlink files, or only those last written before a time. Files that are already gone are ignored."""
        ...

    async def next_ids(self, limit: int, *, leftovers_before: float) -> tuple[str, ...]:
        """Examine the next `limit` entries of the folder and return the ids of files among them.

        Repeated calls go through all entries in rounds. Leftovers of uploads that broke off before
        `leftovers_before` are unlinked.
        """
        ...
