"""The store in one SQLite file: durable, without another service to run. One process owns the file."""

from chatserve.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
