"""`TurnEngine`: submit a turn, follow a log, stop what runs; all that routes know of the engine.

The way in is `Submission`'s, a turn's life `TurnLifecycle`'s, running a function `TurnRunner`'s, durability of events
`Journal`'s, reading `Readers`'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

from chatserve.chat_function import Chat
from chatserve.contracts.files import FileKeeper
from chatserve.contracts.formats import FrameEncoder, HistoryFormat, Interpreter, RenderOptions
from chatserve.contracts.store import HistoryMove, MovedHistory, Store
from chatserve.contracts.turns import TurnRecord
from chatserve.core.errors import RequestError, SessionBusy
from chatserve.core.events import HistoryChanged
from chatserve.core.types import Message, Turn, TurnRequest, UserInput
from chatserve.engine.cursors import Cursor
from chatserve.engine.log.journal import Journal
from chatserve.engine.log.log import SessionLog
from chatserve.engine.log.speech import Teller
from chatserve.engine.readers import Reader, Readers
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.sessions.janitor import keep_clean
from chatserve.engine.sessions.room import Room
from chatserve.engine.sessions.rooms import Rooms
from chatserve.engine.sessions.sessions import Sessions
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.examples import ExampleCache
from chatserve.engine.turns.lifecycle import TurnLifecycle
from chatserve.engine.turns.runner import TurnRunner
from chatserve.engine.turns.submission import Submission
from chatserve.engine.turns.turn import RunningTurn
from chatserve.settings import Settings

logger = logging.getLogger("chatserve.engine")

TICK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made of. `clock` returns seconds since the epoch, `new_id` an unguessable id for a prefix."""

    chats: Mapping[str, Chat]
    store: Store
    files: FileKeeper
    history_formats: Mapping[str, HistoryFormat]
    new_interpreter: Callable[[], Interpreter]
    settings: Settings
    clock: Callable[[], float]
    new_id: Callable[[str], str]


class TurnEngine:
    """Runs turns. One engine per process and event loop."""

    def __init__(self, parts: EngineParts) -> None:
        store, settings, clock, new_id = parts.store, parts.settings, parts.clock, parts.new_id
        self.settings = settings
        self.store = store
        self.clock = clock
        self.new_id = new_id
        self._chats = parts.chats
        self._tasks = OwnedTasks()
        render_options = {flag: RenderOptions(flag, parts.files.path_of) for flag in (False, True)}
        self.histories = Histories(store, parts.history_formats, render_options)
        self.attachments = Attachments(store)
        self.rooms = Rooms(store)
        self.readers = Readers(store, settings.max_readers)
        self._journal = Journal(store, self._tasks, clock, is_strict=settings.durability == "events")
        examples, teller = ExampleCache(), Teller(self._journal, self._tasks)
        self._runner = TurnRunner(
            store, parts.files, self.histories, examples, teller, parts.new_interpreter, settings, clock, new_id
        )
        self._lifecycle = TurnLifecycle(
            store,
            self._runner,
            self._journal,
            self._tasks,
            self.histories,
            examples,
            parts.chats,
            settings,
            clock,
            new_id,
        )
        self._submission = Submission(
            store, self._lifecycle, self.rooms, self.attachments, self._tasks, parts.chats, settings, clock, new_id
        )
        self.sessions = Sessions(store, parts.files, self.rooms, self.histories, self.readers, settings, clock, new_id)

    # life

    async def open(self) -> tuple[Turn, ...]:
        """Open the store; return the turns that a crash had left open. Raises: ConfigurationError."""
        left_open = await self.store.open(now=self.clock())
        self._tasks.spawn(self._tick(), name="chatserve-tick")
        self._tasks.spawn(self._answer_examples(), name="chatserve-examples")
        self._tasks.spawn(keep_clean(self.sessions), name="chatserve-janitor")
        return left_open

    async def _tick(self) -> None:
        """Once a second: pings for silent streams, an end for stalled ones."""
        ping_ticks = max(1, round(self.settings.ping_interval_s / TICK_S))
        stall_ticks = max(1, round(self.settings.send_timeout_s / TICK_S))
        while True:
            await asyncio.sleep(TICK_S)
            self.readers.tick(ping_ticks, stall_ticks)

    async def _answer_examples(self) -> None:
        """Fill the caches that are filled at the start."""
        for name, chat in self._chats.items():
            if chat.options.cache_examples != "eager":
                continue
            for number, example in enumerate(chat.examples):
                request = TurnRequest(
                    name, "", UserInput(example.text), history=(), inputs=example.inputs, example=number
                )
                try:
                    turn = await self.submit(request)
                except RequestError as error:
                    logger.warning("example %d of chat %r was not answered: %s", number, name, error)
                    continue
                await turn.ended.wait()

    @property
    def is_draining(self) -> bool:
        """True once no new turns are taken."""
        return self._lifecycle.is_draining

    @property
    def open_turns(self) -> Sequence[RunningTurn]:
        """The turns that are queued or run."""
        return self._lifecycle.open_turns

    def refuse_turns(self) -> None:
        """Take no new turns from now on: the server is about to stop."""
        self._lifecycle.is_draining = True

    async def drain(self, timeout_s: float) -> None:
        """Take no new turns; end those that wait, for none begins any more; give those that run `timeout_s`.

        What is left of it, those have who still read what was said.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        self._lifecycle.is_draining = True
        self._lifecycle.end_waiting("interrupted", "shutdown")
        waits = [asyncio.ensure_future(turn.ended.wait()) for turn in self._lifecycle.open_turns]
        if waits:
            await asyncio.wait(waits, timeout=timeout_s)
            for wait in waits:
                wait.cancel()
        await self.interrupt_all()
        await self.readers.settle(until - loop.time())

    async def interrupt_all(self) -> None:
        """End every open turn as interrupted, its partial text kept."""
        turns = list(self._lifecycle.open_turns)
        await asyncio.gather(*(self._lifecycle.end_unless_closed(turn, "interrupted", "shutdown") for turn in turns))

    async def close(self) -> None:
        """End what is left, store what is not stored, close the store."""
        self._lifecycle.is_draining = True
        await self.interrupt_all()
        await self._journal.close()
        left = await self._tasks.close(timeout_s=self.settings.stop_grace_s)
        if left:
            logger.warning("%d task(s) did not end", left)
        self._runner.threads.close()
        await self.store.close()

    # submit

    def chat(self, name: str) -> Chat:
        """Return a chat. Raises: ChatUnknown."""
        return self._submission.chat(name)

    async def submit(self, request: TurnRequest) -> RunningTurn:
        """Accept a turn: when this returns, it is stored, and runs or waits.

        Raises:
            RequestError: anything the client must change; nothing was stored.
            StoreError: the store failed; nothing was stored.
        """
        return await self._submission.submit(request)

    # stop

    async def stop_session(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        """Stop what runs and waits in a session; return those turns. Raises: SessionUnknown."""
        await self.store.get_session(owner, session_id)
        return await self._tasks.finish(self._stop_all(owner, session_id), name="chatserve-stop")

    async def _stop_all(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        async with self.rooms.locked(owner, session_id) as room:
            turns = [*room.queue, *([room.current] if room.current else [])]
            for turn in turns:
                if not turn.closed:
                    await self._lifecycle.end(turn, "stopped", "stopped")
            return tuple(turns)

    async def stop_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Stop a turn, and return what became of it; one that is over stays as it is. Raises: TurnUnknown."""
        turn = self._lifecycle.find_turn(owner, turn_id)
        if turn is None:
            return await self.store.get_turn(owner, turn_id)
        self._lifecycle.stop_soon(turn)
        await turn.ended.wait()
        assert turn.record is not None
        return turn.record

    def stop_soon(self, turn: RunningTurn) -> None:
        """Stop a turn without waiting for its end."""
        self._lifecycle.stop_soon(turn)

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Return a turn as it is now: an open one with its answer so far. Raises: TurnUnknown."""
        turn = self._lifecycle.find_turn(owner, turn_id)
        if turn is None:
            return await self.store.get_turn(owner, turn_id)
        return turn.record or TurnRecord(turn.turn, turn.user_message, turn.draft.messages() if turn.draft else ())

    # follow

    def read_turn(self, turn: RunningTurn, encoder: FrameEncoder, after: int | None = None) -> Reader:
        """Return a reader of a turn after a cursor (None: from its beginning), attached. Raises: Overloaded."""
        log = turn.room.log
        assert log is not None
        if turn.record is not None and turn.turn.done_seq is not None:
            log.done_seqs.setdefault(turn.turn_id, turn.turn.done_seq)  # it may have ended before this log began
        return self._reader(
            turn.room, Cursor(log, encoder, _turn_cursor(_first_seq(turn, log) - 1, after), turn.turn_id)
        )

    async def follow_turn(
        self, owner: str, turn_id: str, after: int | None, encoder: FrameEncoder
    ) -> Reader | TurnRecord:
        """Return a reader of a turn after a cursor (None: from its beginning), or the turn when its log is gone.

        Raises:
            TurnUnknown: no such turn.
        """
        turn = self._lifecycle.find_turn(owner, turn_id)
        if turn is not None:
            return self.read_turn(turn, encoder, after)
        record = await self.store.get_turn(owner, turn_id)
        async with self.rooms.locked(owner, record.turn.session_id) as room:
            log = await self.rooms.log_of(room)
            if record.turn.done_seq is None or record.turn.first_seq is None:
                return record
            log.done_seqs.setdefault(turn_id, record.turn.done_seq)
            cursor = _turn_cursor(record.turn.first_seq - 1, after)
            page = await self.store.read_events(record.turn.session_id, after=cursor, limit=1)
            if cursor < page.first_seq - 1 or cursor > log.published_seq:
                return record
            return self._reader(room, Cursor(log, encoder, cursor, turn_id))

    async def follow_session(self, owner: str, session_id: str, after: int | None, encoder: FrameEncoder) -> Reader:
        """Return a reader of a session after a cursor; without one it starts with the open turn, or live.

        Raises:
            SessionUnknown: no such session.
            Overloaded: too many readers.
        """
        await self.store.get_session(owner, session_id)
        with self.rooms.use(owner, session_id) as room:
            async with room.lock:
                log = await self.rooms.log_of(room)
            cursor = after
            if cursor is None:
                open_turn = room.current or (room.queue[0] if room.queue else None)
                cursor = max(_first_seq(open_turn, log) - 1, log.entry_seq) if open_turn else log.published_seq
            return self._reader(room, Cursor(log, encoder, cursor))

    def read_nothing(self, encoder: FrameEncoder) -> Reader:
        """Return a reader of a log in which nothing ever happens, attached: its stream is pings. Raises: Overloaded."""
        room = Room("", "")
        return self._reader(room, Cursor(room.open_log(0), encoder, 0))

    def read_record(self, record: TurnRecord, encoder: FrameEncoder, after: int = 0) -> Reader:
        """Return a reader of a turn whose log is gone: of its snapshot and its `done`. Raises: Overloaded."""
        turn_id, (snapshot, done) = record.turn.turn_id, record.as_numbered(after)
        room = Room("", "")
        log = room.open_log(snapshot.seq - 1)
        log.append(turn_id, (snapshot.event,))
        log.close_turn(done)
        log.publish()
        return self._reader(room, Cursor(log, encoder, log.base, turn_id))

    def _reader(self, room: Room, cursor: Cursor) -> Reader:
        reader = Reader(room, cursor)
        self.readers.attach(reader)
        self._lifecycle.disarm_abandonment(room)
        return reader

    def detach(self, reader: Reader) -> None:
        """Let a reader go; when it was the last one, its turns are ended unless one comes back in time."""
        if self.readers.detach(reader):
            self._empty(reader.room)

    @contextmanager
    def awaited(self, turn: RunningTurn) -> Iterator[None]:
        """Wait for a turn inside of this: it is not abandoned meanwhile, as if somebody read it. Raises: Overloaded."""
        self.readers.enter(turn.room)
        self._lifecycle.disarm_abandonment(turn.room)
        try:
            yield
        finally:
            if self.readers.leave(turn.room):
                self._empty(turn.room)

    def _empty(self, room: Room) -> None:
        """Do what is due when nobody reads in a room any more."""
        self._lifecycle.arm_abandonment(room)
        if room.log is not None and not room.is_busy:
            room.log.forget_filed()

    # history operations

    async def move_history(
        self, owner: str, session_id: str, operation: Literal["undo", "clear"], if_version: int | None
    ) -> MovedHistory:
        """Undo the last turn or clear the history. Raises: what `Store.move_history` raises."""
        return await self._move(owner, session_id, operation, if_version)

    async def replace_history(
        self, owner: str, session_id: str, messages: Sequence[Message], if_version: int | None
    ) -> MovedHistory:
        """Let these messages be the whole history; what it has in common with the stored one at its start stays.

        The others are added under new ids, so that stored messages may be among them.

        Raises:
            FileUnknown: a message names a file that is not there.
            SessionUnknown, SessionBusy, VersionConflict: as `Store.move_history`.
        """
        checked = await self.attachments.check(owner, messages)
        added = tuple(replace(message, message_id=self.new_id("m_")) for message in checked)
        return await self._move(owner, session_id, "replace", if_version, added)

    async def _move(
        self,
        owner: str,
        session_id: str,
        operation: Literal["undo", "clear", "replace"],
        if_version: int | None,
        messages: tuple[Message, ...] = (),
    ) -> MovedHistory:
        async with self.rooms.locked(owner, session_id) as room:
            log = await self.rooms.log_of(room)
            move = HistoryMove(owner, session_id, operation, self.clock(), log.last_seq + 1, if_version, messages)
            moved = await self.store.move_history(move)
            log.append(None, (HistoryChanged(moved.session.version, operation),))
            log.filed_seq = log.journaled_seq = log.last_seq
            log.publish()
            self.histories.forget(session_id)
            return moved

    # forget

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        """Let an ended turn be unknown from now on; return how many its session has left, 0 for a stateless one.

        Raises:
            TurnUnknown: no such turn.
            SessionBusy: it is not over.
        """
        turn = self._lifecycle.find_turn(owner, turn_id)
        if turn is None:
            return await self.store.forget_turn(owner, turn_id)
        if not turn.ended.is_set():
            raise SessionBusy(f"turn {turn_id!r} is not over; stop it first", turn_id=turn_id)
        del self._lifecycle.turns[turn_id]  # an ended stateless turn: there is no more of it than this
        return 0

    async def erase_owner(self, owner: str) -> None:
        """Stop what an owner's turns do, and remove all that belongs to him.

        Raises:
            SessionBusy: a new turn began meanwhile; refuse the owner first, then erase.
        """
        for turn in [turn for turn in self._lifecycle.open_turns if turn.room.owner == owner]:
            await self._lifecycle.end_unless_closed(turn, "stopped", "erased")
        await self.sessions.erase(owner)
        for turn_id in [turn_id for turn_id, turn in self._lifecycle.turns.items() if turn.room.owner == owner]:
            del self._lifecycle.turns[turn_id]  # ended stateless turns


def _first_seq(turn: RunningTurn, log: SessionLog) -> int:
    return log.first_seqs.get(turn.turn_id) or turn.turn.first_seq or 1


def _turn_cursor(first: int, after: int | None) -> int:
    """Return where a turn's stream starts: not before the turn, but at a cursor that is none (-1) to get a snapshot."""
    return after if after is not None and (after < 0 or after > first) else first
