"""One turn while it is open: its function, its draft, who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatserve.answers.draft import MessageDraft
from chatserve.chat_function import Call, Chat, ChatContext
from chatserve.contracts.turns import TurnRecord, TurnRequest
from chatserve.core.types import FilePart, LocalFile, Message, Session, Turn, TurnError
from chatserve.engine.moment import Moment

if TYPE_CHECKING:
    from chatserve.engine.log.speech import Speech
    from chatserve.engine.sessions.room import Room
    from chatserve.engine.timeouts import Timeouts


@dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn that is queued or runs, and for a while after its end.

    `ended` is set when the turn has its status and `done` is in the log; `record` is what became of it then.
    """

    turn: Turn
    room: Room
    chat: Chat
    request: TurnRequest
    inputs: dict[str, Any]
    user_message: Message | None
    parent_id: str | None
    draft: MessageDraft | None = None
    call: Call | None = None
    speech: Speech | None = None
    context: ChatContext | None = None
    task: asyncio.Task[None] | None = None
    deadline: Timeouts[RunningTurn] | None = None
    abandon: asyncio.TimerHandle | None = None
    detached: bool = False
    closed: bool = False
    replayed: bool = False
    started_at: float = 0.0
    failure: TurnError | None = None
    session: Session | None = None
    stored_files: dict[LocalFile | str, FilePart] = field(default_factory=dict)
    record: TurnRecord | None = None
    ended: Moment = field(default_factory=Moment)
    function_ended: Moment = field(default_factory=Moment)
    turn_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.turn_id = self.turn.turn_id

    def close(self) -> None:
        """Let nothing more of what the function says count."""
        self.closed = True
        if self.speech is not None:
            self.speech.is_over = True

    def cancel_timers(self) -> None:
        """Forget deadline and abandonment."""
        if self.deadline is not None:
            self.deadline.discard(self)
        if self.abandon is not None:
            self.abandon.cancel()
        self.deadline = self.abandon = None
