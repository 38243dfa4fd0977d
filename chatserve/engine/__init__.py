"""The turn engine: submit, follow, stop.

A turn runs independently of the request that started it and writes numbered events to its session's log; readers follow
the log. Knows stores, formats and files only by their contracts; knows no HTTP.
"""

from chatserve.engine.cursors import Cursor, Outlet
from chatserve.engine.engine import TurnEngine
from chatserve.engine.pace import Pace
from chatserve.engine.parts import EngineParts
from chatserve.engine.readers import Reader
from chatserve.engine.timeouts import Timeouts
from chatserve.engine.turns.turn import RunningTurn

__all__ = ["Cursor", "EngineParts", "Outlet", "Pace", "Reader", "RunningTurn", "Timeouts", "TurnEngine"]
