"""The end of a turn in the store: one transaction, tried again while the store is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from chatserve.contracts.store import Store
from chatserve.contracts.turns import CommittedTurn, CommitTurn
from chatserve.core.errors import LeaseLost, StoreError
from chatserve.core.events import Done
from chatserve.core.types import FinalStatus, Session, TurnError
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.runner import changed_session
from chatserve.engine.turns.turn import RunningTurn

logger = logging.getLogger("chatserve.engine")

COMMIT_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0)

NO_SESSION: Final = Session("", "", None, {}, {}, 0, None, 0, 0.0, 0.0)
"""The session of a stateless turn."""


class Commits:
    """Writes the ends of turns."""

    def __init__(self, store: Store, tasks: OwnedTasks, clock: Callable[[], float]) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock

    async def commit(
        self, turn: RunningTurn, status: FinalStatus, reason: str, error: TurnError | None
    ) -> CommittedTurn:
        """Write the end of the turn, trying again while the store is away."""
        commit = self._commit_turn(turn, status, reason, error)
        if turn.room.is_stateless:
            return _stateless_commit(turn, commit)
        for pause_s in (*COMMIT_RETRY_S, None):
            try:
                return await self._store.commit_turn(commit)
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

    def _commit_turn(self, turn: RunningTurn, status: FinalStatus, reason: str, error: TurnError | None) -> CommitTurn:
        log, draft = turn.room.log, turn.draft
        assert log is not None
        state, title = changed_session(turn)
        return CommitTurn(
            owner=turn.room.owner,
            session_id=turn.room.session_id,
            turn_id=turn.turn_id,
            now=self._clock(),
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
                await self._store.commit_turn(commit)
            except LeaseLost:
                return
            except StoreError:
                continue
            except Exception:
                logger.exception("turn %s cannot be committed; the next start will end it", commit.turn_id)
            return


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
    return CommittedTurn(NO_SESSION, ended, done)
