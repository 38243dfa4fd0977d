"""SIGTERM: nothing new is taken, what runs may end, every stream says farewell, the process ends by itself."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.cli.processes import WAITS, write
from tests.support.server import Server, launch, serve

EXIT_TIMEOUT_S = 20
LONG = ("--drain-timeout-s", "3600")


def start(server: Server, message: str = "go") -> dict[str, str]:
    """Start a turn that waits for a file, and return its ids once it has said a word."""
    response = server.post("/chat/wait", {"message": message}, headers={"Prefer": "respond-async"})
    turn = response.json()
    with follow(server, turn["turn_id"]) as lines:
        assert any("begun" in line for line in lines)
    return turn


@contextmanager
def follow(server: Server, turn_id: str) -> Iterator[Iterator[str]]:
    with httpx2.stream("GET", f"{server.url}/turns/{turn_id}/events", timeout=EXIT_TIMEOUT_S) as response:
        yield response.iter_lines()


def signal_drain(server: Server) -> None:
    """Send SIGTERM and wait until the server says that it is not ready."""
    server.process.send_signal(signal.SIGTERM)
    while server.get("/health/ready").status_code == 200:
        pass


def test_a_running_turn_may_end_while_new_ones_are_refused(tmp_path: Path):
    app = write(tmp_path, WAITS)
    with serve(app, *LONG, cwd=tmp_path) as server:
        turn = start(server)
        with follow(server, turn["turn_id"]) as lines:
            signal_drain(server)
            assert server.get("/health/live").status_code == 200
            refused = server.post("/chat/echo", {"message": "hi"})
            assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
            assert int(refused.headers["retry-after"]) > 0
            stream = server.get(f"/turns/{turn['turn_id']}/events")
            assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert "retry: " in stream.text
            assert "event: bye" in stream.text
            write(tmp_path, "", "go")
            assert any('"status":"completed"' in line for line in lines)
        assert server.process.wait(EXIT_TIMEOUT_S) == 0
    with serve(app, cwd=tmp_path) as server:
        assert server.get(f"/turns/{turn['turn_id']}").json()["text"] == "begun and ended"


def test_a_turn_that_takes_too_long_is_interrupted_with_its_words_kept(tmp_path: Path):
    app = write(tmp_path, WAITS)
    with serve(app, "--drain-timeout-s", "0.1", cwd=tmp_path) as server:
        turn = start(server)
        with follow(server, turn["turn_id"]) as lines:
            server.process.send_signal(signal.SIGTERM)
            assert any('"status":"interrupted"' in line for line in lines)
        assert server.process.wait(EXIT_TIMEOUT_S) == 0
    with serve(app, cwd=tmp_path) as server:
        record = server.get(f"/turns/{turn['turn_id']}").json()
        assert (record["status"], record["finish_reason"], record["text"]) == ("interrupted", "shutdown", "begun")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_wait_short(tmp_path: Path, number: signal.Signals):
    with serve(write(tmp_path, WAITS), *LONG, cwd=tmp_path) as server:
        turn = start(server)
        with follow(server, turn["turn_id"]) as lines:
            signal_drain(server)
            server.process.send_signal(number)
            assert any('"status":"interrupted"' in line for line in lines)
        assert server.process.wait(EXIT_TIMEOUT_S) == 0


def test_the_store_is_closed_after_a_drain(tmp_path: Path):
    with serve(write(tmp_path, WAITS), cwd=tmp_path) as server:
        server.ask("hi", chat="echo")
        assert server.terminate() == 0
    assert not (tmp_path / "chatserve.db-wal").exists()
    database = sqlite3.connect(tmp_path / "chatserve.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


# farewells


async def read_stream(url: str, opened: asyncio.Semaphore) -> bytes:
    """Read one stream from its head to the end of the connection, releasing `opened` when its head has come."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head = await reader.readuntil(b"retry: ")
    opened.release()
    try:
        return head + await reader.read()
    finally:
        writer.close()


async def farewells(server: Server, streams: int) -> list[bytes]:
    """Open streams of one session, send SIGTERM, and return all that each of them has read at its end."""
    session_id = server.ask("hi", chat="echo")["session_id"]
    opened = asyncio.Semaphore(0)
    async with asyncio.timeout(EXIT_TIMEOUT_S * 2):
        reading = [
            asyncio.ensure_future(read_stream(f"{server.url}/sessions/{session_id}/events", opened))
            for _ in range(streams)
        ]
        for _ in reading:
            await opened.acquire()
        server.process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*reading)


@pytest.mark.parametrize("streams", [50, pytest.param(500, marks=pytest.mark.storm)])
def test_every_open_stream_says_farewell_and_ends_cleanly(tmp_path: Path, streams: int):
    with serve(write(tmp_path, WAITS), cwd=tmp_path) as server:
        read = asyncio.run(farewells(server, streams))
        assert server.process.wait(EXIT_TIMEOUT_S) == 0
    assert len(read) == streams
    assert [stream for stream in read if b"event: bye" not in stream] == []
    assert [stream for stream in read if not stream.endswith(b"\r\n0\r\n\r\n")] == []


def test_a_client_that_reads_nothing_does_not_keep_the_server(tmp_path: Path):
    flood = "async def predict(message, history):\n    for n in range(40): yield f'{n}' * 100_000\n"
    app = write(tmp_path, flood)

    async def neither_read_nor_leave(server: Server) -> None:
        parts = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
        body = b'{"message": "x", "stream": true}'
        head = f"POST /chat HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(b"retry: ")
        server.process.send_signal(signal.SIGTERM)
        try:
            assert await asyncio.to_thread(server.process.wait, EXIT_TIMEOUT_S) == 0
        finally:
            writer.transport.abort()

    with serve(app, "--drain-timeout-s", "0.1", cwd=tmp_path) as server:
        asyncio.run(neither_read_nor_leave(server))


# what does not end

NEVER = {
    "a sync function that never returns": """
        def predict(message, history):
            yield "begun"
            while True:
                time.sleep(0.01)
    """,
    "an async function that swallows its cancellation": """
        async def predict(message, history):
            yield "begun"
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass
    """,
    "a thread of the target's own": """
        async def predict(message, history):
            threading.Thread(target=threading.Event().wait).start()
            yield "begun"
    """,
}


@pytest.mark.parametrize("code", NEVER.values(), ids=NEVER)
def test_what_never_ends_does_not_keep_the_server(tmp_path: Path, code: str):
    app = write(tmp_path, "import asyncio, threading, time\n" + dedent(code))
    with serve(app, "--drain-timeout-s", "0.1", cwd=tmp_path) as server:
        turn = server.post("/chat", {"message": "x"}, headers={"Prefer": "respond-async"}).json()
        with follow(server, turn["turn_id"]) as lines:
            assert any("begun" in line for line in lines)
        assert server.terminate() == 0
    assert "Traceback" not in server.log
    with serve("examples/no_import.py", "--store", f"sqlite:///{tmp_path}/chatserve.db") as server:
        record = server.get(f"/turns/{turn['turn_id']}").json()
        assert record["status"] in {"interrupted", "completed"}
        assert record["text"] == "begun"


def test_a_function_that_blocks_the_event_loop_does_not_keep_the_server(tmp_path: Path):
    app = write(
        tmp_path, "import time\nasync def predict(message, history):\n    print('blocked')\n    time.sleep(3600)\n"
    )
    with serve(app, "--drain-timeout-s", "0", cwd=tmp_path) as server:
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(f"{server.url}/chat", json={"message": "x"}, timeout=0.5)
        server.wait_for_log("blocked")
        assert server.terminate() == 1
        assert "does not end" in server.log


# under a server that is not ours


def test_streams_under_plain_uvicorn_say_farewell_too(tmp_path: Path):
    write(tmp_path, WAITS)
    args = ["-m", "uvicorn", "--app-dir", str(tmp_path), "app:app", "--port", "0"]
    with launch(args, env={"CHATSERVE_STORE": f"sqlite:///{tmp_path}/chatserve.db"}) as server:
        read = asyncio.run(farewells(server, 10))
        server.process.wait(EXIT_TIMEOUT_S)
    assert [stream for stream in read if b"event: bye" not in stream or not stream.endswith(b"\r\n0\r\n\r\n")] == []
    assert not (tmp_path / "chatserve.db-wal").exists()
