"""A turn's life after it was accepted: it waits, runs and ends.

`accept` → `_start` → `run`, in the task that accepted it → `end`, and `end` is reached by every way out: the function
returned or raised, stop, deadline, abandonment, a newer message, shutdown. Running a function is `TurnRunner`'s, the
transaction at the end is `Commits`'.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from chatserve.chat_function import Chat
from chatserve.contracts.store import Store
from chatserve.contracts.turns import BegunTurn, CommittedTurn, TurnRecord
from chatserve.core.errors import ChatserveError, Overloaded
from chatserve.core.events import Done, Event, Failed, NumberedEvent, TurnAccepted
from chatserve.core.types import FinalStatus, TurnError
from chatserve.engine.log.journal import Journal
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.sessions.room import Room
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.timeouts import Timeouts
from chatserve.engine.turns.admission import Admission
from chatserve.engine.turns.commits import NO_SESSION, Commits
from chatserve.engine.turns.examples import ExampleCache
from chatserve.engine.turns.runner import TurnRunner
from chatserve.engine.turns.turn import RunningTurn
from chatserve.settings import Settings

MAX_LEFT_RUNNING: Final = 64
"""How many stopped functions may still run before new turns are refused."""

MAX_ENDED_STATELESS: Final = 256
"""How many ended stateless turns can still be read."""


class TurnLifecycle:
    """All open turns of this process, and what moves them on."""

    def __init__(
        self,
        store: Store,
        runner: TurnRunner,
        journal: Journal,
        tasks: OwnedTasks,
        histories: Histories,
        examples: ExampleCache,
        chats: Mapping[str, Chat],
        settings: Settings,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self.admissions = {
            name: Admission[RunningTurn](chat.options.concurrency_limit, chat.options.max_queue)
            for name, chat in chats.items()
        }
        self.turns: dict[str, RunningTurn] = {}
        self.left_running: list[RunningTurn] = []
        self.is_draining = False
        self._store = store
        self._runner = runner
        self._journal = journal
        self._tasks = tasks
        self._histories = histories
        self._examples = examples
        self._commits = Commits(store, tasks, clock)
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._stateless: deque[str] = deque()
        self._deadlines: dict[float, Timeouts[RunningTurn]] = {}

    @property
    def open_turns(self) -> Sequence[RunningTurn]:
        """The turns that are queued or run."""
        return [turn for turn in self.turns.values() if not turn.ended.is_set()]

    def find_turn(self, owner: str, turn_id: str) -> RunningTurn | None:
        """Return an open turn of this owner, or None. A foreign turn is an unknown one."""
        turn = self.turns.get(turn_id)
        return turn if turn is not None and turn.room.owner == owner else None

    def accept(self, turn: RunningTurn, begun: BegunTurn) -> RunningTurn:
        """Let a turn that is written down run or wait. If it has a task after this, that is the caller's: it `run`s."""
        self.turns[turn.turn_id] = turn
        if turn.turn.status == "running":
            turn.room.current = turn
            self._start(turn, begun)
            return turn
        admission = self.admissions[turn.chat.options.name]
        admission.expected -= 1
        admission.waiting.append(turn)
        turn.room.queue.append(turn)
        position = len(admission.waiting)
        self._log(
            turn, TurnAccepted(turn.turn, turn.user_message, begun.session.version, position, admission.eta_s(position))
        )
        self.start_waiting(admission)  # a slot may have become free while the turn was written down
        return turn

    def _start(self, turn: RunningTurn, begun: BegunTurn) -> None:
        options = turn.chat.options
        turn.started_at = self._clock()
        user_message = None if turn.request.call.operation == "retry" else turn.user_message
        assert turn.room.log is not None
        turn.room.log.entry_seq = turn.room.log.last_seq
        self._log(turn, TurnAccepted(turn.turn, user_message, begun.session.version))
        turn.session = None if turn.room.is_stateless else begun.session
        turn.task = asyncio.current_task()
        assert turn.task is not None
        turn.task.add_done_callback(partial(self._end_after, turn))
        timeout_s = options.turn_timeout_s if options.turn_timeout_s is not None else self._settings.turn_timeout_s
        deadlines = self._deadlines.get(timeout_s)
        if deadlines is None:
            deadlines = self._deadlines[timeout_s] = Timeouts(timeout_s, partial(self._time_out, timeout_s))
        deadlines.add(turn)
        turn.deadline = deadlines

    def run(self, turn: RunningTurn) -> Coroutine[Any, Any, None]:
        """Run a turn's function, in the turn's task, which ends with it."""
        return self._runner.run(turn)

    def _log(self, turn: RunningTurn, event: Event) -> None:
        """Put an event of a turn's frame (not of its answer) in the log. Its transaction is behind it."""
        log = turn.room.log
        assert log is not None
        log.begin_turn(turn.turn_id)
        log.append(turn.turn_id, (event,))
        self._journal.publish_soon(log)

    def _end_after(self, turn: RunningTurn, _task: asyncio.Task[None]) -> None:
        """End a turn whose function has ended: in a task of its own, for the function may have left a cancel behind."""
        turn.function_ended.set()
        if not turn.closed:
            error = turn.failure
            end = self.end_unless_closed(turn, "failed" if error else "completed", "error" if error else "stop", error)
            self._tasks.spawn(end, name=f"chatserve-end {turn.turn_id}")

    def _time_out(self, timeout_s: float, turn: RunningTurn) -> None:
        error = TurnError(
            "turn_timeout", f"the turn took longer than {timeout_s:g} s", self._new_id("e_"), retryable=True
        )
        error = replace(error, status_code=504)
        self._tasks.spawn(self.end_unless_closed(turn, "failed", "timeout", error), name="chatserve-timeout")

    def stop_soon(self, turn: RunningTurn) -> None:
        """Stop a turn without waiting for its end."""
        self._tasks.spawn(self.end_unless_closed(turn, "stopped", "stopped"), name="chatserve-stop")

    async def end_unless_closed(
        self, turn: RunningTurn, status: FinalStatus, reason: str, error: TurnError | None = None
    ) -> None:
        async with turn.room.lock:
            if not turn.closed:
                await self.end(turn, status, reason, error)

    def end_waiting(self, status: FinalStatus, reason: str) -> None:
        """End all turns that wait, without waiting for it."""
        for turn in self.open_turns:
            if turn.turn.status == "queued":
                self._tasks.spawn(self._end_if_waiting(turn, status, reason), name="chatserve-end-waiting")

    async def _end_if_waiting(self, turn: RunningTurn, status: FinalStatus, reason: str) -> None:
        async with turn.room.lock:
            if not turn.closed and turn.turn.status == "queued":
                await self.end(turn, status, reason)

    async def end(
        self,
        turn: RunningTurn,
        status: FinalStatus,
        reason: str,
        error: TurnError | None = None,
    ) -> None:
        """End a turn; the caller holds the room's lock and has seen that the turn is not closed."""
        turn.close()
        turn.cancel_timers()
        await self._unwind(turn)
        log, draft = turn.room.log, turn.draft
        assert log is not None
        async with log.numbering:  # a turn that waited may end while another one of its session runs
            last: list[Event] = list(draft.close()) if draft else []
            if error is not None:
                last.append(Failed(error))
            log.append(turn.turn_id, last)
            if log.published_seq < log.last_seq:  # readers that wait are not woken for nothing
                self._journal.publish(log)
            committed = await self._commits.commit(turn, status, _finish_reason(turn, status, reason), error)
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
            await asyncio.wait_for(turn.function_ended.wait(), self._settings.stop_grace_s)
        if not turn.function_ended.is_set():
            task.cancel()

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
        if committed.turn.status == "completed" and turn.request.call.example is not None:
            self._examples.put(turn.chat.options.name, turn.request.call.example, committed.done.messages)
        call = turn.call
        if call is not None and call.is_running:
            self.left_running.append(turn)
        self._give_place(turn)

    def _forget(self, turn: RunningTurn) -> None:
        """Leave an ended turn to the store; a stateless one stays in reach for a while."""
        if not turn.room.is_stateless:
            del self.turns[turn.turn_id]
            return
        self._stateless.append(turn.turn_id)
        if len(self._stateless) > MAX_ENDED_STATELESS:
            self.turns.pop(self._stateless.popleft(), None)

    def _remember_history(self, turn: RunningTurn, done: Done) -> None:
        if turn.room.is_stateless or turn.user_message is None or not turn.started_at:
            return
        self._histories.extend(turn.room.session_id, turn.parent_id, (turn.user_message, *done.messages))

    def _give_place(self, turn: RunningTurn) -> None:
        room, admission = turn.room, self.admissions[turn.chat.options.name]
        if turn in room.queue:
            room.queue.remove(turn)
            admission.waiting.remove(turn)
        if room.current is turn:
            room.current = None
            admission.leave(self._clock() - turn.started_at if turn.started_at else None)
        for waiting in self.admissions.values():
            self.start_waiting(waiting)

    def start_waiting(self, admission: Admission[RunningTurn]) -> None:
        """Let those run that waited longest, as far as there are slots and their sessions are free."""
        if not admission.waiting or not admission.has_slot() or self.is_draining:
            return
        for turn in list(admission.waiting):
            room = turn.room
            if admission.has_slot() and room.current is None and room.queue[0] is turn:
                admission.waiting.remove(turn)
                del room.queue[0]
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
                failure = TurnError(error.code, error.detail, self._new_id("e_"), retryable=True, status_code=503)
                await self.end(turn, "failed", "error", failure)
                return
            turn.turn, turn.parent_id = begun.turn, begun.parent_id
            turn.user_message = begun.user_message or turn.user_message
            self._start(turn, begun)
        await self.run(turn)

    async def _begun(self, turn: RunningTurn) -> BegunTurn:
        if turn.room.is_stateless:
            return BegunTurn(NO_SESSION, replace(turn.turn, status="running"), turn.user_message, None)
        return await self._store.start_turn(turn.room.owner, turn.room.session_id, turn.turn_id, now=self._clock())

    def arm_abandonment(self, room: Room) -> None:
        """Nobody reads in this room any more: end its turns unless a reader comes back in time."""
        grace_s = self._settings.abandon_grace_s
        if grace_s is None:
            return
        for turn in (*room.queue, *([room.current] if room.current else [])):
            if not turn.detached and turn.abandon is None and not turn.closed:
                turn.abandon = asyncio.get_running_loop().call_later(grace_s, self._abandon, turn)

    def disarm_abandonment(self, room: Room) -> None:
        """Somebody reads."""
        for turn in (*room.queue, *([room.current] if room.current else [])):
            if turn.abandon is not None:
                turn.abandon.cancel()
                turn.abandon = None

    def _abandon(self, turn: RunningTurn) -> None:
        turn.abandon = None
        if not turn.closed and turn.room.readers == 0:
            self._tasks.spawn(self.end_unless_closed(turn, "interrupted", "abandoned"), name="chatserve-abandon")

    def check_left_running(self) -> None:
        self.left_running = [turn for turn in self.left_running if turn.call is not None and turn.call.is_running]
        if len(self.left_running) >= MAX_LEFT_RUNNING:
            raise Overloaded(f"{len(self.left_running)} functions that were stopped still run; try again later")


def _finish_reason(turn: RunningTurn, status: FinalStatus, reason: str) -> str:
    if status != "completed":
        return reason
    draft = turn.draft
    if draft is None:
        return "stop"
    return draft.finish_reason or ("tool_calls" if draft.awaits_tools else "stop")
