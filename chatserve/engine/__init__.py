"""The turn engine: submit, follow, stop.

A turn runs apart from the request that asked for it and writes numbered events to its session's log; whoever wants
to see them follows the log. Knows stores, formats and files only by their contracts, and nothing of HTTP.
"""

from chatserve.engine.cursors import Cursor, Outlet, ended_turn_frames
from chatserve.engine.engine import TICK_S, EngineParts, TurnEngine
from chatserve.engine.readers import Reader
from chatserve.engine.timeouts import Timeouts
from chatserve.engine.turns.turn import RunningTurn

__all__ = [
    "TICK_S",
    "Cursor",
    "EngineParts",
    "Outlet",
    "Reader",
    "RunningTurn",
    "Timeouts",
    "TurnEngine",
    "ended_turn_frames",
]
