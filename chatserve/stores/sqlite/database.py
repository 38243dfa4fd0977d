"""The file on disk: which process owns it, and how connections to it are set up. Knows no tables; it migrates them.

SQLite before 3.51.3 may corrupt a file when two connections write or checkpoint at the same time. So exactly one
connection writes and checkpoints, and a lock file keeps other processes away.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final
from weakref import ref

from chatserve.core.errors import ConfigurationError, StoreError, StoreFull
from chatserve.stores.sqlite.schema import migrate

SCHEME: Final = "sqlite:///"
_BUSY_TIMEOUT_S: Final = 5.0
_CACHED_STATEMENTS: Final = 256
_FOR_ALL: Final = ("PRAGMA foreign_keys = ON", "PRAGMA cache_size = -16384", "PRAGMA temp_store = MEMORY")
_CHECKPOINT_PAGES: Final = 4000
"""Sixteen MiB. Every turn rewrites the last pages of the same tables, so rarer checkpoints move fewer pages."""
_FOR_WRITER: Final = (
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {64 * 1024 * 1024}",
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
)
_FOR_READERS: Final = ("PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")


def path_of(url: str) -> Path:
    """Return the file that a store URL names: `sqlite:///relative.db`, `sqlite:////absolute/path.db`.

    Raises:
        ConfigurationError: the URL names no file.
    """
    name = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or name in {"", ":memory:"} or name.endswith("/"):
        raise ConfigurationError(f"store: {url!r} names no file; write sqlite:///chat.db or sqlite:////var/lib/chat.db")
    return Path(name)


class Database:
    """One SQLite file, owned by this process from `open` to `close`. Call both in the thread that writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection that writes. Raises: StoreError if the database is not open."""
        if self._connection is None:
            raise StoreError("the store is closed")
        return self._connection

    def open(self) -> None:
        """Lock the file and bring its schema up to date. Raises: ConfigurationError."""
        self._lock_fd = _lock(self.path)
        os.register_at_fork(after_in_child=partial(_leave_to_parent, ref(self)))
        try:
            _make_private(self.path)
            self._connection = _connect(self.path, _FOR_WRITER)
            self._prepare(self._connection)
        except (OSError, sqlite3.Error, ConfigurationError) as error:
            self.close()
            raise ConfigurationError(f"store: cannot use {str(self.path)!r}: {error}") from None

    def _prepare(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigurationError(f"its file system allows no write-ahead log (journal mode is {mode!r})")
        migrate(db)

    def close(self) -> None:
        """Empty the write-ahead log and release the file. Close the readers first."""
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error:
                pass  # the content of the log is safe there; the next start moves it
            finally:
                self._connection.close()
                self._connection = None
        self.unlock()

    def unlock(self) -> None:
        """Release the lock, or in a forked child this process's share of it."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _leave_to_parent(database: ref[Database]) -> None:
    """Release the lock in a forked child: the child may outlive its parent and would lock the next server out."""
    if (found := database()) is not None:
        found.unlock()


def _make_private(path: Path) -> None:
    """Create a missing file readable only for its owner, because conversations are private."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write and does not checkpoint."""
    return _connect(path, _FOR_READERS)


def _connect(path: Path, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, cached_statements=_CACHED_STATEMENTS, uri=False
    )
    try:
        for pragma in (*_FOR_ALL, *pragmas):
            db.execute(pragma)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _lock(path: Path) -> int:
    """Lock `<file>.lock` and write this process's id to it. The file stays: removing it would race with a new owner."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"store: cannot write {str(lock_path)!r}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        by = f" (process {owner})" if owner else ""
        detail = f"store: {str(path)!r} is in use by another chatserve{by}; one process owns a SQLite store"
        raise ConfigurationError(detail) from None
    os.truncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd


def caller_error(error: BaseException) -> BaseException:
    """Return the error that callers get for one that was raised in a thread: SQLite's own become a `StoreError`."""
    if not isinstance(error, sqlite3.Error):
        return error
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return StoreFull("the disk under the store is full; nothing was changed")
    return StoreError(f"the store failed: {error}; nothing was changed")
