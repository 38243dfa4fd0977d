"""One turn while it is open, and the function that runs for it."""

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
    """How a turn ends. `reason` is the finish reason, of a completed turn where neither model nor tools tell."""

    status: FinalStatus
    reason: str
    error: TurnError | None = None


@dataclass(slots=True, eq=False)
class FunctionRun:
    """A turn's function while it runs. The runner alone changes it.

    `failure` is why the function failed, if it did. `stored_files` are the files of the answer that are stored.
    """

    draft: MessageDraft | None = None
    call: Call | None = None
    speech: Speech | None = None
    context: ChatContext | None = None
    failure: TurnError | None = None
    stored_files: dict[LocalFile | str, FilePart] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """True while the function runs, be it after its turn's end."""
        return self.call is not None and self.call.is_running

    def silence(self) -> None:
        """Publish nothing more of what the function says."""
        if self.speech is not None:
            self.speech.is_over = True


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn that waits or runs, and for a while after its end. Only its life cycle moves it on.

    `called` is set when a turn that waits may run. `function_ended` is set when its task is over. `ended` is set when
    the turn has its status and `done` is in the log; `record` is the turn then. `closed`: it is about to end.
    `is_detached`: it goes on though nobody reads it. `replayed`: an idempotency key has led to it again.
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
        """Let the turn go on though nobody reads it."""
        self.is_detached = True

    def start(self, begun: BegunTurn, now: float) -> None:
        """Take what the store made of a turn that runs now."""
        self.turn, self.parent_id = begun.turn, begun.parent_id
        self.user_message = begun.user_message or self.user_message
        self.session = None if self.room.is_stateless else begun.session
        self.started_at = now

    def close(self) -> None:
        """Let nothing more of what the function says count, and forget deadline and abandonment."""
        self.closed = True
        self.run.silence()
        if self.deadline is not None:
            self.deadline.discard(self)
        self.expect_reader(None)
        self.deadline = None

    def expect_reader(self, timer: asyncio.TimerHandle | None) -> None:
        """Let a timer abandon the turn unless somebody reads it again; None: somebody does."""
        if self.abandonment is not None:
            self.abandonment.cancel()
        self.abandonment = timer

    def end(self, turn: Turn, messages: tuple[Message, ...]) -> None:
        """Take what the store made of the turn's end, and tell those who wait for it."""
        self.turn = turn
        self.record = TurnRecord(turn, self.user_message, messages)
        self.ended.set()

    def now(self) -> TurnRecord:
        """Return the turn as it is now: an open one with its answer so far."""
        draft = self.run.draft
        return self.record or TurnRecord(self.turn, self.user_message, draft.messages() if draft else ())
