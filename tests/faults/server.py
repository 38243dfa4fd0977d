"""`chatserve run` on one SQLite file: killed, restarted at the same address, its file examined in between."""

import asyncio
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from tests.support.http import Address, Response, request
from tests.support.programs import UNMEASURED
from tests.support.server import Server, serve

APP = "tests/faults/app.py"


class CrashableServer:
    """A server that is ended and started anew. `is_up` is for clients that wait for it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.store = folder / "chat.db"
        self.address: Address = ("127.0.0.1", _free_port())
        self.is_up = asyncio.Event()
        self.killed_at = 0.0
        self.process: Server
        self._options = ("--store", f"sqlite:///{self.store}", "--port", str(self.address[1]), *options)
        self._running = ExitStack()

    async def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start, and return when requests are answered; `is_up` is the caller's to set."""
        served = serve(APP, *self._options, env={**UNMEASURED, **(env or {})}, cwd=self.store.parent)
        self.process = await asyncio.to_thread(self._running.enter_context, served)

    async def kill(self) -> None:
        """End the process as a crash would, at once."""
        self.is_up.clear()
        self.killed_at = time.monotonic()
        self.process.process.kill()
        await self.wait()

    async def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        code = await asyncio.to_thread(self.process.process.wait, 30)
        await asyncio.to_thread(self._running.close)
        return code

    async def terminate(self) -> int:
        """Ask the process to end; return its exit code."""
        self.is_up.clear()
        self.process.process.terminate()
        return await self.wait()

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Send one request; underscores in the names of headers become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await request(self.address, method, path, body, headers=named)

    def check_file(self) -> None:
        """Check a copy of the file with its write-ahead log, as the end of the process has left it."""
        with tempfile.TemporaryDirectory() as folder:
            for file in self.store.parent.glob("chat.db*"):
                if file.is_file():
                    shutil.copy(file, folder)
            db = sqlite3.connect(Path(folder) / "chat.db")
            try:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            finally:
                db.close()


@asynccontextmanager
async def crashable(
    folder: Path, *options: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[CrashableServer]:
    """Run a server until the block ends, then kill it."""
    server = CrashableServer(folder, *options)
    await server.start(env)
    server.is_up.set()
    try:
        yield server
    finally:
        server.process.process.kill()
        await asyncio.to_thread(server._running.close)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
