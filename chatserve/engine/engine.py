"""`TurnEngine`: submit a turn, follow a log, stop what runs.

Admission, queueing and the end of turns stand here; running a function is `TurnRunner`'s, durability of events
`Journal`'s. A turn's life: `submit` → `_begin` (one transaction) → `_run` in its own task → `_end` (one transaction), and
`_end` is reached by every way out: the function returned or raised, stop, deadline, abandonment, a newer message, shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from chatserve.chat_function import Chat
from chatserve.contracts import (
    BeginTurn,
    BegunTurn,
    CommittedTurn,
    CommitTurn,
    FileKeeper,
    FrameEncoder,
    HistoryFormat,
    HistoryMove,
    Idempotency,
    Interpreter,
    MovedHistory,
    NewSession,
    RenderOptions,
    Store,
    TurnRecord,
)
from chatserve.engine.admission import Admission
from chatserve.engine.attachments import Attachments
from chatserve.engine.examples import ExampleCache
from chatserve.engine.histories import Histories
from chatserve.engine.janitor import keep_clean
from chatserve.engine.journal import Journal
from chatserve.engine.log import SessionLog
from chatserve.engine.readers import Reader, Readers
from chatserve.engine.room import Room
from chatserve.engine.rooms import Rooms
from chatserve.engine.runner import TurnRunner, changed_session
from chatserve.engine.sessions import Sessions
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turn import RunningTurn
from chatserve.errors import (
    ChatserveError,
    ChatUnknown,
    LeaseLost,
    Overloaded,
    QueueFull,
    RequestError,
    SessionBusy,
    ShuttingDown,
    StoreError,
    VersionConflict,
)
from chatserve.events import Done, Event, Failed, HistoryChanged, NumberedEvent, TurnAccepted
from chatserve.settings import Settings
from chatserve.types import FinalStatus, Message, Session, Turn, TurnError, TurnRequest, UserInput

logger = logging.getLogger("chatserve.engine")

TICK_S: Final = 1.0
MAX_LEFT_RUNNING: Final = 64
"""How many stopped functions may still run before new turns are refused."""

MAX_ENDED_STATELESS: Final = 256
"""How many ended stateless turns can still be read."""

COMMIT_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0)


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
        self.settings = parts.settings
        self.store = parts.store
        self.clock = parts.clock
        self.new_id = parts.new_id
        self.is_draining = False
        self._chats = parts.chats
        self._tasks = OwnedTasks()
        self._admissions = {
            name: Admission[RunningTurn](chat.options.concurrency_limit, chat.options.max_queue)
            for name, chat in parts.chats.items()
        }
        render_options = {flag: RenderOptions(flag, parts.files.path_of) for flag in (False, True)}
        self.histories = Histories(parts.store, parts.history_formats, render_options)
        self.examples = ExampleCache()
        self.attachments = Attachments(parts.store)
        self._journal = Journal(parts.store, self._tasks, parts.clock, is_strict=parts.settings.durability == "events")
        self._runner = TurnRunner(
            parts.store,
            parts.files,
            self.histories,
            self.examples,
            self._journal,
            parts.new_interpreter,
            parts.settings,
            parts.clock,
            parts.new_id,
        )
        self.rooms = Rooms(parts.store)
        self._turns: dict[str, RunningTurn] = {}
        self._stateless: deque[str] = deque()
        self._left_running: list[RunningTurn] = []
        self.readers = Readers(parts.store, parts.settings.max_readers)
        self.sessions = Sessions(
            parts.store,
            parts.files,
            self.rooms,
            self.histories,
            self.readers,
            parts.settings,
            parts.clock,
            parts.new_id,
        )

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
    def open_turns(self) -> Sequence[RunningTurn]:
        """The turns that are queued or run."""
        return [turn for turn in self._turns.values() if not turn.ended.is_set()]

    async def drain(self, timeout_s: float) -> None:
        """Take no new turns; give those that run `timeout_s`, then end them as interrupted."""
        self.is_draining = True
        waits = [asyncio.ensure_future(turn.ended.wait()) for turn in self.open_turns]
        if waits:
            await asyncio.wait(waits, timeout=timeout_s)
            for wait in waits:
                wait.cancel()
        await self.interrupt_all()

    async def interrupt_all(self) -> None:
        """End every open turn as interrupted, its partial text kept."""
        turns = list(self.open_turns)
        await asyncio.gather(*(self._end_unless_closed(turn, "interrupted", "shutdown") for turn in turns))

    async def close(self) -> None:
        """End what is left, store what is not stored, close the store."""
        self.is_draining = True
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
        try:
            return self._chats[name]
        except KeyError:
            known = ", ".join(self._chats)
            raise ChatUnknown(f"no chat is named {name!r}; there are: {known}", chats=list(self._chats)) from None

    async def submit(self, request: TurnRequest) -> RunningTurn:
        """Accept a turn: when this returns, it is stored, and runs or waits.

        Raises:
            RequestError: anything the client must change; nothing was stored.
            StoreError: the store failed; nothing was stored.
        """
        if self.is_draining:
            raise ShuttingDown("the server is about to stop; try again in a moment")
        chat = self.chat(request.chat)
        inputs = chat.check_inputs(request.inputs)
        self._check_left_running()
        await chat.validate(request.message.text, inputs)
        if request.history is not None:
            request = replace(request, history=await self.attachments.check(request.owner, request.history))
        if request.session_id is None and request.history is not None:
            return self._submit_stateless(chat, request, inputs)
        request = self._with_session(request)
        return await self._tasks.finish(self._enter(chat, request, inputs), name="chatserve-submit")

    async def _enter(self, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        """Go on in the session's room; whoever is there is not cancelled, for that would leave a turn half begun."""
        async with self.rooms.use(request.owner, request.session_id or "") as room, room.lock:
            return await self._submit_in(room, chat, request, inputs)

    def _with_session(self, request: TurnRequest) -> TurnRequest:
        if request.session_id is not None:
            return request
        return replace(request, session_id=self.new_id("s_"), create_session=True)

    def _check_left_running(self) -> None:
        self._left_running = [turn for turn in self._left_running if turn.call is not None and turn.call.is_running]
        if len(self._left_running) >= MAX_LEFT_RUNNING:
            raise Overloaded(f"{len(self._left_running)} functions that were stopped still run; try again later")

    def _submit_stateless(self, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        admission = self._admissions[chat.options.name]
        status = self._place(admission, waits=not admission.has_slot())
        room = Room(request.owner, "")
        room.open_log(0)
        now = self.clock()
        message = Message(self.new_id("m_"), "user", request.message.parts, now)
        record = Turn(self.new_id("t_"), "", chat.options.name, status, message.message_id, now)
        begun = BegunTurn(_NO_SESSION, record, message, None)
        return self._accept(RunningTurn(record, room, chat, request, inputs, message, None), begun)

    def _place(self, admission: Admission[RunningTurn], *, waits: bool) -> Literal["queued", "running"]:
        """Take a slot, or see that there is room in the queue. Raises: QueueFull."""
        if not waits:
            admission.enter()
            return "running"
        if admission.queue_is_full:
            raise QueueFull(
                f"{len(admission.waiting)} turns wait already; try again later", max_queue=admission.max_queue
            )
        admission.expected += 1
        return "queued"

    async def _submit_in(self, room: Room, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        when_busy = request.when_busy or chat.options.when_busy
        rolled_back = None
        if room.is_busy and when_busy in ("interrupt", "rollback"):
            replayed = await self._replayed(room, chat, request, inputs)
            if replayed is not None:
                return replayed
            request = await self._at_version(room, request)
            rolled_back = await self._make_way(room, when_busy)
        if room.is_busy and when_busy != "queue":
            return await self._begin(room, chat, request, inputs, "running")  # a replay, or SessionBusy
        admission = self._admissions[chat.options.name]
        status = self._place(admission, waits=room.is_busy or not admission.has_slot())
        try:
            turn = await self._begin(room, chat, request, inputs, status, rolled_back)
        except BaseException:
            self._give_back(admission, status)
            raise
        if turn.replayed:
            self._give_back(admission, status)
        return turn

    def _give_back(self, admission: Admission[RunningTurn], status: Literal["queued", "running"]) -> None:
        """Give back what `_place` took for a turn that did not come to be."""
        if status == "running":
            admission.leave()
            self._start_waiting(admission)
        else:
            admission.expected -= 1

    async def _at_version(self, room: Room, request: TurnRequest) -> TurnRequest:
        """Check the version a request is meant for before anything is ended for it. Raises: VersionConflict."""
        if request.if_version is None:
            return request
        session = await self.store.get_session(room.owner, room.session_id)
        if session.version != request.if_version:
            raise VersionConflict(
                f"session {room.session_id!r} is at version {session.version}, not {request.if_version}",
                version=session.version,
            )
        return replace(request, if_version=None)

    async def _replayed(
        self, room: Room, chat: Chat, request: TurnRequest, inputs: dict[str, Any]
    ) -> RunningTurn | None:
        if request.idempotency_key is None:
            return None
        with contextlib.suppress(SessionBusy):
            return await self._begin(room, chat, request, inputs, "running")
        return None

    async def _make_way(self, room: Room, when_busy: str) -> str | None:
        """End what runs and waits in the room; return the turn to roll back."""
        for turn in list(room.queue):
            await self._end(turn, "interrupted", "superseded")
        current = room.current
        if current is None:
            return None
        await self._end(current, "interrupted", "superseded")
        return current.turn_id if when_busy == "rollback" else None

    async def _begin(
        self,
        room: Room,
        chat: Chat,
        request: TurnRequest,
        inputs: dict[str, Any],
        status: Literal["queued", "running"],
        rolled_back: str | None = None,
    ) -> RunningTurn:
        """Write the turn down, and let it run or wait. Raises: what `Store.begin_turn` raises."""
        begun = await self.store.begin_turn(self._begin_turn(room, request, status, rolled_back))
        if begun.replayed:
            return await self._known_turn(chat, request, begun)
        room.open_log(begun.session.last_seq)
        file_ids = [part.file_id for part in request.message.files]
        if file_ids:
            await self.store.attach_files(room.owner, room.session_id, file_ids)
        turn = RunningTurn(begun.turn, room, chat, request, inputs, begun.user_message, begun.parent_id)
        return self._accept(turn, begun)

    def _begin_turn(
        self, room: Room, request: TurnRequest, status: Literal["queued", "running"], rolled_back: str | None
    ) -> BeginTurn:
        now = self.clock()
        message = None
        if request.operation != "retry":
            role: Literal["user", "tool"] = "tool" if request.message.tool_results else "user"
            message = Message(self.new_id("m_"), role, request.message.parts, now)
        key = request.idempotency_key
        return BeginTurn(
            owner=request.owner,
            session_id=room.session_id,
            turn_id=self.new_id("t_"),
            chat=request.chat,
            status=status,
            user_message=message,
            now=now,
            operation=request.operation,
            target_message_id=request.target_message_id,
            create=NewSession(room.session_id, request.owner) if request.create_session else None,
            history=request.history,
            rollback_turn_id=rolled_back,
            idempotency=None
            if key is None
            else Idempotency(key, request.body_hash or "", now + self.settings.idempotency_ttl_s),
            if_version=request.if_version,
        )

    async def _known_turn(self, chat: Chat, request: TurnRequest, begun: BegunTurn) -> RunningTurn:
        """Return the turn that an idempotency key stands for. Its session may be another than this request's own."""
        known = self._turns.get(begun.turn.turn_id)
        if known is not None:
            known.replayed = True
            return known
        record = await self.store.get_turn(request.owner, begun.turn.turn_id)
        request = replace(request, http_request=None)
        async with self.rooms.use(request.owner, begun.session.session_id) as room:
            room.open_log(begun.session.last_seq)
            turn = RunningTurn(
                record.turn,
                room,
                chat,
                request,
                {},
                record.user_message,
                None,
                closed=True,
                replayed=True,
                record=record,
            )
        turn.ended.set()
        return turn

    def _accept(self, turn: RunningTurn, begun: BegunTurn) -> RunningTurn:
        self._turns[turn.turn_id] = turn
        if turn.turn.status == "running":
            turn.room.current = turn
            self._start(turn, begun)
            return turn
        admission = self._admissions[turn.chat.options.name]
        admission.expected -= 1
        admission.waiting.append(turn)
        turn.room.queue.append(turn)
        position = len(admission.waiting)
        self._log(
            turn, TurnAccepted(turn.turn, turn.user_message, begun.session.version, position, admission.eta_s(position))
        )
        self._start_waiting(admission)  # a slot may have become free while the turn was written down
        return turn

    def _start(self, turn: RunningTurn, begun: BegunTurn) -> None:
        options = turn.chat.options
        turn.started_at = self.clock()
        user_message = None if turn.request.operation == "retry" else turn.user_message
        assert turn.room.log is not None
        turn.room.log.entry_seq = turn.room.log.last_seq
        self._log(turn, TurnAccepted(turn.turn, user_message, begun.session.version))
        turn.session = None if turn.room.is_stateless else begun.session
        turn.task = self._tasks.start(self._run(turn), name=f"chatserve-turn {turn.turn_id}")
        timeout_s = options.turn_timeout_s if options.turn_timeout_s is not None else self.settings.turn_timeout_s
        turn.deadline = asyncio.get_running_loop().call_later(timeout_s, self._time_out, turn, timeout_s)

    def _log(self, turn: RunningTurn, event: Event) -> None:
        """Put an event of a turn's frame (not of its answer) in the log. Its transaction is behind it."""
        log = turn.room.log
        assert log is not None
        log.begin_turn(turn.turn_id)
        log.append(turn.turn_id, (event,))
        self._journal.publish_soon(log)

    # run

    async def _run(self, turn: RunningTurn) -> None:
        try:
            error = await self._runner.run(turn)
        finally:
            turn.function_ended.set()
        while not turn.closed:
            with contextlib.suppress(asyncio.CancelledError):  # the function may have left a cancel behind
                end = self._end_unless_closed(
                    turn, "failed" if error else "completed", "error" if error else "stop", error
                )
                await self._tasks.finish(end, name=f"chatserve-end {turn.turn_id}")

    def _time_out(self, turn: RunningTurn, timeout_s: float) -> None:
        error = TurnError(
            "turn_timeout", f"the turn took longer than {timeout_s:g} s", self.new_id("e_"), retryable=True
        )
        error = replace(error, status_code=504)
        self._tasks.spawn(self._end_unless_closed(turn, "failed", "timeout", error), name="chatserve-timeout")

    async def _end_unless_closed(
        self, turn: RunningTurn, status: FinalStatus, reason: str, error: TurnError | None = None
    ) -> None:
        async with turn.room.lock:
            if not turn.closed:
                await self._end(turn, status, reason, error)

    # end

    async def _end(
        self,
        turn: RunningTurn,
        status: FinalStatus,
        reason: str,
        error: TurnError | None = None,
    ) -> None:
        """End a turn; the caller holds the room's lock and has seen that the turn is not closed."""
        turn.closed = True
        turn.cancel_timers()
        await self._unwind(turn)
        log, draft = turn.room.log, turn.draft
        assert log is not None
        async with log.numbering:  # a turn that waited may end while another one of its session runs
            last: list[Event] = list(draft.close()) if draft else []
            if error is not None:
                last.append(Failed(error))
            log.append(turn.turn_id, last)
            self._journal.publish(log)
            commit = self._commit_turn(turn, status, _finish_reason(turn, status, reason), error)
            committed = await self._commit(turn, commit)
            self._conclude(turn, committed)

    async def _unwind(self, turn: RunningTurn) -> None:
        """Cancel the function if it still runs; wait for an async one to clean up, but not for long."""
        if turn.call is not None:
            turn.call.cancel()
        task = turn.task
        if task is None or task is asyncio.current_task() or turn.function_ended.is_set():
            return
        task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.function_ended.wait(), self.settings.stop_grace_s)
        if not turn.function_ended.is_set():
            task.cancel()

    def _commit_turn(self, turn: RunningTurn, status: FinalStatus, reason: str, error: TurnError | None) -> CommitTurn:
        log, draft = turn.room.log, turn.draft
        assert log is not None
        state, title = changed_session(turn)
        return CommitTurn(
            owner=turn.room.owner,
            session_id=turn.room.session_id,
            turn_id=turn.turn_id,
            now=self.clock(),
            status=status,
            finish_reason=reason,
            messages=draft.messages(status) if draft else (),
            events=tuple(log.unfiled()),
            first_seq=log.first_seqs.get(turn.turn_id),
            done_seq=log.last_seq + 1,
            usage=draft.usage if draft else None,
            error=error,
            state=state,
            title=title,
        )

    async def _commit(self, turn: RunningTurn, commit: CommitTurn) -> CommittedTurn:
        """Write the end of the turn, trying again while the store is away."""
        if turn.room.is_stateless:
            return _stateless_commit(turn, commit)
        for pause_s in (*COMMIT_RETRY_S, None):
            try:
                return await self.store.commit_turn(commit)
            except LeaseLost:
                break
            except StoreError as error:
                logger.warning("turn %s could not be committed yet: %s", turn.turn_id, error)
                if pause_s is None:
                    break
                await asyncio.sleep(pause_s)
            except Exception:  # a turn ends, whatever else is broken
                logger.exception("turn %s cannot be committed", turn.turn_id)
                break
        return self._uncommitted(turn, commit)

    def _uncommitted(self, turn: RunningTurn, commit: CommitTurn) -> CommittedTurn:
        """Say of a turn that could not be committed what the next start would make of it: it was interrupted."""
        logger.error("turn %s was not committed in time; it is shown as interrupted", turn.turn_id)
        commit = replace(commit, status="interrupted", finish_reason="store_unavailable")
        self._tasks.spawn(self._commit_late(commit), name=f"chatserve-commit {turn.turn_id}")
        return _stateless_commit(turn, commit)

    async def _commit_late(self, commit: CommitTurn) -> None:
        """Write the end of a turn when the store is back, so that its session is free again before the next start."""
        while True:
            await asyncio.sleep(COMMIT_RETRY_S[-1])
            try:
                await self.store.commit_turn(commit)
            except LeaseLost:
                return
            except StoreError:
                continue
            except Exception:
                logger.exception("turn %s cannot be committed; the next start will end it", commit.turn_id)
            return

    def _conclude(self, turn: RunningTurn, committed: CommittedTurn) -> None:
        """Let everybody know that the turn is over."""
        log = turn.room.log
        assert log is not None
        done = NumberedEvent(log.last_seq + 1, turn.turn_id, committed.done)
        log.close_turn(done)
        if turn.started_at:
            log.entry_seq = done.seq
        log.filed_seq = log.journaled_seq = done.seq
        log.publish()
        log.trim()
        turn.turn = committed.turn
        turn.record = TurnRecord(committed.turn, turn.user_message, committed.done.messages)
        if turn.room.is_stateless:
            turn.room.record = turn.record
        self._remember_history(turn, committed.done)
        turn.ended.set()
        self._forget(turn)
        if committed.turn.status == "completed" and turn.request.example is not None:
            self.examples.put(turn.chat.options.name, turn.request.example, committed.done.messages)
        call = turn.call
        if call is not None and call.is_running:
            self._left_running.append(turn)
        self._give_place(turn)

    def _forget(self, turn: RunningTurn) -> None:
        """Leave an ended turn to the store; a stateless one stays in reach for a while."""
        if not turn.room.is_stateless:
            del self._turns[turn.turn_id]
            return
        self._stateless.append(turn.turn_id)
        if len(self._stateless) > MAX_ENDED_STATELESS:
            self._turns.pop(self._stateless.popleft(), None)

    def _remember_history(self, turn: RunningTurn, done: Done) -> None:
        if turn.room.is_stateless or turn.user_message is None or not turn.started_at:
            return
        self.histories.extend(turn.room.session_id, turn.parent_id, (turn.user_message, *done.messages))

    def _give_place(self, turn: RunningTurn) -> None:
        room, admission = turn.room, self._admissions[turn.chat.options.name]
        if turn in room.queue:
            room.queue.remove(turn)
            admission.waiting.remove(turn)
        if room.current is turn:
            room.current = None
            admission.leave(self.clock() - turn.started_at if turn.started_at else None)
        for waiting in self._admissions.values():
            self._start_waiting(waiting)

    def _start_waiting(self, admission: Admission[RunningTurn]) -> None:
        """Let those run that waited longest, as far as there are slots and their sessions are free."""
        if not admission.waiting or not admission.has_slot() or self.is_draining:
            return
        for turn in list(admission.waiting):
            room = turn.room
            if admission.has_slot() and room.current is None and room.queue[0] is turn:
                admission.waiting.remove(turn)
                room.queue.popleft()
                room.current = turn
                admission.enter()
                self._tasks.spawn(self._start_queued(turn), name=f"chatserve-start {turn.turn_id}")

    async def _start_queued(self, turn: RunningTurn) -> None:
        room = turn.room
        async with room.lock:
            if turn.closed:
                return
            try:
                begun = await self._begun(turn)
            except ChatserveError as error:
                failure = TurnError(error.code, error.detail, self.new_id("e_"), retryable=True, status_code=503)
                await self._end(turn, "failed", "error", failure)
                return
            turn.turn, turn.parent_id = begun.turn, begun.parent_id
            turn.user_message = begun.user_message or turn.user_message
            self._start(turn, begun)

    async def _begun(self, turn: RunningTurn) -> BegunTurn:
        if turn.room.is_stateless:
            return BegunTurn(_NO_SESSION, replace(turn.turn, status="running"), turn.user_message, None)
        return await self.store.start_turn(turn.room.owner, turn.room.session_id, turn.turn_id, now=self.clock())

    # stop

    async def stop_session(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        """Stop what runs and waits in a session; return those turns. Raises: SessionUnknown."""
        await self.store.get_session(owner, session_id)
        return await self._tasks.finish(self._stop_all(owner, session_id), name="chatserve-stop")

    async def _stop_all(self, owner: str, session_id: str) -> tuple[RunningTurn, ...]:
        async with self.rooms.use(owner, session_id) as room, room.lock:
            turns = [*room.queue, *([room.current] if room.current else [])]
            for turn in turns:
                if not turn.closed:
                    await self._end(turn, "stopped", "stopped")
            return tuple(turns)

    async def stop_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Stop a turn, and return what became of it; one that is over stays as it is. Raises: TurnUnknown."""
        turn = self.find_turn(owner, turn_id)
        if turn is None:
            return await self.store.get_turn(owner, turn_id)
        self.stop_soon(turn)
        await turn.ended.wait()
        assert turn.record is not None
        return turn.record

    def stop_soon(self, turn: RunningTurn) -> None:
        """Stop a turn without waiting for its end."""
        self._tasks.spawn(self._end_unless_closed(turn, "stopped", "stopped"), name="chatserve-stop")

    def find_turn(self, owner: str, turn_id: str) -> RunningTurn | None:
        """Return an open turn of this owner, or None. A foreign turn is an unknown one."""
        turn = self._turns.get(turn_id)
        return turn if turn is not None and turn.room.owner == owner else None

    async def get_turn(self, owner: str, turn_id: str) -> TurnRecord:
        """Return a turn as it is now: an open one with its answer so far. Raises: TurnUnknown."""
        turn = self.find_turn(owner, turn_id)
        if turn is None:
            return await self.store.get_turn(owner, turn_id)
        return turn.record or TurnRecord(turn.turn, turn.user_message, turn.draft.messages() if turn.draft else ())

    # follow

    def read_turn(self, turn: RunningTurn, encoder: FrameEncoder) -> Reader:
        """Return a reader of a turn from its beginning, attached. Raises: Overloaded."""
        log = turn.room.log
        assert log is not None
        if turn.record is not None and turn.turn.done_seq is not None:
            log.done_seqs.setdefault(turn.turn_id, turn.turn.done_seq)  # it may have ended before this log began
        reader = Reader(turn.room, encoder, _first_seq(turn, log) - 1, turn.turn_id)
        self._attach(reader)
        return reader

    async def follow_turn(
        self, owner: str, turn_id: str, after: int | None, encoder: FrameEncoder
    ) -> Reader | TurnRecord:
        """Return a reader of a turn after a cursor (None: from its beginning), or the turn when its log is gone.

        Raises:
            TurnUnknown: no such turn.
        """
        turn = self.find_turn(owner, turn_id)
        if turn is not None:
            reader = self.read_turn(turn, encoder)
            reader.cursor = _turn_cursor(reader.cursor, after)
            return reader
        record = await self.store.get_turn(owner, turn_id)
        async with self.rooms.use(owner, record.turn.session_id) as room, room.lock:
            log = await self.rooms.log_of(room)
            if record.turn.done_seq is None or record.turn.first_seq is None:
                return record
            log.done_seqs.setdefault(turn_id, record.turn.done_seq)
            cursor = _turn_cursor(record.turn.first_seq - 1, after)
            page = await self.store.read_events(record.turn.session_id, after=cursor, limit=1)
            if cursor < page.first_seq - 1 or cursor > log.published_seq:
                return record
            reader = Reader(room, encoder, cursor, turn_id)
            self._attach(reader)
            return reader

    async def follow_session(self, owner: str, session_id: str, after: int | None, encoder: FrameEncoder) -> Reader:
        """Return a reader of a session after a cursor; without one it starts with the open turn, or live.

        Raises:
            SessionUnknown: no such session.
            Overloaded: too many readers.
        """
        await self.store.get_session(owner, session_id)
        async with self.rooms.use(owner, session_id) as room:
            async with room.lock:
                log = await self.rooms.log_of(room)
            cursor = after
            if cursor is None:
                open_turn = room.current or (room.queue[0] if room.queue else None)
                cursor = max(_first_seq(open_turn, log) - 1, log.entry_seq) if open_turn else log.published_seq
            reader = Reader(room, encoder, cursor)
            self._attach(reader)
            return reader

    def _attach(self, reader: Reader) -> None:
        self.readers.attach(reader)
        self._disarm_abandonment(reader.room)

    def detach(self, reader: Reader) -> None:
        """Let a reader go; when it was the last one, its turns are ended unless one comes back in time."""
        if self.readers.detach(reader):
            self._arm_abandonment(reader.room)

    # abandonment

    def _arm_abandonment(self, room: Room) -> None:
        """Nobody reads in this room any more: end its turns unless a reader comes back in time."""
        grace_s = self.settings.abandon_grace_s
        if grace_s is None:
            return
        for turn in (*room.queue, *([room.current] if room.current else [])):
            if not turn.detached and turn.abandon is None and not turn.closed:
                turn.abandon = asyncio.get_running_loop().call_later(grace_s, self._abandon, turn)

    def _disarm_abandonment(self, room: Room) -> None:
        """Somebody reads."""
        for turn in (*room.queue, *([room.current] if room.current else [])):
            if turn.abandon is not None:
                turn.abandon.cancel()
                turn.abandon = None

    def _abandon(self, turn: RunningTurn) -> None:
        turn.abandon = None
        if not turn.closed and turn.room.readers == 0:
            self._tasks.spawn(self._end_unless_closed(turn, "interrupted", "abandoned"), name="chatserve-abandon")

    # history operations

    async def move_history(
        self, owner: str, session_id: str, operation: Literal["undo", "clear"], if_version: int | None
    ) -> MovedHistory:
        """Undo the last turn or clear the history. Raises: what `Store.move_history` raises."""
        async with self.rooms.use(owner, session_id) as room, room.lock:
            log = await self.rooms.log_of(room)
            move = HistoryMove(owner, session_id, operation, self.clock(), log.last_seq + 1, if_version)
            moved = await self.store.move_history(move)
            log.append(None, (HistoryChanged(moved.session.version, operation),))
            log.filed_seq = log.journaled_seq = log.last_seq
            log.publish()
            self.histories.forget(session_id)
            return moved

    async def erase_owner(self, owner: str) -> None:
        """Stop what an owner's turns do, and remove all that belongs to him.

        Raises:
            SessionBusy: a new turn began meanwhile; refuse the owner first, then erase.
        """
        for turn in [turn for turn in self.open_turns if turn.room.owner == owner]:
            await self._end_unless_closed(turn, "stopped", "erased")
        await self.sessions.erase(owner)
        for turn_id in [turn_id for turn_id, turn in self._turns.items() if turn.room.owner == owner]:
            del self._turns[turn_id]  # ended stateless turns


_NO_SESSION: Final = Session("", "", None, {}, {}, 0, None, 0, 0.0, 0.0)


def _first_seq(turn: RunningTurn, log: SessionLog) -> int:
    return log.first_seqs.get(turn.turn_id) or turn.turn.first_seq or 1


def _turn_cursor(first: int, after: int | None) -> int:
    """Return where a turn's stream starts: not before the turn, but at a cursor that is none (-1) to get a snapshot."""
    return after if after is not None and (after < 0 or after > first) else first


def _finish_reason(turn: RunningTurn, status: FinalStatus, reason: str) -> str:
    if status != "completed":
        return reason
    draft = turn.draft
    if draft is None:
        return "stop"
    return draft.finish_reason or ("tool_calls" if draft.awaits_tools else "stop")


def _stateless_commit(turn: RunningTurn, commit: CommitTurn) -> CommittedTurn:
    """Return what a commit would have returned, for a turn of which nothing is stored."""
    ended = replace(
        turn.turn,
        status=commit.status,
        finished_at=commit.now,
        finish_reason=commit.finish_reason,
        usage=commit.usage,
        error=commit.error,
        done_seq=commit.done_seq,
    )
    done = Done(turn.turn_id, commit.status, commit.finish_reason, commit.messages, commit.usage)
    return CommittedTurn(_NO_SESSION, ended, done)
