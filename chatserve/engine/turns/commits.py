"""Commits the ends of turns to the store, each in one transaction, with retries while the store is out of reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from chatserve.codec import clean_json
from chatserve.contracts.store import Store
from chatserve.contracts.turns import CommittedTurn, CommitTurn
from chatserve.core.errors import LeaseLost, StoreError
from chatserve.core.events import Done
from chatserve.core.types import Json, Session
from chatserve.engine.pace import Pace
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.turn import Ending, RunningTurn

logger = logging.getLogger("chatserve.engine")

NO_SESSION: Final = Session("", "", None, {}, {}, 0, None, 0, 0.0, 0.0)
"""The session of a stateless turn."""


class Commits:
    """Commits the ends of turns."""

    def __init__(self, store: Store, tasks: OwnedTasks, clock: Callable[[], float], pace: Pace) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._pauses_s = pace.commit_retry_s

    async def commit(self, turn: RunningTurn, ending: Ending) -> CommittedTurn:
        """Commit the end of the turn, with retries while the store is out of reach."""
        commit = self._commit_turn(turn, ending)
        if turn.room.is_stateless:
            return _uncommitted(turn, commit)
        for pause_s in (*self._pauses_s, None):
            try:
                return await self._store.commit_turn(commit)
            except LeaseLost:
                break
            except StoreError as error:
                logger.warning("turn %s could not be committed yet: %s", turn.turn_id, error)
                if pause_s is None:
                    break
                await asyncio.sleep(pause_s)
            except Exception:  # a turn must end, whatever the store raises
                logger.exception("turn %s cannot be committed", turn.turn_id)
                break
        return self._give_up(turn, commit)

    def _commit_turn(self, turn: RunningTurn, ending: Ending) -> CommitTurn:
        log, draft = turn.log, turn.run.draft
        state, title = _changed_session(turn)
        return CommitTurn(
            owner=turn.room.owner,
            session_id=turn.room.session_id,
            turn_id=turn.turn_id,
            now=self._clock(),
            status=ending.status,
            finish_reason=_finish_reason(turn, ending),
            messages=draft.messages(ending.status) if draft else (),
            events=tuple(log.unfiled()),
            first_seq=log.first_seqs.get(turn.turn_id),
            done_seq=log.last_seq + 1,
            usage=draft.usage if draft else None,
            error=ending.error,
            state=state,
            title=title,
        )

    def _give_up(self, turn: RunningTurn, commit: CommitTurn) -> CommittedTurn:
        """Return a turn that could not be committed as interrupted, as the next start of the server would."""
        logger.error("turn %s was not committed in time; it is shown as interrupted", turn.turn_id)
        commit = replace(commit, status="interrupted", finish_reason="store_unavailable")
        self._tasks.spawn(self._commit_late(commit), name=f"chatserve-commit {turn.turn_id}")
        return _uncommitted(turn, commit)

    async def _commit_late(self, commit: CommitTurn) -> None:
        """Commit the end of a turn when the store is back, so that its session is free before the next start."""
        while True:
            await asyncio.sleep(self._pauses_s[-1])
            try:
                await self._store.commit_turn(commit)
            except LeaseLost:
                return
            except StoreError:
                continue
            except Exception:
                logger.exception("turn %s cannot be committed; the next start will end it", commit.turn_id)
            return


def _finish_reason(turn: RunningTurn, ending: Ending) -> str:
    draft = turn.run.draft
    if ending.status != "completed" or draft is None:
        return ending.reason
    return draft.finish_reason or ("tool_calls" if draft.awaits_tools else ending.reason)


def _changed_session(turn: RunningTurn) -> tuple[Mapping[str, Json] | None, str | None]:
    """Return the session's state and title, each if the function changed it. The function may have set any value.

    A state among its additional outputs counts more than that of its context.
    """
    context, draft = turn.run.context, turn.run.draft
    if turn.session is None:
        return None, None
    answered = None if draft is None else draft.state
    if context is None:
        return answered, None
    try:
        state, title = clean_json(context.session.state), clean_json(context.session.title)
    except Exception:  # the function broke it, or its thread is changing it
        logger.exception("the session's state could not be read in turn %s and stays as it was", turn.turn_id)
        return answered, None
    state = state if answered is None else answered
    return (
        state if state != turn.session.state and isinstance(state, dict) else None,
        title if title != turn.session.title and isinstance(title, str) else None,
    )


def _uncommitted(turn: RunningTurn, commit: CommitTurn) -> CommittedTurn:
    """Return the result of a commit, without the store."""
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
