"""A running server under test, with the verbs regimes need: ask, drive, watch its CPU and memory.

Knows the registry's values, the process and the load generator; knows no regime.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from benchmarks.load import Exchange, Load, Tally
from benchmarks.process import Cores, ServerFailed, ServerProcess, core_busy_s, is_listening, running
from benchmarks.responses import Marks
from benchmarks.servers import Server

READY_TIMEOUT_S: Final = 90.0
READY_PROBE_S: Final = 0.01
SETTLE_S: Final = 0.25
"""What a server puts off (batched writes, clean-up) is counted too: its CPU is read this long after the last byte."""

Schedule = Sequence[tuple[float, Iterable[Exchange]]]
"""Clients: when each begins, in seconds, and what it asks."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one drive showed: what the clients counted, and the CPU seconds of the server's tree.

    `foreign_cpu_s` is what the server's core gave to anybody else, the kernel's interrupts included.
    """

    tally: Tally
    server_cpu_s: float
    foreign_cpu_s: float


class Created(NamedTuple):
    """The answer to a POST: its Location header and its JSON."""

    location: str
    value: Any


@dataclass(slots=True)
class Subject:
    """A server that has answered once; `ready_s` is how long that took from its start.

    `failures` counts the answers that went wrong, by what went wrong.
    """

    server: Server
    process: ServerProcess
    port: int
    cores: Cores
    ready_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def stream(self, message: str, tokens: int | None = None) -> Exchange:
        """Return the exchange of a streamed answer of which `tokens` must arrive."""
        request_id = f"bench{next(self._ids)}"
        return Exchange(tuple(e.encode(message, request_id) for e in self.server.dialect.stream), tokens)

    def answer(self, message: str) -> Exchange:
        """Return the exchange of an answer that comes at once."""
        assert self.server.dialect.answer is not None
        return Exchange((self.server.dialect.answer.encode(message, f"bench{next(self._ids)}"),))

    def load(self, *, keep_alive: bool = False, nap_s: float = 0.0) -> Load:
        """Return a load generator that reads as this server speaks."""
        marks = Marks(self.server.dialect.token_mark, self.server.dialect.end_mark)
        return Load(self.port, marks, keep_alive=keep_alive, nap_s=nap_s)

    def drive(
        self, schedule: Schedule, *, keep_alive: bool = False, nap_s: float = 0.0, give_up_s: float = 120.0
    ) -> Observation:
        """Run clients to their end."""
        cpu_before, busy_before = self.process.cpu_s(), self._core_busy_s()
        with self.load(keep_alive=keep_alive, nap_s=nap_s) as load:
            for start_s, exchanges in schedule:
                load.add(exchanges, start_s=start_s)
            tally = load.run(give_up_s=give_up_s)
            tally.failures += ["no end in time"] * load.unfinished
        self.failures.update(tally.failures)
        time.sleep(SETTLE_S)
        cpu_s = self.process.cpu_s() - cpu_before
        return Observation(tally, cpu_s, max(0.0, self._core_busy_s() - busy_before - cpu_s))

    def _core_busy_s(self) -> float:
        return sum(core_busy_s(core) for core in self.cores.server or ())

    def hold(self, exchanges: Sequence[Exchange], *, per_s: int = 500, settle_s: float = 1.5) -> float:
        """Open streams that stay open; return by how many bytes per stream the server has grown."""
        before = self.process.rss_bytes()
        with self.load() as load:
            for n, exchange in enumerate(exchanges):
                load.add([exchange], start_s=n / per_s)
            tally = load.run(give_up_s=len(exchanges) / per_s + settle_s)
            self.failures.update(tally.failures)
            return (self.process.rss_bytes() - before) / len(exchanges)

    def create(self, path: str, value: Any, headers: Mapping[str, str] | None = None) -> Created:
        """Send JSON and return what the server made of it.

        Raises:
            ServerFailed: the status is no success.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = {"Content-Type": "application/json", **(headers or {})}
            connection.request("POST", path, json.dumps(value), content)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise ServerFailed(f"POST {path}: {response.status} {body[:300]!r}")
        return Created(response.headers.get("Location", ""), json.loads(body))


@contextmanager
def started(server: Server, python: str, cores: Cores, *, warming_answers: int = 40) -> Iterator[Subject]:
    """Start a server, wait until it has answered, warm it up with 8 clients; stop it in the end.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    with running((python, *server.command), server.environment, cores) as (process, port):
        subject = Subject(server, process, port, cores)
        subject.ready_s = _await_answer(subject)
        subject.drive([(0.0, _repeat(subject, warming_answers // 8)) for _ in range(8)])
        yield subject


def interpreter(name: str, environment: Mapping[str, str], default: str | None) -> str:
    """Return the Python a server runs with: `BENCH_PYTHON_<NAME>`, or the default for peers, or this one."""
    variable = f"BENCH_PYTHON_{name.upper().replace('-', '_')}"
    if variable in environment:
        return environment[variable]
    return sys.executable if default is None or name.startswith("chatserve") else default


def _repeat(subject: Subject, times: int) -> Iterator[Exchange]:
    for _ in range(times):
        yield subject.stream("tokens=20", 20)


def _await_answer(subject: Subject) -> float:
    """Return the seconds from the start to the end of the first answer."""
    deadline = time.perf_counter() + READY_TIMEOUT_S
    last_failure = "nobody listens"
    while time.perf_counter() < deadline:
        subject.process.check_alive()
        if is_listening(subject.port):
            with subject.load() as load:
                load.add([subject.stream("tokens=2", 2)])
                tally = load.run(give_up_s=10.0)
            if tally.answers and not tally.failures:
                return time.perf_counter() - subject.process.started
            last_failure = "; ".join(tally.failures) or "no end of the answer"
        time.sleep(READY_PROBE_S)
    raise ServerFailed(f"no answer in {READY_TIMEOUT_S:.0f} s: {last_failure}")
