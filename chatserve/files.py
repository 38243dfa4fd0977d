"""The folder where uploads and answers' files lie, each under its id. Knows no owner and no session: the store does.

Names come from ids made here, never from a client; nothing outside the folder is ever opened for a client.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from anyio import AsyncFile, open_file, to_thread

from chatserve.errors import AnswerInvalid, BodyTooLarge, StoreError
from chatserve.types import LocalFile

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
PIECE_BYTES: Final = 3 * 32 * 1024


class FileFolder:
    """Stored bytes by file id. The folder is made when it is first written to, for its owner's eyes only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def path_of(self, file_id: str) -> str:
        """Return the local path of a file; ids are made by the server and safe as names."""
        return str(self._root / file_id[2:4] / file_id)

    async def write(self, file_id: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> int:
        """Store what `chunks` brings and return its size. The file appears whole or not at all.

        Raises:
            BodyTooLarge: more than `max_bytes` came.
            StoreError: the folder cannot be written.
        """
        temporary = await to_thread.run_sync(self._open_temporary)
        size = 0
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise BodyTooLarge(f"the upload is larger than {max_bytes} bytes", max_bytes=max_bytes)
                await to_thread.run_sync(os.write, temporary[0], chunk)
            await to_thread.run_sync(self._publish, temporary, file_id)
        except BaseException:
            await to_thread.run_sync(_discard, temporary)
            raise
        return size

    async def write_as(self, file_id: str, content: bytes) -> bool:
        """Store bytes under an id that came from outside; False when the very same bytes lie there already.

        Raises:
            FileExistsError: other bytes lie there. They are left alone.
            StoreError: the folder cannot be written.
        """
        return await to_thread.run_sync(self._write_as, file_id, content)

    def _write_as(self, file_id: str, content: bytes) -> bool:
        temporary = self._open_temporary()
        target = Path(self.path_of(file_id))
        try:
            with os.fdopen(os.dup(temporary[0]), "wb") as file:
                file.write(content)
            os.fsync(temporary[0])
            target.parent.mkdir(mode=0o700, exist_ok=True)
            target.hardlink_to(temporary[1])
        except FileExistsError:
            if target.read_bytes() != content:
                raise
            return False
        finally:
            _discard(temporary)
        return True

    async def open(self, file_id: str) -> AsyncIterator[bytes]:
        """Open a file and return its bytes in pieces of a length that is a multiple of three: base64 can be joined.

        Raises:
            FileNotFoundError: its bytes are gone.
        """
        return _read_pieces(await open_file(self.path_of(file_id), "rb"))

    async def store_local(self, file_id: str, file: LocalFile) -> tuple[str, str, int]:
        """Copy a file the chat function answered with; return its name, media type and size.

        Raises:
            AnswerInvalid: there is no such file.
        """
        return await to_thread.run_sync(self._store_local, file_id, file)

    def _store_local(self, file_id: str, file: LocalFile) -> tuple[str, str, int]:
        temporary = self._open_temporary()
        try:
            if isinstance(file.source, bytes):
                os.write(temporary[0], file.source)
            else:
                with file.source.open("rb") as source, os.fdopen(os.dup(temporary[0]), "wb") as target:
                    shutil.copyfileobj(source, target)
            size = os.fstat(temporary[0]).st_size
            self._publish(temporary, file_id)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            _discard(temporary)
            raise AnswerInvalid(f"the answer names a file that cannot be read: {file.source!r:.200}") from error
        name = file.name or (file.source.name if isinstance(file.source, Path) else "file")
        return name, file.media_type or guess_media_type(name), size

    def _open_temporary(self) -> tuple[int, str]:
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.mkstemp(dir=self._root, prefix=".incoming-")
        except OSError as error:
            raise StoreError(f"the files folder {str(self._root)!r} cannot be written: {error.strerror}") from error

    def _publish(self, temporary: tuple[int, str], file_id: str) -> None:
        descriptor, path = temporary
        os.fsync(descriptor)
        os.close(descriptor)
        target = Path(self.path_of(file_id))
        target.parent.mkdir(mode=0o700, exist_ok=True)
        Path(path).replace(target)

    async def remove(self, file_ids: Iterable[str]) -> None:
        """Unlink files; those that are gone already do not matter."""
        paths = [Path(self.path_of(file_id)) for file_id in file_ids]
        if paths:
            await to_thread.run_sync(_unlink_all, paths)


def _discard(temporary: tuple[int, str]) -> None:
    descriptor, path = temporary
    try:
        os.close(descriptor)
    except OSError:
        return  # published already
    Path(path).unlink(missing_ok=True)


async def _read_pieces(file: AsyncFile[bytes]) -> AsyncIterator[bytes]:
    async with file:
        while piece := await file.read(PIECE_BYTES):
            yield piece


def _unlink_all(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def guess_media_type(name: str) -> str:
    """Return the media type a name suggests."""
    return mimetypes.guess_type(name, strict=False)[0] or DEFAULT_MEDIA_TYPE
