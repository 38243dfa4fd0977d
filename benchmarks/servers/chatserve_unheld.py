"""chatserve over the same async function, with every word an event of its own, however fast they come."""

from __future__ import annotations

from benchmarks.servers.chatserve_async import app
from chatserve.engine.log import speech

__all__ = ["app"]

speech.BEAT_S = 0.0  # type: ignore[misc]
