"""An open turn, and its running function."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from chatserve.answers.draft import MessageDraft
from chatserve.chat_function import Call, Chat, ChatContext
from chatserve.contracts.turns import BegunTurn, TurnRecord, TurnRequest
from chatserve.core.frozen import frozen
from chatserve.core.types import FilePart, FinalStatus, LocalFile, Message, Session, Turn, TurnError
from chatserve.engine.log.log import SessionLog
from chatserve.engine.log.speech import Speech
from chatserve.engine.sessions.rooms import Room
from chatserve.engine.tasks import Moment
from chatserve.engine.timeouts import Timeouts


@frozen
class Ending:
    """How a turn ends. `reason` is the finish reason; a completed turn uses it unless model or tools give another."""

    status: FinalStatus
    reason: str
    error: TurnError | None = None


@dataclass(slots=True, eq=False)
class FunctionRun:
    """A turn's running function. Only the runner changes it.

    `failure` says why the function failed, if it did. `stored_files` are the stored files of the answer.
    """

    draft: MessageDraft | None = None
    call: Call | None = None
    speech: Speech | None = None
    context: ChatContext | None = None
    failure: TurnError | None = None
    stored_files: dict[LocalFile | str, FilePart] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """True while the function runs, even after its turn's end."""
        return self.call is not None and self.call.is_running

    def silence(self) -> None:
        """Publish no further output of the function."""
        if self.speech is not None:
            self.speech.is_over = True


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A waiting or running turn, which also exists for a while after its end. Only `TurnLifecycle` changes its state.

    `called` is set when a waiting turn may start. `function_ended` is set when its task has ended. `ended` is set when
    the turn has its final status and `done` is in the log; `record` is the turn from then on. `closed`: the turn is
    ending. `is_detached`: it goes on without readers. `replayed`: a repeated idempotency key led to it.
    """

    turn: Turn
    room: Room
    chat: Chat
    request: TurnRequest
    inputs: dict[str, Any]
    user_message: Message | None
    parent_id: str | None
    session: Session | None = None
    run: FunctionRun = field(default_factory=FunctionRun)
    task: asyncio.Task[None] | None = None
    deadline: Timeouts[RunningTurn] | None = None
    abandonment: asyncio.TimerHandle | None = None
    started_at: float | None = None
    closed: bool = False
    is_detached: bool = False
    replayed: bool = False
    record: TurnRecord | None = None
    called: Moment = field(default_factory=Moment)
    function_ended: Moment = field(default_factory=Moment)
    ended: Moment = field(default_factory=Moment)
    turn_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.turn_id = self.turn.turn_id
        self.is_detached = self.is_detached or self.request.call.is_detached

    @property
    def log(self) -> SessionLog:
        """The log of the turn's session, open since the turn was accepted."""
        log = self.room.log
        assert log is not None
        return log

    def detach(self) -> None:
        """Keep the turn running without readers."""
        self.is_detached = True

    def start(self, begun: BegunTurn, now: float) -> None:
        """Set the state of a turn that starts now, as the store returned it."""
        self.turn, self.parent_id = begun.turn, begun.parent_id
        self.user_message = begun.user_message or self.user_message
        self.session = None if self.room.is_stateless else begun.session
        self.started_at = now

    def close(self) -> None:
        """Ignore further output of the function, and cancel the deadline and the abandonment."""
        self.closed = True
        self.run.silence()
        if self.deadline is not None:
            self.deadline.discard(self)
        self.expect_reader(None)
        self.deadline = None

    def expect_reader(self, timer: asyncio.TimerHandle | None) -> None:
        """Set the timer that abandons the turn unless a reader comes back; None: cancel it, as there is a reader."""
        if self.abandonment is not None:
            self.abandonment.cancel()
        self.abandonment = timer

    def end(self, turn: Turn, messages: tuple[Message, ...]) -> None:
        """Set the final state of the turn, as the store returned it, and wake the tasks that wait for it."""
        self.turn = turn
        self.record = TurnRecord(turn, self.user_message, messages)
        self.ended.set()

    def now(self) -> TurnRecord:
        """Return the turn in its present state, with its answer so far if it is open."""
        draft = self.run.draft
        return self.record or TurnRecord(self.turn, self.user_message, draft.messages() if draft else ())
