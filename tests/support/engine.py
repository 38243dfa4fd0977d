"""A turn engine around a chat function, in this process and without HTTP: what the tests of the engine stand on.

async with open_engine(echo) as engine:
    record = await engine.ask("hi", "s_1")
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from chatserve.chat_function import Chat, ChatOptions
from chatserve.contracts.store import Store
from chatserve.contracts.turns import Idempotency, TurnCall, TurnRecord, TurnRequest
from chatserve.engine import EngineParts, Pace, Reader, RunningTurn, TurnEngine
from chatserve.formats.history import HISTORY_FORMATS
from chatserve.formats.output import AnswerNormalizer
from chatserve.formats.wire.native import NativeEncoder
from chatserve.settings import Settings
from chatserve.stores.file_folder import FileFolder
from chatserve.stores.memory import MemoryStore
from tests.support.sse import SseEvent, read_events

WAIT_S = 20
OF_CALL = {each.name for each in fields(TurnCall)} - {"history", "preface"}
NATIVE = NativeEncoder()
PACE = Pace()
"""The pace of engines that are opened without one; fixtures set another."""
NO_FOLDER = Path("/nonexistent/chatserve-files")
Result = TypeVar("Result")


async def within(awaitable: Awaitable[Result], timeout_s: float = WAIT_S) -> Result:
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaitable, timeout_s)


async def until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Let the loop turn until the condition holds: for what happens in other tasks or threads and tells nobody."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A store whose calls wait until they are let, or fail as often as told."""

    def __init__(self, store: Store, *waiting: str) -> None:
        self._store = store
        self.waiting = waiting
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.failures: dict[str, list[Exception]] = {}
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            if name in self.waiting:
                self.entered.set()
                await self.gate.wait()
            return await method(*args, **kwargs)

        return call


@dataclass
class Engine:
    """A running engine, and short ways to ask it."""

    turns: TurnEngine
    store: Store
    chat: str
    clock: Clock = field(default_factory=Clock)

    async def start(self, text: str = "hi", session_id: str | None = "s_1", **request: Any) -> RunningTurn:
        """Start a turn in a session, which is created where it does not exist; None: a new one, "": none.

        `request` are fields of the call and of the request.
        """
        given: dict[str, Any] = {"chat": self.chat, "text": text, "when_busy": None} | request
        call = TurnCall(**{name: given.pop(name) for name in list(given) if name in OF_CALL})
        place: dict[str, Any] = {"session_id": session_id, "creates": "missing" if session_id else "nothing"}
        if session_id is None:
            place = {"session_id": self.turns.new_id("s_"), "creates": "fresh"}
        if "idempotency_key" in given:
            expires_at = self.clock() + self.turns.settings.idempotency_ttl_s
            place["idempotency"] = Idempotency(given.pop("idempotency_key"), given.pop("body_hash"), expires_at)
        return await within(self.turns.submit(TurnRequest(call, **(place | given))))

    async def ask(self, text: str = "hi", session_id: str | None = "s_1", **request: Any) -> TurnRecord:
        """Take one whole turn."""
        return await self.end_of(await self.start(text, session_id, **request))

    async def end_of(self, turn: RunningTurn) -> TurnRecord:
        """Wait for the end of a turn."""
        await within(turn.ended.wait())
        assert turn.record is not None
        return turn.record

    async def frames(self, turn: RunningTurn) -> bytes:
        """Return the whole stream of a turn."""
        return await self.read(self.turns.read_turn(turn, NATIVE))

    async def events(self, turn: RunningTurn) -> list[SseEvent]:
        """Return the events of a turn, as a client reads them."""
        return decode(await self.frames(turn))

    async def read(self, reader: Reader, *, dones: int = 1) -> bytes:
        """Return a reader's stream until it ends, or until that many turns have; let the reader go."""
        stream = b""
        async with asyncio.timeout(WAIT_S):
            while not reader.cursor.is_at_end and stream.count(b"event: done\n") < dones:
                stream += await self.next_frames(reader)
        self.turns.detach(reader)
        return stream

    async def next_frames(self, reader: Reader) -> bytes:
        """Do one step of what a response does with its reader."""
        frames = reader.take()
        if frames or reader.cursor.is_at_end:
            return frames
        return await within(self.turns.readers.next_frames(reader))

    async def history(self, session_id: str = "s_1") -> list[tuple[str, str]]:
        """Return the stored branch as (role, text)."""
        page = await self.store.list_messages("", session_id, after=None, limit=1000, branches=False)
        return [(message.role, message.text) for message in page.items]


@asynccontextmanager
async def open_engine(
    function: Callable[..., Any],
    *,
    store: Store | None = None,
    folder: Path = NO_FOLDER,
    settings: dict[str, Any] | None = None,
    others: Sequence[Chat] = (),
    pace: Pace | None = None,
    ids_from: int = 1,
    **options: Any,
) -> AsyncIterator[Engine]:
    """Run an engine for a chat function with these chat options until the block ends."""
    chat = chat_of(function, **options)
    store = store or MemoryStore()
    clock, numbers = Clock(), count(ids_from)
    engine = TurnEngine(
        EngineParts(
            chats={each.options.name: each for each in (chat, *others)},
            store=store,
            files=FileFolder(folder),
            history_formats=HISTORY_FORMATS,
            new_interpreter=AnswerNormalizer,
            settings=Settings(**{"stop_grace_s": 0.05, **(settings or {})}),
            clock=clock,
            new_id=lambda prefix: f"{prefix}{next(numbers)}",
            pace=pace or PACE,
        )
    )
    await engine.open()
    try:
        yield Engine(engine, store, chat.options.name, clock)
    finally:
        await within(engine.close())


def chat_of(function: Callable[..., Any], **options: Any) -> Chat:
    """Return a chat of this function."""
    name = options.pop("name", "chat")
    return Chat(function, ChatOptions(name=name, title=name, **options))


def decode(stream: bytes) -> list[SseEvent]:
    """Return the events of a stream; a last block that is cut is not dispatched."""
    return list(read_events(stream.decode().split("\n")[:-1]))
