"""Which session a client of another protocol means: ids as the server gives them, or keys of the client's own.

A key is text: the id of a conversation in a front end, the hash a client library drew. Where clients may choose ids
(with auth, in development, by setting), a key that can be an id is the id, so that every format and the native API meet
in one session. Elsewhere it stands for a session of its format's own, whose id is derived: it opens nothing that was
made another way.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256

from chatserve.routes.http.given import CLIENT_SESSION_ID, SERVER_SESSION_ID
from chatserve.settings import Settings


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """A session's id, and whether its first use makes it."""

    session_id: str
    is_made_on_use: bool


def place_of(key: str, *, format_name: str, owner: str, settings: Settings) -> SessionPlace:
    """Return which session a key means."""
    if SERVER_SESSION_ID.fullmatch(key):
        return SessionPlace(key, is_made_on_use=False)
    is_free = bool(settings.allow_client_session_ids or settings.debug or owner)
    if is_free and CLIENT_SESSION_ID.fullmatch(key):
        return SessionPlace(key, is_made_on_use=True)
    digest = sha256("\0".join((format_name, owner, key)).encode("utf-8", "replace")).digest()
    return SessionPlace(f"s_{urlsafe_b64encode(digest[:18]).decode()}", is_made_on_use=True)
