"""chatserve over the same async function, with every word an event of its own, however fast they come."""

from __future__ import annotations

from benchmarks.servers.chatserve_async import app
from chatserve.engine import Pace

__all__ = ["app"]

app.pace = Pace(beat_s=0.0)
