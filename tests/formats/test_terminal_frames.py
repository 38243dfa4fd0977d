"""However a served process ends, the streams of every format end in the format's own words: told to stop, or killed.

A format without words for it is cut: half an answer must not look like a whole one.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent

import pytest

from tests.formats.golden_rows import CHAT, ROWS, Ask, FormatRow, Request
from tests.support.engine import within
from tests.support.http import Cut, Stream, address_of, open_stream, request
from tests.support.server import Server, serve

APP = f"""
    import asyncio
    from chatserve import ChatServer

    app = ChatServer()

    @app.chat(name="{CHAT}")
    async def chat(message, history):
        yield "So far"
        await asyncio.Event().wait()
"""
SAID = b"So far"
EXIT_TIMEOUT_S = 20


class Listener:
    """A client of one format in the midst of a stream."""

    def __init__(self, row: FormatRow, began_with: bytes, stream: Stream) -> None:
        self.row = row
        self.began_with = began_with
        self.told = b""
        self._stream = stream
        self._chunks = stream.chunks()

    async def listen_until_said(self) -> None:
        """Read until the function's words are there. Raises: AssertionError."""
        while SAID not in self.told:
            chunk = await within(anext(self._chunks, None))
            assert chunk is not None, f"{self.row.name} ended: {self.told!r}"
            self.told += chunk

    async def listen(self) -> None:
        """Read to the end, whole or not."""
        try:
            async for chunk in self._chunks:
                self.told += chunk
        except Cut:
            pass

    @property
    def has_an_end(self) -> bool:
        """Whether the end is one that the format has a word for; without words, one that HTTP has."""
        last = self.told.removesuffix(b"\n\n").rpartition(b"\n\n")[2].decode()
        return bool(self.row.end and re.search(self.row.end, last)) or (not self.row.end and self._stream.is_whole)

    def close(self) -> None:
        self._stream.close()


async def listen(server: Server, row: FormatRow) -> Listener:
    """Ask for a stream as the format's clients do. Its keys make a second try the same turn."""
    address, before = address_of(server.url), b""
    keys = {"x-session-id": row.name, "idempotency-key": row.name}
    for ask in row.stream:
        asked = ask(before) if callable(ask) else ask
        sent = {**asked.headers, **keys}
        if ask is not row.stream[-1]:
            before = (await request(address, asked.method, asked.path, asked.body, headers=sent)).body
            continue
        return Listener(row, before, await open_stream(address, asked.method, asked.path, asked.body, headers=sent))
    raise AssertionError(row)


async def listen_to_all(server: Server, stack: AsyncExitStack) -> AsyncIterator[Listener]:
    """Let a client of each format listen until the function has spoken to it."""
    for row in ROWS:
        listener = await listen(server, row)
        stack.callback(listener.close)
        await listener.listen_until_said()
        yield listener


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(dedent(APP), "utf-8")
    return path


@pytest.mark.parametrize("drain_timeout_s", ["0", "0.5"])
async def test_streams_end_in_their_own_words_when_the_server_is_told_to_stop(app: Path, drain_timeout_s: str) -> None:
    async with AsyncExitStack() as stack:
        with serve(app, "--drain-timeout-s", drain_timeout_s, cwd=app.parent) as server:
            listeners = [listener async for listener in listen_to_all(server, stack)]
            server.process.send_signal(signal.SIGTERM)
            await within(asyncio.gather(*(listener.listen() for listener in listeners)))
            assert await asyncio.to_thread(server.process.wait, EXIT_TIMEOUT_S) == 0
    assert {listener.row.name: listener.has_an_end for listener in listeners} == {
        row.name: bool(row.end) for row in ROWS
    }


def _again(row: FormatRow, first: Listener) -> FormatRow:
    """Return how a client of a format asks again for what was cut off."""
    if row.name == "openai_responses":
        found = re.search(rb'"id":"(resp_[^"]+)"', first.told)
        assert found is not None
        asks: tuple[Ask, ...] = (Request("GET", f"/v1/responses/{found[1].decode()}?stream=true"),)
    elif len(row.stream) > 1:
        last = row.stream[-1]
        asks = (last(first.began_with) if callable(last) else last,)
    else:
        return row
    return FormatRow(row.name, asks, (), row.end)


async def test_streams_asked_for_again_after_a_crash_end_in_their_own_words(app: Path) -> None:
    kept = ("--store", f"sqlite:///{app.parent}/chat.db", "--durability", "events")
    async with AsyncExitStack() as stack:
        with serve(app, *kept, cwd=app.parent) as server:
            firsts = [listener async for listener in listen_to_all(server, stack)]
            server.kill()
            await within(asyncio.gather(*(listener.listen() for listener in firsts)))
        assert not any(listener.has_an_end for listener in firsts)
        with serve(app, *kept, cwd=app.parent) as server:
            seconds = []
            for first in firsts:
                second = await listen(server, _again(first.row, first))
                stack.callback(second.close)
                await within(second.listen())
                seconds.append(second)
    assert {listener.row.name: listener.has_an_end for listener in seconds} == {row.name: bool(row.end) for row in ROWS}
    forgotten = {"gradio"}  # its queue lives with the process: the client learns that nothing waits for it
    assert {listener.row.name for listener in seconds if SAID not in listener.told} == forgotten
