"""`chatserve run` in a process of its own, as a user starts it.

    with serve("examples/slow_echo.py", "--store", "sqlite:////tmp/x/chat.db") as server:
        answer = server.ask("hi")
        server.terminate()

Leaving the block ends the process. An error that leaves the block carries the server's log as a note.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
URL = re.compile(r"http://[\d.\[\]:a-z]+:\d+")
READY_TIMEOUT_S = 30
EXIT_TIMEOUT_S = 30


class ServerFailed(Exception):
    """The server ended, or said nothing, before it was ready."""


@dataclass
class Server:
    """A running server: where it listens, what it has said, and how to end it."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _spoke: threading.Condition = field(default_factory=threading.Condition)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """All that the server has printed so far, both streams."""
        with self._spoke:
            return "".join(self.lines)

    def wait_for_log(self, text: str, timeout_s: float = READY_TIMEOUT_S) -> str:
        """Return the first printed line that contains `text`."""
        return self._wait_for(re.compile(re.escape(text)), timeout_s).string

    def terminate(self) -> int:
        """Ask the server to stop (SIGTERM), wait for its end, return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the server as a crash would (SIGKILL)."""
        return self._end(signal.SIGKILL)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=READY_TIMEOUT_S, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """POST `body` as JSON."""
        if body is not None:
            options["json"] = body
        return httpx2.post(self.url + path, timeout=READY_TIMEOUT_S, **options)

    def ask(self, message: Any, session_id: str | None = None, *, chat: str | None = None, **body: Any) -> Any:
        """Take one whole turn and return the JSON it is answered with; any failure of it is an error."""
        if session_id is not None:
            body["session_id"] = session_id
        response = self.post("/chat" if chat is None else f"/chat/{chat}", {"message": message, **body})
        assert response.status_code == 200, f"{response.status_code}: {response.text}"
        return response.json()

    def _end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(EXIT_TIMEOUT_S)

    def _listen(self) -> None:
        """Collect what the server prints; runs in a thread, as a full pipe would stop the server."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._spoke:
                self.lines.append(line)
                self._spoke.notify_all()
        with self._spoke:
            self.lines.append("")
            self._spoke.notify_all()

    def _wait_for(self, pattern: re.Pattern[str], timeout_s: float) -> re.Match[str]:
        def found() -> re.Match[str] | bool | None:
            match = next(filter(None, map(pattern.search, self.lines)), None)
            return match or bool(self.lines and self.lines[-1] == "")

        with self._spoke:
            outcome = self._spoke.wait_for(found, timeout_s)
        if isinstance(outcome, re.Match):
            return outcome
        why = "ended" if outcome else f"was silent for {timeout_s} s"
        raise ServerFailed(f"the server {why} before it printed {pattern.pattern!r}")


@contextmanager
def serve(
    target: str | Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    command: str = "run",
    python: Path | None = None,
) -> Iterator[Server]:
    """Serve `target` (a file, relative to the repository, or `module:app`) on a free port until the block ends.

    `args` are further options of the command line, `env` is added to the environment (without this process's
    `CHATSERVE_` variables). `cwd` is by default a new folder, which goes with the server, default store included.
    """
    file = ROOT / target
    command_line = ["-m", "chatserve", command, str(file if file.exists() else target), "--port", "0", *args]
    with launch(command_line, env=env, cwd=cwd, python=python) as server:
        yield server


@contextmanager
def launch(
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ready: str = "/health/ready",
    python: Path | None = None,
) -> Iterator[Server]:
    """Run Python with `args`, which must start a server and print its address; wait until `ready` answers 200.

    `python` is another Python than that of the tests.
    """
    with ExitStack() as stack:
        folder = cwd or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatserve-")))
        process = subprocess.Popen(
            [str(python or sys.executable), *args],
            cwd=folder,
            env=_environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Server(process)
        listener = threading.Thread(target=server._listen, daemon=True)
        listener.start()
        try:
            server.url = server._wait_for(URL, READY_TIMEOUT_S).group().replace("0.0.0.0", "127.0.0.1")
            _wait_until_ready(server, ready)
            yield server
        except BaseException as error:
            error.add_note(f"--- log of the server ---\n{server.log}--- end of the log ---")
            raise
        finally:
            _close(server)
            listener.join(EXIT_TIMEOUT_S)
            process.stdout.close()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVE_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **extra}


def _wait_until_ready(server: Server, path: str) -> None:
    """Ask for readiness; the server listens before it prints its address, so that a short wait is enough."""
    transport = httpx2.HTTPTransport(retries=5)
    with httpx2.Client(transport=transport, timeout=READY_TIMEOUT_S) as client:
        response = client.get(server.url + path)
    if response.status_code != 200:
        raise ServerFailed(f"not ready: {response.status_code} {response.text}")


def _close(server: Server) -> None:
    try:
        server.terminate()
    except subprocess.TimeoutExpired:
        server.kill()
