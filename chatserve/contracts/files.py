"""`FileKeeper`: the storage for the bytes of files. Knows no implementation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from chatserve.core.types import (
    FilePart,
    LocalFile,
)


class StoredLocally(NamedTuple):
    """What is known of a file of an answer when it is stored; `size` is in bytes."""

    name: str
    media_type: str
    size: int


class FileKeeper(Protocol):
    """Stores the bytes of files."""

    def path_of(self, file: FilePart) -> str:
        """Return the local path of a file, which ends in its name. Does not access the disk."""
        ...

    def id_at(self, path: Path) -> str | None:
        """Return the id of the file stored at a path, "" if no file is stored there, None outside of the folder.

        Blocks.
        """
        ...

    async def store_local(self, file_id: str, file: LocalFile, source: BinaryIO, max_bytes: int) -> StoredLocally:
        """Copy a file of an answer from `source`, which is left open.

        Raises:
            AnswerInvalid: it has more than `max_bytes`.
            StoreError: the folder cannot be written.
        """
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
