"""Operations on keys of requests that create something other than a turn. Each runs in a transaction of its own."""

from __future__ import annotations

from sqlite3 import Connection

from chatserve.contracts.turns import Idempotency
from chatserve.stores import refusals
from chatserve.stores.sqlite import tables


def claim_key(db: Connection, owner: str, idempotency: Idempotency, made_id: str, *, now: float) -> str | None:
    """Bind a key to the id of what is about to be made. Raises: see `Store.claim_key`."""
    row = db.execute(
        "SELECT body_hash, COALESCE(made_id, turn_id) FROM idempotency WHERE owner = ? AND key = ? AND expires_at > ?",
        (owner, idempotency.key, now),
    ).fetchone()
    if row is not None:
        refusals.check_key(idempotency, row[0])
        return str(row[1])
    if tables.has_session(db, made_id):
        raise refusals.session_exists(made_id)
    tables.save_key(db, owner, idempotency, made_id=made_id)
    return None
