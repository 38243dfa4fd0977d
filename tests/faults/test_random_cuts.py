"""Connections cut at random bytes: a client that comes back with its cursor misses nothing and gets nothing twice."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.app import answer_to
from tests.faults.server import crashable
from tests.faults.told import Listener, Told
from tests.support.http import Cut, address_of, streaming
from tests.support.proxy import Fault, Proxy, open_proxy

CUTS_PER_TURN = 10
PATIENCE_S = 0.2
KINDS = ("close", "close", "close", "reset", "reset", "reset", "stall")


class Reader:
    """A client that reads one turn through a proxy, and comes back after every cut."""

    def __init__(self, proxy: Proxy, source: random.Random, message: str) -> None:
        self.proxy = proxy
        self.random = source
        self.message = message
        self.told = Told()
        self.listener: Listener | None = None
        self.turn_id = ""

    async def read(self) -> str:
        """Start the turn and read it to its end; return the text that has come in deltas, and nothing else."""
        self.proxy.faults.extend(self._fault() for _ in range(CUTS_PER_TURN))
        while self.listener is None or not self.listener.is_at_end:
            try:
                await self._read_once()
            except Cut:
                continue
        self.proxy.faults.clear()
        assert self.listener.has_only_deltas
        return self.listener.text

    def _fault(self) -> Fault:
        kind: Any = self.random.choice(KINDS)
        return Fault(self.random.choice((self.random.randint(0, 600), self.random.randint(0, 6000))), kind)

    async def _read_once(self) -> None:
        options: dict[str, Any] = {"idle_s": PATIENCE_S}
        if self.listener is None:
            body, path = {"message": self.message}, "/chat/deltas"
            options["headers"] = {"Idempotency-Key": self.message.split()[0], "Accept": "text/event-stream"}
        else:
            body, path = None, f"/turns/{self.turn_id}/events"
            cursor = self.listener.cursor
            options["headers"] = {} if cursor is None else {"Last-Event-ID": str(cursor)}
        async with streaming(self.proxy.address, "POST" if body else "GET", path, body, **options) as stream:
            assert stream.status == 200, await stream.response()
            if self.listener is None:
                self.turn_id = stream.headers["x-turn-id"]
                self.listener = Listener(self.told, stream.headers["x-session-id"], self.turn_id)
            async for event in stream.events():
                self.listener.take(event)


@pytest.mark.parametrize(
    ("turns", "cuts"), [(20, 200), pytest.param(100, 2000, marks=[pytest.mark.storm, pytest.mark.timeout(600)])]
)
async def test_no_cut_loses_repeats_or_reorders_a_character(tmp_path: Path, turns: int, cuts: int) -> None:
    source = random.Random(turns)
    taken = 0
    async with crashable(tmp_path) as server, open_proxy(address_of(server.process.url)) as proxy:
        while taken < turns or proxy.cuts < cuts:
            message = f"r{taken} {source.randint(50, 400)} {source.choice((0, 0, 1, 2))}"
            reader = Reader(proxy, source, message)
            assert await reader.read() == answer_to(message)
            (seen,) = reader.told.all_seen()
            assert list(seen) == list(range(1, len(seen) + 1))
            taken += 1
        assert len((await server.ask("GET", "/sessions?limit=1000")).json["items"]) == taken
