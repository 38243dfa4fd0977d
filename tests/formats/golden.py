"""Golden transcripts: what each format's client is sent, byte for byte, in every scenario.

    python -m tests.formats.golden --write              write all of them anew; read the difference as a reviewer would
    python -m tests.formats.golden --write anthropic    those of one format

A transcript is what a client asked and was told over HTTP, without the headers that are the same everywhere. The whole
application answers but for its clock, which stands still, its ids, which count, and the beat, which holds no word.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatserve.engine import Pace
from chatserve.formats.history import HISTORY_FORMATS
from chatserve.formats.wire import WIRE_FORMATS
from chatserve.routes.service import Service, build_application
from chatserve.stores.file_folder import FileFolder
from tests.formats.golden_rows import CHAT, ROWS, Ask, FormatRow, Request
from tests.formats.scenarios import SCENARIOS, Scenario
from tests.support.engine import Engine, open_engine, until, within

FOLDER = Path(__file__).resolve().parents[1] / "golden"
SHOWN_HEADERS = re.compile(r"content-type|location|retry-after|request-id|x-(?!accel|content).*")


@dataclass
class Answered:
    """A response as it came. `is_whole` tells whether its body has an end."""

    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    is_whole: bool = False

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take a message of the application; it is the `send` of ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        else:
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)


@dataclass(frozen=True)
class Transcript:
    """What was asked and told, one exchange after the other, and the response that streamed."""

    text: bytes
    streamed: Answered


async def transcribe(row: FormatRow, scenario: Scenario) -> Transcript:
    """Ask for a scenario's answer as a stream, then as a document."""
    streaming = await _ask(row, scenario, row.stream)
    waiting = await _ask(row, scenario, row.document) if scenario.ends != "farewell" else []
    text = "\n".join([f"# {scenario.says}\n", *(_written(*exchange) for exchange in (*streaming, *waiting))])
    return Transcript(text.encode("utf-8", "surrogateescape"), streaming[-1][1])


async def stream_twice(row: FormatRow, scenario: Scenario) -> tuple[bytes, bytes]:
    """Return a stream, and what is told to who asks again, under keys that make it the same turn."""
    keys = {"x-session-id": "kept", "idempotency-key": "once"}
    *_, (_, first), (_, second) = await _ask(row, scenario, (*row.stream, row.stream[-1]), keys)
    return first.body, second.body


async def _ask(
    row: FormatRow, scenario: Scenario, asks: Sequence[Ask], headers: Mapping[str, str] | None = None
) -> list[tuple[Request, Answered]]:
    """Send the requests one after the other, to an application of their own."""
    exchanges: list[tuple[Request, Answered]] = []
    async with _serve(row, scenario) as (app, engine):
        for number, ask in enumerate(asks):
            request = ask(exchanges[0][1].body) if callable(ask) else ask
            request = replace(request, headers={**request.headers, **(headers or {})})
            is_to_be_ended = number == asks.index(asks[-1])
            answering = _perform(app, request, _ender(scenario, engine) if is_to_be_ended else None)
            exchanges.append((request, await answering))
    return exchanges


@asynccontextmanager
async def _serve(row: FormatRow, scenario: Scenario) -> AsyncIterator[tuple[Any, Engine]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given: dict[str, Any] = {"folder": folder, "settings": scenario.settings, "name": CHAT}
        async with open_engine(scenario.answer, pace=Pace(beat_s=0), **given) as engine:
            turns = engine.turns
            formats = tuple(make(turns.settings) for name, make in WIRE_FORMATS.items() if name == row.format_name)
            chats = {CHAT: turns.chat(CHAT)}
            service = Service(turns, chats, dict(HISTORY_FORMATS), FileFolder(folder), "Golden", "", formats)
            yield build_application(service), engine


async def _perform(app: Any, request: Request, end: Callable[[], Awaitable[None]] | None) -> Answered:
    """Let the application answer one request, and its turn be ended as the scenario wants."""
    answered = Answered()
    unsent = [request.content]

    async def receive() -> Mapping[str, Any]:
        if not unsent:
            await asyncio.Event().wait()  # the client stays until it is answered
        return {"type": "http.request", "body": unsent.pop(), "more_body": False}

    answering = asyncio.ensure_future(app(_scope_of(request), receive, answered.send))
    try:
        if end is not None:
            await end()
        await within(answering)
    finally:
        answering.cancel()
    return answered


def _scope_of(request: Request) -> dict[str, Any]:
    path, _, query = request.path.partition("?")
    headers = {"host": "localhost", "content-type": "application/json", **request.headers}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
    }


def _ender(scenario: Scenario, engine: Engine) -> Callable[[], Awaitable[None]] | None:
    """Return what ends the turn once it has said something; None: nothing from outside."""
    turns = engine.turns

    async def end() -> None:
        await until(lambda: any(turn.run.draft and turn.run.draft.messages() for turn in turns.open_turns))
        await until(lambda: len(turns.readers) > 0)
        if scenario.ends == "stop":
            await turns.stop_turn("", turns.open_turns[0].turn_id)
        elif scenario.ends == "shutdown":
            await turns.drain(0)
        turns.readers.say_bye()

    return None if scenario.ends == "itself" else end


def _written(request: Request, answered: Answered) -> str:
    asked = [f"{request.method} {request.path}", *(f"{name}: {value}" for name, value in request.headers.items())]
    told = [f"{name}: {value}" for name, value in sorted(answered.headers) if SHOWN_HEADERS.fullmatch(name)]
    head = [f"> {line}" for line in [*asked, *filter(None, [request.content.decode()])]]
    head += [f"< {line}" for line in [str(answered.status), *told]]
    body = re.sub(rb"^retry: \d+$", b"retry: N", answered.body, flags=re.MULTILINE)
    end = "" if answered.is_whole else "\n(the connection is closed before the body's end)"
    return "\n".join([*head, "", body.decode("utf-8", "surrogateescape") + end, ""])


def path_of(row: FormatRow, scenario: Scenario) -> Path:
    """Return where a transcript is kept."""
    return FOLDER / row.name / f"{scenario.name}.txt"


async def _write(names: Sequence[str]) -> None:
    for row in ROWS:
        for scenario in SCENARIOS if not names or row.name in names else ():
            path = path_of(row, scenario)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((await transcribe(row, scenario)).text)


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit(__doc__)
    asyncio.run(_write(sys.argv[2:]))
