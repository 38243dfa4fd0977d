"""`TurnEngine`: submit turns, follow logs, stop turns. Routes use the engine only through this class.

`Submission` accepts turns, `TurnLifecycle` starts and ends them, `TurnRunner` runs functions, `Journal` makes events
durable, `Readers` counts the readers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatserve.chat_function import Chat
from chatserve.contracts.formats import FrameEncoder
from chatserve.contracts.turns import TurnCall, TurnRecord, TurnRequest
from chatserve.core.errors import ChatserveError, SessionBusy
from chatserve.core.types import Turn
from chatserve.engine.cursors import Cursor, StoreFeed
from chatserve.engine.log.journal import Journal
from chatserve.engine.log.speech import Publisher
from chatserve.engine.parts import EngineParts
from chatserve.engine.readers import Reader, Readers
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.sessions.rooms import Room, Rooms
from chatserve.engine.sessions.sessions import Sessions
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.lifecycle import TurnLifecycle
from chatserve.engine.turns.runner import TurnRunner
from chatserve.engine.turns.submission import Submission
from chatserve.engine.turns.turn import Ending, RunningTurn

logger = logging.getLogger("chatserve.engine")


class TurnEngine:
    """Runs turns. One engine per process and event loop."""

    def __init__(self, parts: EngineParts) -> None:
        store, settings, pace = parts.store, parts.settings, parts.pace
        self.settings = settings
        self.pace = pace
        self.store = store
        self.clock = parts.clock
        self.new_id = parts.new_id
        self._chats = parts.chats
        self._tasks = OwnedTasks()
        self.attachments = Attachments(store)
        self.rooms = Rooms(store, pace)
        self.histories = Histories(store, parts.history_formats, parts.files.path_of, pace.max_cached_messages)
        self._journal = Journal(store, self._tasks, parts.clock, pace, is_strict=settings.durability == "events")
        self._runner = TurnRunner(parts, self.histories, Publisher(self._journal, self._tasks, pace))
        self._lifecycle = TurnLifecycle(parts, self._runner, self._journal, self._tasks)
        self._submission = Submission(
            parts, self._lifecycle, self.rooms, self.attachments, self._runner.files, self._tasks
        )
        self.readers = Readers(StoreFeed(store, self._lifecycle.turns), settings.max_readers, pace)
        self.sessions = Sessions(parts, self.rooms, self.histories, self.readers)

    # life

    async def open(self) -> tuple[Turn, ...]:
        """Open the store; return the turns that a crash left open. Raises: ConfigurationError."""
        left_open = await self.store.open(now=self.clock())
        await self._runner.files.open()
        self._tasks.spawn(self._tick(), name="chatserve-tick")
        self._tasks.spawn(self._answer_examples(), name="chatserve-examples")
        self._tasks.spawn(self.sessions.keep_clean(), name="chatserve-janitor")
        return left_open

    async def _tick(self) -> None:
        """At every tick, send pings on silent streams and end stalled ones."""
        ping_ticks = max(1, round(self.settings.ping_interval_s / self.pace.tick_s))
        stall_ticks = max(1, round(self.settings.send_timeout_s / self.pace.tick_s))
        while True:
            await asyncio.sleep(self.pace.tick_s)
            self.readers.tick(ping_ticks, stall_ticks)

    async def _answer_examples(self) -> None:
        """Fill the example caches of the chats that ask for it at the start."""
        for name, chat in self._chats.items():
            if chat.options.cache_examples != "eager":
                continue
            for number, example in enumerate(chat.examples):
                call = TurnCall(name, example.text, local_files=example.files, inputs=example.inputs, example=number)
                try:
                    turn = await self.submit(TurnRequest(call, history=()))
                except ChatserveError as error:
                    logger.warning("example %d of chat %r was not answered: %s", number, name, error)
                    continue
                await turn.ended.wait()

    @property
    def is_draining(self) -> bool:
        """True once the engine accepts no new turns."""
        return self._lifecycle.is_draining

    @property
    def open_turns(self) -> Sequence[RunningTurn]:
        """The turns that wait or run."""
        return self._lifecycle.turns.open_turns

    def refuse_turns(self) -> None:
        """Accept no new turns from now on, because the server is about to stop."""
        self._lifecycle.is_draining = True

    async def drain(self, timeout_s: float) -> None:
        """Accept no new turns, end the waiting ones, and give the running ones `timeout_s` to end.

        The rest of that time is for sending readers everything that was published.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        self.refuse_turns()
        self._lifecycle.end_waiting(Ending("interrupted", "shutdown"))
        waits = [asyncio.ensure_future(turn.ended.wait()) for turn in self.open_turns]
        if waits:
            await asyncio.wait(waits, timeout=timeout_s)
            for wait in waits:
                wait.cancel()
        await self.interrupt_all()
        await self.readers.settle(until - loop.time())

    async def interrupt_all(self) -> None:
        """End every open turn as interrupted and keep its partial answer."""
        ending = Ending("interrupted", "shutdown")
        await asyncio.gather(*(self._lifecycle.end_unless_closed(turn, ending) for turn in self.open_turns))

    async def close(self) -> None:
        """End the remaining turns, store the remaining events, close the store."""
        self.refuse_turns()
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
        """Accept a turn: when this returns, the turn is stored, and runs or waits.

        Raises:
            RequestError: the client must change the request; nothing was stored.
            StoreError: the store failed; nothing was stored.
        """
        return await self._submission.submit(request)

    # stop

    async def stop_session(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        """Stop all running and waiting turns of a session, and return them. Raises: SessionUnknown."""
        await self.store.get_session(owner, session_id)
        return await self._tasks.finish(self._stop_all(owner, session_id), name="chatserve-stop")

    async def _stop_all(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        async with self.rooms.locked(owner, session_id) as room:
            turns = self._lifecycle.turns.turns_in(room)[::-1]  # waiting turns first, so that none of them starts
            for turn in turns:
                if not turn.closed:
                    await self._lifecycle.end(turn, Ending("stopped", "stopped"))
            return tuple(turns)

    async def stop_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Stop a turn and return it as it ended; an ended turn stays as it is. Raises: TurnUnknown."""
        turn = self._lifecycle.turns.find(owner, turn_id)
        if turn is None:
            return await self.store.get_turn(owner, turn_id)
        self._lifecycle.stop_soon(turn)
        await turn.ended.wait()
        return turn.now()

    def stop_soon(self, turn: RunningTurn) -> None:
        """Stop a turn without waiting for its end."""
        self._lifecycle.stop_soon(turn)

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Return a turn in its present state, with its answer so far if it is open. Raises: TurnUnknown."""
        turn = self._lifecycle.turns.find(owner, turn_id)
        return await self.store.get_turn(owner, turn_id) if turn is None else turn.now()

    # follow

    def read_turn(self, turn: RunningTurn, encoder: FrameEncoder, after: int | None = None) -> Reader:
        """Return an attached reader of a turn after a cursor (None: from its beginning). Raises: Overloaded."""
        log = turn.log
        if turn.record is not None and turn.turn.done_seq is not None:
            log.note_done(turn.turn_id, turn.turn.done_seq)
        seq = _turn_cursor(log.first_seq_of(turn.turn) - 1, after)
        return self._reader(turn.room, Cursor(log, encoder, seq, turn.turn_id))

    async def follow_turn(
        self, owner: str, turn_id: str, after: int | None, encoder: FrameEncoder
    ) -> Reader | TurnRecord:
        """Return a reader of a turn after a cursor (None: from its beginning), or the turn if its log is gone.

        Raises:
            TurnUnknown: the turn does not exist.
        """
        turn = self._lifecycle.turns.find(owner, turn_id)
        if turn is not None:
            return self.read_turn(turn, encoder, after)
        record = await self.store.get_turn(owner, turn_id)
        async with self.rooms.locked(owner, record.turn.session_id) as room:
            log = await self.rooms.log_of(room)
            if record.turn.done_seq is None or record.turn.first_seq is None:
                return record
            log.note_done(turn_id, record.turn.done_seq)
            seq = _turn_cursor(record.turn.first_seq - 1, after)
            page = await self.store.read_events(record.turn.session_id, after=seq, limit=1)
            if seq < page.first_seq - 1 or seq > log.published_seq:
                return record
            return self._reader(room, Cursor(log, encoder, seq, turn_id))

    async def follow_session(self, owner: str, session_id: str, after: int | None, encoder: FrameEncoder) -> Reader:
        """Return a reader of a session after a cursor; without one it starts with the open turn or the next event.

        Raises:
            SessionUnknown: the session does not exist.
            Overloaded: there are too many readers.
        """
        await self.store.get_session(owner, session_id)
        with self.rooms.use(owner, session_id) as room:
            async with room.lock:
                log = await self.rooms.log_of(room)
            seq = after
            if seq is None:
                open_turn = next(iter(self.turns_in(room)), None)
                seq = max(log.first_seq_of(open_turn.turn) - 1, log.entry_seq) if open_turn else log.published_seq
            return self._reader(room, Cursor(log, encoder, seq))

    def read_nothing(self, encoder: FrameEncoder) -> Reader:
        """Return an attached reader of a log without events, whose stream has only pings. Raises: Overloaded."""
        room = self.rooms.stateless("")
        return self._reader(room, Cursor(room.open_log(0), encoder, 0))

    def read_record(self, record: TurnRecord, encoder: FrameEncoder, after: int = 0) -> Reader:
        """Return a reader of the snapshot and the `done` of a turn whose log is gone. Raises: Overloaded."""
        turn_id, (snapshot, done) = record.turn.turn_id, record.as_numbered(after)
        room = self.rooms.stateless("", last_seq=snapshot.seq - 1)
        log = room.open_log(0)
        log.append(turn_id, (snapshot.event,))
        log.close_turn(done, has_run=True)
        return self._reader(room, Cursor(log, encoder, snapshot.seq - 1, turn_id))

    def turns_in(self, room: Room) -> Sequence[RunningTurn]:
        """Return the open turns of a room: the running one, then the waiting ones in their order."""
        return self._lifecycle.turns.turns_in(room)

    def _reader(self, room: Room, cursor: Cursor) -> Reader:
        reader = Reader(room, cursor)
        self.readers.attach(reader)
        self._lifecycle.disarm_abandonment(room)
        return reader

    def detach(self, reader: Reader) -> None:
        """Detach a reader. If it was the last one, its turns are ended unless a reader comes back in time."""
        if self.readers.detach(reader):
            self._empty(reader.room)

    @contextmanager
    def awaited(self, turn: RunningTurn) -> Iterator[None]:
        """Count the block as a reader of a turn, so that the turn is not abandoned. Raises: Overloaded."""
        self.readers.enter(turn.room)
        self._lifecycle.disarm_abandonment(turn.room)
        try:
            yield
        finally:
            if self.readers.leave(turn.room):
                self._empty(turn.room)

    def _empty(self, room: Room) -> None:
        """Start the abandonment of a room's turns and free memory, because the room has no readers left."""
        self._lifecycle.arm_abandonment(room)
        if room.log is not None and not room.is_busy:
            room.log.forget_filed()

    # forget

    async def forget_turn(self, owner: str, turn_id: str) -> int:
        """Delete the record of an ended turn; return how many turns its session has left, 0 for a stateless turn.

        Raises:
            TurnUnknown: the turn does not exist.
            SessionBusy: the turn has not ended.
        """
        turn = self._lifecycle.turns.find(owner, turn_id)
        if turn is None:
            return await self.store.forget_turn(owner, turn_id)
        if not turn.ended.is_set():
            raise SessionBusy(f"turn {turn_id!r} is not over; stop it first", turn_id=turn_id)
        self._lifecycle.turns.discard(turn_id)  # an ended stateless turn exists only here
        return 0

    async def erase_owner(self, owner: str) -> None:
        """Stop an owner's turns, and remove everything that belongs to the owner.

        Raises:
            SessionBusy: a new turn started meanwhile; refuse the owner's requests first, then erase.
        """
        for turn in [turn for turn in self.open_turns if turn.room.owner == owner]:
            await self._lifecycle.end_unless_closed(turn, Ending("stopped", "erased"))
        await self.sessions.erase(owner)
        self._lifecycle.turns.erase(owner)


def _turn_cursor(first: int, after: int | None) -> int:
    """Return where a turn's stream starts: not before the turn. An invalid cursor (-1) stays, to get a snapshot."""
    return after if after is not None and (after < 0 or after > first) else first
