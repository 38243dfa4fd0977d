"""Files that messages name by id: checks that they exist, and takes their details from the store.

Everything a client or chat function states about a file besides its id is ignored. Does not handle bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from chatserve.contracts.store import Store
from chatserve.core.types import FilePart, Message, Part


class Attachments:
    """The files that messages may refer to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, owner: str, file_ids: Sequence[str]) -> tuple[FilePart, ...]:
        """Return the parts that refer to an owner's files. Raises: FileUnknown."""
        if not file_ids:
            return ()
        return tuple(file.part for file in await self._store.get_files(owner, file_ids))

    async def check(self, owner: str, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return a client's messages, with the details of their files from the store. Raises: FileUnknown."""
        file_ids = list(dict.fromkeys(_file_ids(messages)))
        if not file_ids:
            return tuple(messages)
        known = {part.file_id: part for part in await self.find(owner, file_ids)}
        return tuple(replace(message, content=_filled(message.content, known)) for message in messages)


def _file_ids(messages: Iterable[Message]) -> Iterable[str]:
    return (part.file_id for message in messages for part in message.content if isinstance(part, FilePart))


def _filled(content: Sequence[Part], known: Mapping[str, FilePart]) -> tuple[Part, ...]:
    return tuple(known[part.file_id] if isinstance(part, FilePart) else part for part in content)
