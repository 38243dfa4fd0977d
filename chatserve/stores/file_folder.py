"""The folder that holds uploads and answers' files: `<two letters of the id>/<id>/<name>`, a folder for each file.

The server makes or checks every id before it becomes a folder name, and file names come from `safe_name`, so nothing
outside the folder is ever opened for a client. Knows no owner and no session: the store does.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from anyio import AsyncFile, open_file, to_thread

from chatserve.codec import clean_text
from chatserve.contracts.files import StoredLocally
from chatserve.core.errors import AnswerInvalid, BodyTooLarge, StoreError, StoreFull
from chatserve.core.types import FilePart, LocalFile

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
PIECE_BYTES: Final = 3 * 32 * 1024
MAX_NAME_BYTES: Final = 140
"""Of the usual file systems, eCryptfs has the lowest limit: 143 bytes."""

MAX_SUFFIX_BYTES: Final = 20
INCOMING: Final = ".incoming-"
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FILE_ID: Final = re.compile(r"f_[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A file that is being written, alone in a folder that moves to its final place when it is complete."""

    folder: Path
    file: BinaryIO


class FileFolder:
    """Stored bytes by file id. The first write creates the folder, accessible only for its owner."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._round = _walk(root)
        self._settling = Lock()  # held from the check of an existing file to the change that depends on it

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def path_of(self, file: FilePart) -> str:
        """Return the local path of a file. It ends with the file's name, made safe."""
        return str(self._place(file.file_id) / safe_name(file.name))

    def _place(self, file_id: str) -> Path:
        return self._root / file_id[2:4] / file_id

    async def write(self, file_id: str, name: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> int:
        """Store the bytes of `chunks` and return their number. The file appears whole or not at all.

        Raises:
            BodyTooLarge: there are more than `max_bytes`.
            StoreError: the folder cannot be written.
        """
        incoming = await to_thread.run_sync(self._open_incoming, name)
        size = 0
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise BodyTooLarge(f"the upload is larger than {max_bytes} bytes", max_bytes=max_bytes)
                await to_thread.run_sync(self._append, incoming, chunk)
            await to_thread.run_sync(self._publish, incoming, file_id)
        except BaseException:
            await to_thread.run_sync(_discard, incoming)
            raise
        return size

    async def write_as(self, file_id: str, name: str, content: bytes) -> bool:
        """Store bytes under an id from outside. Return False if the same file is already stored there.

        Raises:
            FileExistsError: another file is stored there; it stays as it is.
            StoreError: the folder cannot be written.
        """
        return await to_thread.run_sync(self._write_as, file_id, name, content)

    def _write_as(self, file_id: str, name: str, content: bytes) -> bool:
        incoming, place = self._open_incoming(name), self._place(file_id)
        try:
            self._append(incoming, content)
            with self._settling:
                try:
                    self._publish(incoming, file_id)
                except FileExistsError:
                    if not _holds(place / safe_name(name), content):
                        raise
                    os.utime(place)  # it is about to get a record, so it must not look like a leftover
                    return False
        finally:
            _discard(incoming)
        return True

    async def open(self, file: FilePart) -> AsyncIterator[bytes]:
        """Open a file and return its bytes in pieces. Their length is a multiple of three, so base64 can be joined.

        Raises:
            FileNotFoundError: the bytes do not exist any more.
        """
        return _read_pieces(await open_file(self.path_of(file), "rb"))

    def id_at(self, path: Path) -> str | None:
        """Return the id of the file stored at a path, "" if no file is stored there, None outside of the folder."""
        try:
            real, root = Path(os.path.realpath(path)), Path(os.path.realpath(self._root))
        except ValueError:  # no path: it has a NUL
            return None
        if not real.is_relative_to(root):
            return None
        steps = real.relative_to(root).parts
        return steps[1] if len(steps) == 3 and FILE_ID.fullmatch(steps[1]) else ""

    async def store_local(self, file_id: str, file: LocalFile, source: BinaryIO, max_bytes: int) -> StoredLocally:
        """Copy a file of an answer from `source`. Raises: AnswerInvalid, StoreError."""
        return await to_thread.run_sync(self._store_local, file_id, file, source, max_bytes)

    def _store_local(self, file_id: str, file: LocalFile, source: BinaryIO, max_bytes: int) -> StoredLocally:
        name = file.name or (file.source.name if isinstance(file.source, Path) else "file")
        incoming, size = self._open_incoming(name), 0
        try:
            for piece in iter(partial(source.read, PIECE_BYTES), b""):
                size += len(piece)
                if size > max_bytes:  # it grew, or tells no size
                    raise AnswerInvalid(f"the file {name!r:.200} of the answer is larger than {max_bytes} bytes")
                self._append(incoming, piece)
            self._publish(incoming, file_id)
        finally:
            _discard(incoming)
        return StoredLocally(name, file.media_type or guess_media_type(name), size)

    def _open_incoming(self, name: str) -> _Incoming:
        with self._disk_errors():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._root, prefix=INCOMING))
            return _Incoming(folder, (folder / safe_name(name)).open("xb"))

    def _append(self, incoming: _Incoming, content: bytes) -> None:
        with self._disk_errors():
            incoming.file.write(content)

    def _publish(self, incoming: _Incoming, file_id: str) -> None:
        """Move a written file to its place. Raises: FileExistsError, StoreError."""
        place = self._place(file_id)
        with self._disk_errors():
            incoming.file.flush()
            os.fsync(incoming.file.fileno())
            incoming.file.close()
            place.parent.mkdir(mode=0o700, exist_ok=True)
            incoming.folder.rename(place)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn errors of the disk into StoreError. Raises: StoreError, FileExistsError (from a rename)."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, "there is a file already", error.filename2) from error
            kind = StoreFull if error.errno in NO_ROOM else StoreError
            raise kind(f"the files folder {str(self._root)!r} cannot be written: {error.strerror}") from error

    async def remove(self, file_ids: Iterable[str], *, written_before: float | None = None) -> None:
        """Unlink files, or only those last written before a time. Missing files are ignored."""
        places = [self._place(file_id) for file_id in file_ids]
        if places:
            await to_thread.run_sync(self._remove, places, written_before)

    def _remove(self, places: Sequence[Path], written_before: float | None) -> None:
        for place in places:
            with self._settling:
                _remove_folder(place, written_before)

    async def next_ids(self, limit: int, *, leftovers_before: float) -> tuple[str, ...]:
        """Return the file ids among the next `limit` entries of the folder; after the last entry, start again.

        Unlinks the leftovers of broken uploads that were last written before `leftovers_before`.
        """
        return await to_thread.run_sync(self._next_ids, limit, leftovers_before)

    def _next_ids(self, limit: int, leftovers_before: float) -> tuple[str, ...]:
        entries = list(islice(self._round, limit))
        if len(entries) < limit:
            self._round = _walk(self._root)
        for entry in entries:
            if entry.name.startswith(INCOMING) and entry.parent == self._root:
                _remove_folder(entry, leftovers_before)
        return tuple(
            entry.name for entry in entries if FILE_ID.fullmatch(entry.name) and entry == self._place(entry.name)
        )


def _discard(incoming: _Incoming) -> None:
    with suppress(OSError):
        incoming.file.close()
    shutil.rmtree(incoming.folder, ignore_errors=True)  # missing if the file was published


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _walk(root: Path) -> Iterator[Path]:
    """Yield the entries of the folder and, after each folder of files, the entries of that folder."""
    with suppress(FileNotFoundError), os.scandir(root) as entries:
        for entry in entries:
            yield root / entry.name
            if len(entry.name) <= 2 and entry.is_dir(follow_symlinks=False):
                with suppress(FileNotFoundError), os.scandir(entry) as files:
                    yield from (root / entry.name / file.name for file in files)


def _remove_folder(folder: Path, written_before: float | None) -> None:
    with suppress(FileNotFoundError):
        if written_before is None or _written_at(folder) < written_before:
            shutil.rmtree(folder)


def _written_at(folder: Path) -> float:
    return max(path.stat(follow_symlinks=False).st_mtime for path in (folder, *folder.iterdir()))


async def _read_pieces(file: AsyncFile[bytes]) -> AsyncIterator[bytes]:
    try:
        while piece := await file.read(PIECE_BYTES):
            yield piece
    finally:
        file.wrapped.close()  # at once: a task that was cancelled cannot wait for a thread


def safe_name(name: str) -> str:
    """Return the name under which a file is stored: one path component, with the suffix kept.

    The result must never change, because paths are computed from it again: so it must not depend on the version of
    Unicode.
    """
    last = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", clean_text(name)).replace("\\", "/").rpartition("/")[2]
    return _shortened(last) if last.strip(" .") else "file"


def _shortened(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = encoded.rpartition(b".")
    kept = dot + suffix if stem and len(suffix) < MAX_SUFFIX_BYTES else b""
    return encoded[: MAX_NAME_BYTES - len(kept)].decode(errors="ignore") + kept.decode()


def guess_media_type(name: str) -> str:
    """Guess the media type from a name."""
    return mimetypes.guess_type(name, strict=False)[0] or DEFAULT_MEDIA_TYPE
