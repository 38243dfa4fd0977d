"""The store in one SQLite file: durable, with no other service to run. One process owns the file."""

from chatserve.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
