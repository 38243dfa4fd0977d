"""A server under test as a process tree: start, readiness, CPU, memory, stop. Linux only: it reads /proc.

Knows commands and ports, not what the server says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

REPOSITORY: Final = Path(__file__).resolve().parent.parent
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
STOP_GRACE_S: Final = 2.0
_AS_INSTALLED: Final = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": ""}
"""What pip installs is compiled beforehand; what is run from this repository must be, too, from its second start on."""


class ServerFailed(Exception):
    """The server did not start, or ended by itself; the message ends with its last line."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server and the load generator may use; None where the machine has too few to divide."""

    server: frozenset[int] | None
    client: frozenset[int] | None

    @classmethod
    def divide(cls) -> Self:
        """Give the first core to the server and the second to the load generator."""
        available = sorted(os.sched_getaffinity(0))
        if len(available) < 2:
            return cls(None, None)
        return cls(frozenset(available[:1]), frozenset(available[1:2]))


class ServerProcess:
    """A started server and all its children: they share a session of the operating system, which finds them."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, cores: Cores) -> None:
        self._output = folder / "output.log"
        with self._output.open("wb") as output, _on_cores(cores):
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **_AS_INSTALLED, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check_alive(self) -> None:
        """Raise ServerFailed if the server has ended."""
        if self._process.poll() is not None:
            lines = self._output.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ServerFailed(f"ended with code {self._process.returncode}: {lines[-1][-300:]}")

    def cpu_s(self) -> float:
        """Return the CPU seconds the tree has used: exact for living processes, in ticks for ended ones."""
        return sum(_process_cpu_s(pid) for pid in self._pids())

    def rss_bytes(self) -> int:
        """Return the resident memory of the tree; pages that processes share count once each."""
        return sum(_rss_bytes(pid) for pid in self._pids())

    def peak_rss_bytes(self) -> int:
        """Return the most memory each process of the tree has had resident, added up."""
        return sum(_peak_rss_bytes(pid) for pid in self._pids())

    def stop(self) -> None:
        """End the tree: politely, then not."""
        for signal_number, grace_s in ((signal.SIGTERM, STOP_GRACE_S), (signal.SIGKILL, STOP_GRACE_S)):
            for pid in self._pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
            if self._await_end(grace_s):
                return

    def _await_end(self, grace_s: float) -> bool:
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            if not self._pids():
                self._process.wait()
                return True
            time.sleep(0.02)
        return False

    def _pids(self) -> list[int]:
        return [pid for pid in _all_pids() if _session_of(pid) == self._process.pid]


def core_busy_s(core: int) -> float:
    """Return the seconds a core has been busy since boot, whoever it worked for; in ticks."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    fields = next(line.split()[1:] for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Tell whether someone accepts connections on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], cores: Cores
) -> Iterator[tuple[ServerProcess, int]]:
    """Start a server in a fresh folder and stop it in the end; yields it and its port.

    `{port}`, `{folder}` and `{servers}` are filled into command and environment.
    """
    with tempfile.TemporaryDirectory(prefix="chatserve-bench-", ignore_cleanup_errors=True) as name:
        port = free_port()
        values = {"port": port, "folder": name, "servers": REPOSITORY / "benchmarks" / "servers"}
        words = [word.format(**values) for word in command]
        server = ServerProcess(words, {k: v.format(**values) for k, v in environment.items()}, Path(name), cores)
        try:
            yield server, port
        finally:
            server.stop()


@contextlib.contextmanager
def _on_cores(cores: Cores) -> Iterator[None]:
    """Start what is started inside on the server's core: a child inherits it before it can start a thread."""
    if cores.server is None or cores.client is None:
        yield
        return
    os.sched_setaffinity(0, cores.server)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores.client)


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """Return /proc/PID/stat from the third field on; empty when the process is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] == "Z" else fields


def _session_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def _process_cpu_s(pid: int) -> float:
    """Return the CPU of a process, its ended threads, and the children it has waited for.

    Linux: the clock id of a process's CPU time is made from its pid (man clock_getcpuclockid).
    """
    fields = _stat(pid)
    if not fields:
        return 0.0
    try:
        own_s = time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
    return own_s + (int(fields[13]) + int(fields[14])) / TICKS_PER_S


def _rss_bytes(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _peak_rss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
