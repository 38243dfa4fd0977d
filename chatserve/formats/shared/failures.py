"""The status of a failed turn in protocols that have no 422, for the wire formats that share it."""

from __future__ import annotations

from chatserve.core.types import TurnError


def status_of_failure(error: TurnError) -> int:
    """Return the status: the error's own, or 400 for a `ChatError` that names none.

    Some clients repeat a request that is answered with 422, and the function would run again.
    """
    return error.status_code if error.has_own_status else 400
