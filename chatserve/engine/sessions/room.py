"""A session while somebody talks or listens in it: its log, its running turn, its queue."""

from __future__ import annotations

import asyncio

from chatserve.contracts.turns import TurnRecord
from chatserve.engine.log.log import SessionLog
from chatserve.engine.turns.turn import RunningTurn


class Room:
    """What this process knows of one session beyond the store.

    `lock` serializes what changes the session: begin, commit, history operations. A running turn appends its events
    without it, for there is only one at a time. `session_id` is "" for a stateless turn, which has a room to itself;
    `record` is what became of it.
    """

    __slots__ = ("current", "lock", "log", "owner", "queue", "readers", "record", "session_id", "users")

    def __init__(self, owner: str, session_id: str) -> None:
        self.owner = owner
        self.session_id = session_id
        self.lock = asyncio.Lock()
        self.log: SessionLog | None = None
        self.current: RunningTurn | None = None
        self.queue: list[RunningTurn] = []
        self.record: TurnRecord | None = None
        self.readers = 0
        self.users = 0

    @property
    def is_stateless(self) -> bool:
        """True when nothing of it is stored."""
        return not self.session_id

    @property
    def is_idle(self) -> bool:
        """True when nothing here would be lost by forgetting the room."""
        return not (self.current or self.queue or self.readers or self.users or self.lock.locked()) and (
            self.log is None or self.log.filed_seq == self.log.last_seq
        )

    @property
    def is_busy(self) -> bool:
        """True while a turn runs or waits."""
        return self.current is not None or bool(self.queue)

    def open_log(self, last_seq: int) -> SessionLog:
        """Return the log, which continues after `last_seq` when it is opened now."""
        if self.log is None:
            self.log = SessionLog(self.session_id, last_seq)
        return self.log
