"""Kill -9 at random under load: nothing accepted is lost, nothing happens twice, no turn is left half done."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.audit import Audit
from tests.faults.load import Load
from tests.faults.server import CrashableServer, crashable

CLIENTS = 12
PAUSE_S = (0.05, 0.8)
MAX_MESSAGES = 60
JOURNALED_WITHIN_S = 0.5
"""The promise is 50 ms of a healthy machine; one that runs tests may stall for ten times as long."""


class Storm:
    """A load, and the crashes that befall its server."""

    def __init__(self, server: CrashableServer, seed: int, *, margin_s: float) -> None:
        self.server = server
        self.load = Load(server, seed)
        self.audit = Audit(server, self.load.told, margin_s=margin_s)
        self.random = random.Random(seed)

    async def rage(self, kills: int) -> None:
        """Kill and restart so many times under load, checking everything each time."""
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(self.load.run(CLIENTS))
            for _ in range(kills):
                await asyncio.sleep(self.random.uniform(*PAUSE_S))
                await self.server.kill()
                self.server.check_file()
                await self.server.start()
                await self._examine()
                self.server.is_up.set()
            talking.cancel()

    async def _examine(self) -> None:
        """Check all sessions, and leave those alone that have grown long."""
        for session_id, document in (await self.audit.check()).items():
            if len(document.messages) > MAX_MESSAGES or session_id not in self.load.sessions:
                self.load.told.forget(session_id, set(document.turns))
                if session_id in self.load.sessions:
                    self.load.sessions.remove(session_id)


@pytest.mark.parametrize(
    ("durability", "kills"),
    [
        pytest.param("turns", 20, marks=pytest.mark.timeout(180)),
        pytest.param("events", 10, marks=pytest.mark.timeout(180)),
        pytest.param("turns", 200, marks=[pytest.mark.storm, pytest.mark.timeout(900)]),
        pytest.param("events", 100, marks=[pytest.mark.storm, pytest.mark.timeout(900)]),
    ],
)
async def test_no_crash_loses_repeats_or_halves_anything(tmp_path: Path, durability: str, kills: int) -> None:
    margin_s = 0.0 if durability == "events" else JOURNALED_WITHIN_S
    async with crashable(tmp_path, "--durability", durability) as server:
        storm = Storm(server, seed=kills, margin_s=margin_s)
        await storm.rage(kills)
    assert storm.load.counts.keys() >= {"send", "retry", "undo"}
    assert storm.audit.interrupted > 0
