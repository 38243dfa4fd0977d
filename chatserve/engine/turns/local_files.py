"""Opens the files that answers name by their path. Its functions block: call them in a thread.

A path that the developer made (`pathlib.Path`, `File`) leads to any regular file. A path in plain data may have come
from a client, so it leads only to files below the folders of `allowed_paths`, and no symbolic link on its way is
followed. The store's own files are never opened so. Nothing but a regular file is ever opened: no device, no pipe.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from chatserve.core.configuration import shown
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import LocalFile

_READ: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_FILE: Final = _READ | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_FOLDER: Final = _READ | getattr(os, "O_DIRECTORY", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


class LocalFiles:
    """The files of this machine that answers may name. `allowed` are the folders for paths in plain data.

    `store_file` is the file of the store; it is hidden, and so is all beside it whose name begins like its name.
    """

    def __init__(self, allowed: Sequence[str], store_file: str | None) -> None:
        self._roots = [(_absolute(Path(path)), Path(os.path.realpath(path))) for path in allowed]
        self._hidden = None if store_file is None else os.path.realpath(store_file)

    def open(self, file: LocalFile, max_bytes: int) -> BinaryIO:
        """Open a file for reading.

        Raises:
            AnswerInvalid: it may not be opened, is no regular file, cannot be read, or is too large.
        """
        if isinstance(file.source, bytes):
            _check_size(len(file.source), max_bytes)
            return io.BytesIO(file.source)
        try:
            opened = self._open_named(file.source) if file.is_named else _open_file(file.source)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AnswerInvalid(f"the answer names the file {shown(str(file.source))}: {reason}") from error
        try:
            _check_size(os.fstat(opened.fileno()).st_size, max_bytes)
        except AnswerInvalid:
            opened.close()
            raise
        return opened

    def _open_named(self, path: Path) -> BinaryIO:
        """Open a file below an allowed folder. Raises: AnswerInvalid, OSError, ValueError."""
        whole = _absolute(path)
        for given, real in self._roots:
            root = next((root for root in (given, real) if whole.is_relative_to(root)), None)
            steps = whole.relative_to(root).parts if root is not None else ()
            if steps and not (self._hidden and str(real.joinpath(*steps)).startswith(self._hidden)):
                return _open_below(real, steps)
        raise AnswerInvalid(
            f"the answer names the file {shown(str(path))} in plain data, and it is below no folder of the setting "
            "allowed_paths; add its folder there, or answer with pathlib.Path(…) if the path is your own"
        )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise AnswerInvalid(
            f"a file of the answer has {size} bytes, more than the setting max_answer_file_bytes={max_bytes}"
        )


def _open_below(root: Path, steps: Sequence[str]) -> BinaryIO:
    """Open a file below a folder, one step after the other, so that no link leads out of it, however it changes."""
    if os.open not in os.supports_dir_fd:  # Windows
        whole = Path(os.path.realpath(root.joinpath(*steps)))
        if not whole.is_relative_to(root):
            raise AnswerInvalid(f"the answer names the file {shown(str(whole))} outside of {shown(str(root))}")
        return _open_file(whole)
    folder = os.open(root, _FOLDER)
    try:
        for step in steps[:-1]:
            inner = os.open(step, _FOLDER | _NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _open_file(steps[-1], folder)
    finally:
        os.close(folder)


def _open_file(path: Path | str, folder: int | None = None) -> BinaryIO:
    """Open a regular file; in a folder, no link. Raises: AnswerInvalid for anything else; OSError, ValueError."""
    follows = folder is None
    _require_regular(os.stat(path, dir_fd=folder, follow_symlinks=follows), path)  # opening a device may have effects
    opened = os.fdopen(os.open(path, _FILE | (0 if follows else _NO_LINK), dir_fd=folder), "rb")
    try:
        _require_regular(os.fstat(opened.fileno()), path)
    except AnswerInvalid:
        opened.close()
        raise
    return opened


def _require_regular(found: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AnswerInvalid(f"the answer names {shown(str(path))}, which is no regular file")
