"""The life of an accepted turn: it waits, runs and ends.

The order is `accept`, then `live` in the turn's own task, then `end`. Every reason leads to `end`: the function
returned or raised, stop, deadline, abandonment, a newer message, shutdown. `TurnRunner` runs the function, and
`Commits` commits the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from chatserve.contracts.turns import BegunTurn, CommittedTurn
from chatserve.core.errors import ChatserveError, Overloaded
from chatserve.core.events import Event, Failed, NumberedEvent, TurnAccepted
from chatserve.core.types import TurnError
from chatserve.engine.log.journal import Journal
from chatserve.engine.parts import EngineParts
from chatserve.engine.sessions.rooms import Room
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.timeouts import Timeouts
from chatserve.engine.turns.admission import admissions_of
from chatserve.engine.turns.commits import NO_SESSION, Commits
from chatserve.engine.turns.registry import TurnRegistry
from chatserve.engine.turns.runner import TurnRunner
from chatserve.engine.turns.turn import Ending, RunningTurn


class TurnLifecycle:
    """Starts and ends the open turns of this process."""

    def __init__(self, parts: EngineParts, runner: TurnRunner, journal: Journal, tasks: OwnedTasks) -> None:
        self.turns = TurnRegistry(parts.pace.max_ended_stateless)
        self.admissions = admissions_of(parts.chats)
        self.is_draining = False
        self._parts = parts
        self._runner = runner
        self._journal = journal
        self._tasks = tasks
        self._commits = Commits(parts.store, tasks, parts.clock, parts.pace)
        self._left_running: list[RunningTurn] = []
        self._deadlines: dict[float, Timeouts[RunningTurn]] = {}

    # its beginning

    def accept(self, turn: RunningTurn, begun: BegunTurn) -> None:
        """Register a stored turn. The current task belongs to the turn from now on, and must call `live`."""
        turn.task = asyncio.current_task()
        assert turn.task is not None
        turn.task.add_done_callback(partial(self._end_after, turn))
        self.turns.add(turn)
        if turn.turn.status == "running":
            turn.room.run(turn.turn_id)
            self._start(turn, begun)
            return
        turn.room.queue(turn.turn_id)
        admission = self.admissions[turn.chat.options.name]
        position = admission.queue(turn)
        version = begun.session.version
        self._log(turn, TurnAccepted(turn.turn, turn.user_message, version, position, admission.eta_s(position)))
        self.call_waiting()  # a slot may have become free while the turn was stored

    async def live(self, turn: RunningTurn) -> None:
        """Wait until the turn may start, then run its function to its end."""
        if turn.request.call.delay_s:
            await asyncio.sleep(turn.request.call.delay_s)
        if turn.started_at is None:
            await turn.called.wait()
            async with turn.room.lock:
                if not turn.closed:
                    await self._start_queued(turn)
        if turn.started_at is not None:
            await self._runner.run(turn)

    async def _start_queued(self, turn: RunningTurn) -> None:
        try:
            begun = await self._begun(turn)
        except ChatserveError as error:
            failure = TurnError(error.code, error.detail, self._parts.new_id("e_"), retryable=True, status_code=503)
            await self.end(turn, Ending("failed", "error", failure))
            return
        self._start(turn, begun)

    async def _begun(self, turn: RunningTurn) -> BegunTurn:
        if turn.room.is_stateless:
            return BegunTurn(NO_SESSION, replace(turn.turn, status="running"), turn.user_message)
        room = turn.room
        return await self._parts.store.start_turn(room.owner, room.session_id, turn.turn_id, now=self._parts.clock())

    def _start(self, turn: RunningTurn, begun: BegunTurn) -> None:
        turn.start(begun, self._parts.clock())
        turn.log.enter_turn()
        user_message = None if turn.request.call.operation == "retry" else turn.user_message
        self._log(turn, TurnAccepted(turn.turn, user_message, begun.session.version))
        own_s, default_s = turn.chat.options.turn_timeout_s, self._parts.settings.turn_timeout_s
        turn.deadline = self._deadline(default_s if own_s is None else own_s)
        turn.deadline.add(turn)

    def _deadline(self, timeout_s: float) -> Timeouts[RunningTurn]:
        """Return the deadline that all turns of the same timeout share."""
        deadline = self._deadlines.get(timeout_s)
        if deadline is None:
            deadline = self._deadlines[timeout_s] = Timeouts(timeout_s, partial(self._time_out, timeout_s))
        return deadline

    def _log(self, turn: RunningTurn, event: Event) -> None:
        """Publish an event of the turn itself, not of its answer, whose transaction is committed."""
        log = turn.log
        log.begin_turn(turn.turn_id)
        log.append(turn.turn_id, (event,))
        self._journal.publish_stored(log)

    # its end

    def _end_after(self, turn: RunningTurn, _task: asyncio.Task[None]) -> None:
        """End a turn whose function has ended, in a new task, as the function may have left a pending cancellation."""
        turn.function_ended.set()
        if not turn.closed:
            error = turn.run.failure
            ending = Ending("failed", "error", error) if error else Ending("completed", "stop")
            self._tasks.spawn(self.end_unless_closed(turn, ending), name=f"chatserve-end {turn.turn_id}")

    def _time_out(self, timeout_s: float, turn: RunningTurn) -> None:
        error_id, detail = self._parts.new_id("e_"), f"the turn took longer than {timeout_s:g} s"
        error = TurnError("turn_timeout", detail, error_id, retryable=True, status_code=504)
        self._end_soon(turn, Ending("failed", "timeout", error))

    def stop_soon(self, turn: RunningTurn) -> None:
        """Stop a turn without waiting for its end."""
        self._end_soon(turn, Ending("stopped", "stopped"))

    def end_waiting(self, ending: Ending) -> None:
        """Start tasks that end all waiting turns."""
        for turn in self.turns.open_turns:
            if turn.turn.status == "queued":
                self._tasks.spawn(self._end_if_waiting(turn, ending), name="chatserve-end-waiting")

    async def _end_if_waiting(self, turn: RunningTurn, ending: Ending) -> None:
        async with turn.room.lock:
            if not turn.closed and turn.turn.status == "queued":
                await self.end(turn, ending)

    def _end_soon(self, turn: RunningTurn, ending: Ending) -> None:
        self._tasks.spawn(self.end_unless_closed(turn, ending), name=f"chatserve-end {turn.turn_id}")

    async def end_unless_closed(self, turn: RunningTurn, ending: Ending) -> None:
        """End a turn, unless it is already ending; return when it has ended or another end has begun."""
        async with turn.room.lock:
            if not turn.closed:
                await self.end(turn, ending)

    async def end(self, turn: RunningTurn, ending: Ending) -> None:
        """End a turn. The caller holds the room's lock and has checked that the turn is not closed."""
        turn.close()
        await self._unwind(turn)
        log, draft = turn.log, turn.run.draft
        async with log.numbering:  # a waiting turn may end while another one of its session runs
            last: list[Event] = list(draft.close()) if draft else []
            if ending.error is not None:
                last.append(Failed(ending.error))
            log.append(turn.turn_id, last)
            if log.published_seq < log.last_seq:  # do not wake waiting readers without need
                self._journal.show(log)
            committed = await self._commits.commit(turn, ending)
            self._conclude(turn, committed)

    async def _unwind(self, turn: RunningTurn) -> None:
        """Cancel the function if it still runs; give an async one `stop_grace_s` to clean up."""
        if turn.run.call is not None:
            turn.run.call.cancel()
        task = turn.task
        if task is None or task is asyncio.current_task() or turn.function_ended.is_set():
            return
        task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turn.function_ended.wait(), self._parts.settings.stop_grace_s)
        if not turn.function_ended.is_set():
            task.cancel()

    def _conclude(self, turn: RunningTurn, committed: CommittedTurn) -> None:
        """Publish `done` and start the next turn."""
        log, messages = turn.log, committed.done.messages
        done = NumberedEvent(log.last_seq + 1, turn.turn_id, committed.done)
        log.close_turn(done, has_run=turn.started_at is not None)
        turn.end(committed.turn, messages)
        self._runner.remember(turn, messages)
        self.turns.leave_ended(turn)
        if turn.run.is_running:
            self._left_running.append(turn)
        turn.room.end(turn.turn_id)
        self.admissions[turn.chat.options.name].leave(turn, self._parts.clock())
        self.call_waiting()

    def call_waiting(self) -> None:
        """Start the longest waiting turns for which there are slots and whose sessions are free."""
        if self.is_draining:
            return
        for admission in self.admissions.values():
            for turn in admission.next_turns():
                turn.room.run(turn.turn_id)
                turn.called.set()

    def check_left_running(self) -> None:
        """Check that few stopped functions still run. Raises: Overloaded."""
        self._left_running = [turn for turn in self._left_running if turn.run.is_running]
        if len(self._left_running) >= self._parts.pace.max_left_running:
            raise Overloaded(f"{len(self._left_running)} functions that were stopped still run; try again later")

    # its readers

    def arm_abandonment(self, room: Room) -> None:
        """Start timers that end the turns of a room without readers, unless a reader comes back in time."""
        grace_s = self._parts.settings.abandon_grace_s
        if grace_s is None:
            return
        for turn in self._turns_in(room):
            if not turn.is_detached and turn.abandonment is None and not turn.closed:
                turn.expect_reader(asyncio.get_running_loop().call_later(grace_s, self._abandon, turn))

    def disarm_abandonment(self, room: Room) -> None:
        """Cancel those timers, because the room has a reader."""
        for turn in self._turns_in(room):
            turn.expect_reader(None)

    def _turns_in(self, room: Room) -> Sequence[RunningTurn]:
        return self.turns.turns_in(room) if room.is_busy else ()

    def _abandon(self, turn: RunningTurn) -> None:
        turn.expect_reader(None)
        if not turn.closed and turn.room.readers == 0:
            self._end_soon(turn, Ending("interrupted", "abandoned"))
