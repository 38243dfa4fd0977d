"""`FileKeeper`: where the bytes of files lie. Knows no implementation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from chatserve.core.types import (
    FilePart,
    LocalFile,
)


class FileKeeper(Protocol):
    """Where the bytes of files lie."""

    def path_of(self, file: FilePart) -> str:
        """Return the local path of a file, which ends in its name; computed, without a look at the disk."""
        ...

    async def store_local(self, file_id: str, file: LocalFile) -> tuple[str, str, int]:
        """Copy a file the chat function answered with; return its name, media type and size. Raises: AnswerInvalid."""
        ...

    async def remove(self, file_ids: Iterable[str], *, written_before: float | None = None) -> None:
        """Unlink files, or those of them that were last written before a time; what is gone already does not matter."""
        ...

    async def next_ids(self, limit: int, *, leftovers_before: float) -> tuple[str, ...]:
        """Look at the next `limit` entries, round after round through all, and return the ids of files among them.

        What uploads left that broke off before a time is unlinked on the way.
        """
        ...
