"""What holds for every stream, whatever its format: NDJSON, which is made in the tests, is one of them.

Each rule is tried on a real socket with a client of each format in the registry.
"""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import uvicorn

from chatserve import ChatServer
from chatserve import app as app_module
from chatserve.core.events import Delta, NumberedEvent
from chatserve.engine import Pace, RunningTurn, TurnEngine
from chatserve.formats.wire import WIRE_FORMATS
from chatserve.formats.wire.anthropic.replies import PING as ANTHROPIC_PING
from chatserve.formats.wire.gradio.frames import CALL_HEARTBEAT, HEARTBEAT
from tests.formats.golden_rows import CHAT, ROWS, FormatRow
from tests.formats.ndjson import ROW as NDJSON
from tests.formats.ndjson import Ndjson
from tests.support.engine import WAIT_S, until, within
from tests.support.http import Address, Cut, Stream, address_of, open_stream, request
from tests.support.server import serve
from tests.support.serving import address_of as where
from tests.support.serving import open_slowly, running

ALL_ROWS = [pytest.param(row, id=row.name) for row in (*ROWS, NDJSON)]
RESUMABLE = [pytest.param(row, id=row.name) for row in (ROWS[0], NDJSON)]
PINGS = {
    "native": b":\n\n",
    "plain": None,
    "openai_chat": b":\n\n",
    "openai_responses": b":\n\n",
    "anthropic": ANTHROPIC_PING,
    "gradio": HEARTBEAT,
    "gradio_call": CALL_HEARTBEAT,
    "ndjson": Ndjson.form.ping,
}
STOPS_WHEN_LEFT = {"openai_chat", "anthropic"}
"""Closing the connection is the only way these clients have to stop an answer."""

WORDS = 24
FILLER = "x" * 40_000
"""A word is long, so that no buffer holds an answer."""


async def flood(message: str, history: list[Any]) -> AsyncIterator[str]:
    """Say more than a client takes that reads nothing, an event for each word."""
    for number in range(WORDS):
        yield f"w{number}.{FILLER} "
        await asyncio.sleep(Pace().beat_s)


class Held:
    """A function that says a word, and the last one when it may."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, message: str, history: list[Any]) -> AsyncIterator[str]:
        yield "So far"
        await self.gate.wait()
        yield " and on"


def is_whole_answer(told: bytes) -> bool:
    """Whether all that `flood` says was told."""
    return all(b"w%d." % number in told for number in range(WORDS))


@dataclass
class Client:
    """A client of one format, and what it was told."""

    row: FormatRow
    stream: Stream
    told: bytes = b""
    chunks: AsyncIterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.chunks = self.stream.chunks()

    async def read_until(self, said: bytes) -> None:
        while said not in self.told:
            chunk = await within(anext(self.chunks, None))
            assert chunk is not None, f"{self.row.name} ended: {self.told!r}"
            self.told += chunk

    async def read_on(self) -> None:
        """Read one piece more."""
        self.told += await within(anext(self.chunks, b""))

    async def read(self) -> "Client":
        """Read to the end, whole or not."""
        try:
            async for chunk in self.chunks:
                self.told += chunk
        except Cut:
            pass
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the body has an end."""
        return self.stream.is_whole

    @property
    def has_an_end(self) -> bool:
        """Whether the end is one that the format has a word for; a format without words has none."""
        last = self.told.rstrip(b"\n").rpartition(b"\n" if self.row is NDJSON else b"\n\n")[2] + b"\n"
        return bool(self.row.end and re.search(self.row.end, last.decode()))


@dataclass
class Service:
    """A served application, and the connections of its clients. `server` is None where that is another process."""

    address: Address
    app: ChatServer
    stack: AsyncExitStack
    server: uvicorn.Server | None = None

    @property
    def engine(self) -> TurnEngine:
        assert self.app.engine is not None
        return self.app.engine

    async def ask(self, row: FormatRow, *, slowly: bool = False, headers: dict[str, str] | None = None) -> Client:
        """Ask for a stream as the clients of a format do."""
        before = b""
        for ask in row.stream[:-1]:
            asked = ask(before) if callable(ask) else ask
            sent = {**asked.headers, **(headers or {})}
            before = (await request(self.address, asked.method, asked.path, asked.body, headers=sent)).body
        asked = row.stream[-1](before) if callable(row.stream[-1]) else row.stream[-1]
        sent = {**asked.headers, **(headers or {})}
        if slowly:
            stream = await open_slowly(self.address, asked.method, asked.path, asked.body, sent)
        else:
            stream = await open_stream(self.address, asked.method, asked.path, asked.body, headers=sent)
        self.stack.callback(stream.close)
        return Client(row, stream)

    async def slow_client_of_an_ended_turn(self, row: FormatRow) -> Client:
        """Ask for the flood, and read nothing of it while it ends."""
        client = await self.ask(row, slowly=True, headers={"x-session-id": "kept"})
        await until(lambda: not self.engine.open_turns)
        assert len(self.engine.readers) == 1
        return client

    async def open_turn(self) -> RunningTurn:
        await until(lambda: bool(self.engine.open_turns))
        return self.engine.open_turns[0]


@pytest.fixture(autouse=True)
def ndjson_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "WIRE_FORMATS", {**WIRE_FORMATS, "ndjson": Ndjson})


@asynccontextmanager
async def serving(function: Any, *, http: str = "httptools", **settings: Any) -> AsyncIterator[Service]:
    app = ChatServer(store="memory://", **settings)
    app.pace = Pace(read_events=4)  # a client that is behind gets its words in many pieces
    app.chat(name=CHAT, yields="deltas")(function)
    async with running(http, app) as server, asyncio.timeout(2 * WAIT_S), AsyncExitStack() as stack:
        yield Service(where(server), app, stack, server)


# --- what every stream has --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ALL_ROWS)
@pytest.mark.parametrize("settings", [{}, {"direct_writes": False}, {"http": "h11"}], ids=["direct", "sent", "h11"])
async def test_stream_is_whole_and_no_proxy_may_hold_it_back(row: FormatRow, settings: dict[str, Any]) -> None:
    async with serving(flood, **settings) as service:
        client = await (await service.ask(row)).read()
    assert client.is_whole
    assert client.has_an_end or not row.end
    assert is_whole_answer(client.told)
    assert client.stream.headers["cache-control"] == "no-store, no-transform"
    assert client.stream.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_silence_is_broken_by_the_ping_of_the_format_if_it_has_one(row: FormatRow) -> None:
    held, ping = Held(), PINGS[row.name]
    async with serving(held, ping_interval_s=1) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        for _ in range(3):
            service.engine.readers.tick(1, 100)
            await asyncio.sleep(0.01)
        told, client.told = client.told, b""
        held.gate.set()
        await client.read()
    assert client.is_whole
    if ping is None:
        assert told + client.told == b"So far and on"
    else:
        assert ping in client.told


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_stop_that_somebody_asked_for_ends_a_stream_cleanly(row: FormatRow) -> None:
    async with serving(Held()) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        await service.engine.stop_turn("", (await service.open_turn()).turn_id)
        await client.read()
    assert client.is_whole
    assert client.has_an_end or not row.end


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_stream_that_is_asked_for_again_tells_the_same(row: FormatRow) -> None:
    keys = {"idempotency-key": "once", "x-session-id": "s"}
    async with serving(Held()) as service:
        client = await service.ask(row, headers=keys)
        await client.read_until(b"So far")
        await service.engine.stop_turn("", (await service.open_turn()).turn_id)
        first = await client.read()
        second = await (await service.ask(row, headers=keys)).read()
    if row.name != "gradio":  # its queue tells each turn once
        assert _timeless(second.told) == _timeless(first.told)
    assert second.is_whole


def _timeless(told: bytes) -> bytes:
    return re.sub(rb"retry: \d+|req_[\w-]+", b"", told)


# --- the server goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_stream_of_a_turn_that_goes_on_says_farewell_or_is_cut(row: FormatRow) -> None:
    async with serving(Held()) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        service.engine.readers.say_bye()
        await client.read()
    assert (client.is_whole, client.has_an_end) == (bool(row.end), bool(row.end))


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_drain_waits_until_a_slow_reader_has_all_words_of_an_ended_turn(row: FormatRow) -> None:
    async with serving(flood) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        draining = asyncio.create_task(service.engine.drain(WAIT_S))
        await asyncio.sleep(0.05)
        assert not draining.done()
        await client.read()
        await within(draining)
    assert is_whole_answer(client.told)
    assert client.is_whole
    assert client.has_an_end or not row.end


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_slow_reader_that_is_said_bye_gets_all_words_of_an_ended_turn(row: FormatRow) -> None:
    async with serving(flood) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        await within(service.engine.drain(0.01))
        service.engine.readers.say_bye()
        await client.read()
    assert is_whole_answer(client.told)
    assert client.is_whole
    assert client.has_an_end or not row.end


SERVED = f"""
    from chatserve import ChatServer
    from chatserve.formats.wire import WIRE_FORMATS
    from tests.formats.ndjson import Ndjson
    from tests.formats.test_stream_rules import flood

    WIRE_FORMATS["ndjson"] = Ndjson
    app = ChatServer(store="memory://")
    app.chat(name="{CHAT}", yields="deltas")(flood)
"""


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(dedent(SERVED), "utf-8")
    return path


@pytest.mark.parametrize("reads", [True, False], ids=["reads slowly", "reads nothing"])
async def test_reader_of_a_process_that_is_told_to_stop_gets_all_or_no_end(app_file: Path, reads: bool) -> None:
    async with AsyncExitStack() as stack:
        with serve(app_file, "--drain-timeout-s", "15" if reads else "0.5", cwd=app_file.parent) as server:
            service = Service(address_of(server.url), ChatServer(), stack)
            clients = [await service.ask(row, slowly=True) for row in (*ROWS, NDJSON)]
            await asyncio.sleep(0.5)  # the turns end in another process, and nobody may read to see it
            server.process.send_signal(signal.SIGTERM)
            reading = asyncio.gather(*(client.read() for client in clients)) if reads else None
            assert await asyncio.to_thread(server.process.wait, WAIT_S) == 0
            await within(reading or asyncio.gather(*(client.read() for client in clients)))
    for client in clients:
        assert is_whole_answer(client.told) or not client.is_whole, client.row.name
        assert is_whole_answer(client.told) is reads, client.row.name


@pytest.mark.parametrize("row", RESUMABLE)
async def test_client_that_comes_back_while_the_server_drains_is_sent_away_with_a_farewell(row: FormatRow) -> None:
    async with serving(Held()) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        service.engine.refuse_turns()
        path = f"/turns/{client.stream.headers['x-turn-id']}/events"
        refused = await request(service.address, "GET", path, headers=row.stream[0].headers)
    assert refused.status == 200
    assert refused.headers["content-type"].startswith(client.stream.headers["content-type"])
    assert re.search(row.end, refused.body.decode().removesuffix("\n")[-60:] + "\n")


# --- the session goes -------------------------------------------------------------------------------------------------


async def _delete_the_session(service: Service) -> None:
    (session,) = (await service.engine.store.list_sessions("", after=None, limit=9)).items
    await service.engine.sessions.delete("", session.session_id, if_version=None)


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_slow_reader_whose_session_is_deleted_gets_all_words_of_its_turn(row: FormatRow) -> None:
    async with serving(flood) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        await _delete_the_session(service)
        await client.read()
    assert is_whole_answer(client.told)
    assert client.is_whole
    assert client.has_an_end or not row.end


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_reader_is_cut_when_the_words_it_lacks_are_deleted(row: FormatRow) -> None:
    async with serving(flood) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        (reader,) = service.engine.readers._readers
        reader.cursor.log.forget_filed()  # as a log does that grows too long for memory
        await _delete_the_session(service)
        await client.read()
    assert not is_whole_answer(client.told)
    assert not client.is_whole
    assert not client.has_an_end


# --- clients that take little, nothing, or leave ----------------------------------------------------------------------


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("row", ALL_ROWS)
async def test_client_that_takes_nothing_is_dropped(row: FormatRow, http: str) -> None:
    async with serving(flood, http=http) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        for _ in range(2):
            service.engine.readers.tick(100, 2)
            assert len(service.engine.readers) == 1
        service.engine.readers.tick(100, 2)
        await until(lambda: len(service.engine.readers) == 0)
        assert service.server is not None
        connections = service.server.server_state.connections
        await until(lambda: not connections)  # though what it was sent last was never taken
        await client.read()
    assert not client.is_whole
    assert not is_whole_answer(client.told)


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_client_that_takes_little_is_not_dropped(row: FormatRow) -> None:
    async with serving(flood) as service:
        client = await service.slow_client_of_an_ended_turn(row)
        source, taken = client.stream.reader, client.stream.reader = client.stream.reader, asyncio.StreamReader(2**24)
        (reader,) = service.engine.readers._readers
        while len(service.engine.readers):
            seq = reader.cursor.seq
            while reader.cursor.seq == seq and len(service.engine.readers):
                taken.feed_data(await source.read(2048))
                await asyncio.sleep(0)
            service.engine.readers.tick(100, 2)
        while rest := await source.read(2**16):
            taken.feed_data(rest)
        taken.feed_eof()
        await client.read()
    assert client.is_whole
    assert is_whole_answer(client.told)


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_client_that_leaves_is_forgotten_and_its_turn_goes_on_unless_that_stops_it(row: FormatRow) -> None:
    held = Held()
    async with serving(held) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        turn = await service.open_turn()
        client.stream.close()
        await until(lambda: len(service.engine.readers) == 0)
        held.gate.set()
        await within(turn.ended.wait())
    assert turn.turn.status == ("stopped" if row.name in STOPS_WHEN_LEFT else "completed")


# --- what fails -------------------------------------------------------------------------------------------------------


class Speechless:
    """Encodes no delta."""

    is_per_turn = True
    is_complete = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        if isinstance(numbered.event, Delta):
            raise LookupError("no word for it")
        return b""

    def farewell(self) -> bytes:
        return b""


@pytest.mark.parametrize("row", ALL_ROWS)
async def test_encoder_that_fails_ends_its_own_stream_only(row: FormatRow) -> None:
    held = Held()
    async with serving(held) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        (reader,) = service.engine.readers._readers
        other = await request(service.address, "GET", "/")
        reader.cursor.encoder = Speechless()
        turn = await service.open_turn()
        held.gate.set()
        await within(turn.ended.wait())
        await client.read()
        await until(lambda: len(service.engine.readers) == 0)
    assert other.status == 200
    assert not client.is_whole
    assert turn.turn.status == "completed"


# --- formats with numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", RESUMABLE)
async def test_client_goes_on_after_the_last_number_it_has(row: FormatRow) -> None:
    accept = {"accept": "application/x-ndjson" if row is NDJSON else "text/event-stream"}
    async with serving(Held()) as service:
        client = await service.ask(row)
        await client.read_until(b"So far")
        turn = await service.open_turn()
        await service.engine.stop_turn("", turn.turn_id)
        whole = (await client.read()).told
        path = f"/turns/{turn.turn_id}/events"
        rests = [
            await request(service.address, "GET", f"{path}?after={after}", headers=accept)
            for after in (0, 2, turn.turn.done_seq or 0)
        ]
        ahead = await request(service.address, "GET", path, headers={**accept, "last-event-id": "garbage"})
        head = await request(service.address, "HEAD", path, headers=accept)
        session = f"/sessions/{turn.turn.session_id}/events?after=0"
        live = await open_stream(service.address, "GET", session, headers=accept)
        service.stack.callback(live.close)
        live_client = Client(row, live)
        await live_client.read_until(b"done")
    after_opening = _timeless(whole).lstrip()
    assert [rest.status for rest in rests] == [200, 200, 204]
    assert _timeless(rests[0].body).lstrip() == after_opening
    assert after_opening.endswith(_timeless(rests[1].body).lstrip())
    assert 0 < len(rests[1].body) < len(rests[0].body)
    assert b"snapshot" in ahead.body
    assert _timeless(live_client.told).lstrip() == after_opening
    assert (head.status, head.body, head.headers["content-type"]) == (200, b"", rests[0].headers["content-type"])


async def test_lines_of_ndjson_are_the_events_of_the_native_stream() -> None:
    async with serving(Held()) as service:
        client = await service.ask(NDJSON)
        await client.read_until(b"So far")
        turn = await service.open_turn()
        await service.engine.stop_turn("", turn.turn_id)
        lines = [json.loads(line) for line in (await client.read()).told.splitlines()]
        native = await open_stream(service.address, "GET", f"/turns/{turn.turn_id}/events")
        events = [event async for event in native.events()]
        native.close()
    told = [(int(event.id), event.event, event.json) for event in events if event.id]
    assert [(line["id"], line["event"], line["data"]) for line in lines] == told
