"""Whatever is asked of them, in whatever order, the SQLite store answers as the one in memory does."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chatserve.contracts.store import HistoryMove, Purge, SessionChanges, Store
from chatserve.contracts.turns import Idempotency, NewSession
from chatserve.core.errors import ChatserveError
from chatserve.core.events import Delta, MessageOpened, NumberedEvent
from chatserve.core.types import Feedback, FilePart, Message, Role, StoredFile, TextPart, Usage
from chatserve.stores.memory import MemoryStore
from chatserve.stores.sqlite import SqliteStore
from tests.stores.store_values import begin, commit, fresh_ids

OWNERS = st.sampled_from(["alice", "bob"])
SESSIONS = st.sampled_from(["s_1", "s_2", "s_3"])
TEXTS = st.sampled_from(["tea", "coffee", "\0 \u2028"])
ECHOES = st.none() | st.just({"a": [1, "\u2028"]})
STATUSES = st.sampled_from(["running", "running", "queued"])
VERSIONS = st.none() | st.none() | st.none() | st.integers(1, 6)
KEYS = st.none() | st.none() | st.builds(Idempotency, st.sampled_from("kl"), st.sampled_from("xy"), st.integers(1, 99))


class StoresAgree(RuleBasedStateMachine):
    """Asks both stores the same and compares what they say, errors included."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "chat.db"
        self._runner = asyncio.Runner()
        self._memory = MemoryStore()
        self._sqlite: Store = SqliteStore(f"sqlite:///{self._path}")
        self._now = 1.0
        self._count = 0
        self._messages: list[str] = ["m_none"]
        self._turns: list[str] = ["t_none"]
        self._files: list[str] = ["f_none"]
        self._ask(lambda store: store.open(now=0.0))

    def teardown(self) -> None:
        for owner in ("alice", "bob"):
            for session in self._ask(lambda store, owner=owner: store.list_sessions(owner, after=None, limit=99)).items:
                self._ask(lambda store, session=session: store.export_session(session.owner, session.session_id))
        self._ask(lambda store: store.close())
        self._runner.close()
        db = sqlite3.connect(self._path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
        self._directory.cleanup()

    def _ask(self, call: Callable[..., Awaitable[Any]]) -> Any:
        """Ask both stores; return what they agree on, or None where both refuse."""

        async def outcome(store: Store) -> Any:
            try:
                return await call(store)
            except ChatserveError as error:
                return error

        expected, actual = (self._runner.run(outcome(store)) for store in (self._memory, self._sqlite))
        if isinstance(expected, ChatserveError):
            assert (type(actual), str(actual)) == (type(expected), str(expected))
            assert actual.extra == expected.extra
            return None
        assert actual == expected
        return actual

    def _next(self, prefix: str, known: list[str]) -> str:
        self._count += 1
        known.append(f"{prefix}_{self._count}")
        return known[-1]

    def _new_message(self, text: str, file: st.DataObject, role: Role = "user") -> Message:
        content: tuple[Any, ...] = (TextPart(text),)
        if (file_id := file.draw(st.none() | st.sampled_from(self._files))) is not None:
            content = (*content, FilePart(file_id, "a.txt", "text/plain", 3))
        return Message(self._next("m", self._messages), role, content, self._now)

    def _known_message(self, data: st.DataObject) -> str | None:
        return data.draw(st.none() | st.sampled_from(self._messages[-8:]))

    def _known_turn(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self._turns[-4:]))

    def _last_seq(self, session_id: str) -> int:
        with suppress(ChatserveError):
            return self._runner.run(self._memory.read_events(session_id, after=0, limit=1)).last_seq
        return 0

    @rule(seconds=st.integers(0, 20))
    def time_passes(self, seconds: int) -> None:
        self._now += seconds

    @rule(owner=OWNERS, session_id=SESSIONS, expires_at=st.none() | st.integers(1, 99), data=st.data())
    def create(self, owner: str, session_id: str, expires_at: int | None, data: st.DataObject) -> None:
        question = self._new_message("tea", data)
        reply = replace(self._new_message("yes", data, "assistant"), parent_id=question.message_id)
        seeds = data.draw(st.sampled_from([(), (question, reply)]))
        new = NewSession(session_id, owner, "Tea", {"a": 1}, {"b": [2]}, seeds, expires_at)
        self._ask(lambda store: store.create_session(new, now=self._now))

    @rule(
        owner=OWNERS,
        session_id=SESSIONS,
        status=STATUSES,
        operation=st.sampled_from(["send", "send", "send", "retry", "edit"]),
        text=TEXTS,
        key=KEYS,
        if_version=VERSIONS,
        creates=st.booleans(),
        data=st.data(),
    )
    def begin(self, data: st.DataObject, **fields: Any) -> None:
        owner, session_id, operation = fields["owner"], fields["session_id"], fields["operation"]
        message = self._new_message(fields["text"], data)
        rolled_back = data.draw(st.none() | st.none() | st.sampled_from(self._turns[-2:]))
        turn = begin(
            1,
            session_id,
            owner=owner,
            status=fields["status"],
            operation=operation,
            now=self._now,
            turn_id=self._next("t", self._turns),
            user_message=None if operation == "retry" else message,
            target_message_id=self._known_message(data),
            echo=data.draw(ECHOES),
            create=NewSession(session_id, owner) if fields["creates"] else None,
            rollback_turn_id=rolled_back,
            idempotency=fields["key"],
            if_version=fields["if_version"],
        )
        self._ask(lambda store: store.begin_turn(turn))

    @rule(session_id=SESSIONS, kept=st.integers(0, 4), added=st.lists(TEXTS, max_size=2), data=st.data())
    def begin_with_history(self, session_id: str, kept: int, added: list[str], data: st.DataObject) -> None:
        page = self._ask(
            lambda store: store.list_messages("alice", session_id, after=None, limit=kept + 1, branches=False)
        )
        known = (
            [] if page is None else [replace(m, message_id=self._next("m", self._messages)) for m in page.items[:kept]]
        )
        history = (*known, *(self._new_message(text, data) for text in added))
        turn = begin(
            1,
            session_id,
            owner="alice",
            now=self._now,
            user_message=self._new_message("and?", data),
            turn_id=self._next("t", self._turns),
            history=history,
        )
        self._ask(lambda store: store.begin_turn(turn))

    @rule(owner=OWNERS, session_id=SESSIONS, data=st.data())
    def start(self, owner: str, session_id: str, data: st.DataObject) -> None:
        turn_id = self._known_turn(data)
        self._ask(lambda store: store.start_turn(owner, session_id, turn_id, now=self._now))

    @rule(session_id=SESSIONS, texts=st.lists(TEXTS, max_size=3), again=st.integers(0, 2), data=st.data())
    def append(self, session_id: str, texts: list[str], again: int, data: st.DataObject) -> None:
        first = max(1, self._last_seq(session_id) + 1 - again)
        turn_id = self._known_turn(data)
        opened = [MessageOpened(self._next("m", []), "assistant", {"title": text}) for text in texts]
        events = [NumberedEvent(first + place, turn_id, event) for place, event in enumerate(opened)]
        self._ask(lambda store: store.append_events(session_id, events, now=self._now))

    @rule(
        owner=OWNERS,
        session_id=SESSIONS,
        replies=st.integers(0, 2),
        role=st.sampled_from(["assistant", "tool"]),
        state=st.none() | st.just({"c": 3}),
        data=st.data(),
    )
    def commit(self, data: st.DataObject, **fields: Any) -> None:
        session_id = fields["session_id"]
        last_seq, turn_id = self._last_seq(session_id), self._known_turn(data)
        messages = [self._new_message("so", data, fields["role"]) for _ in range(fields["replies"])]
        end = replace(
            commit(1, *messages, session_id=session_id, owner=fields["owner"], done_seq=last_seq + 2, now=self._now),
            turn_id=turn_id,
            events=(NumberedEvent(last_seq + 1, turn_id, Delta("end")),),
            state=fields["state"],
            usage=Usage(1, 2),
        )
        self._ask(lambda store: store.commit_turn(end))

    @rule(owner=OWNERS, session_id=SESSIONS, operation=st.sampled_from(["undo", "undo", "clear"]), if_version=VERSIONS)
    def move(self, owner: str, session_id: str, operation: Any, if_version: int | None) -> None:
        move = HistoryMove(owner, session_id, operation, self._now, self._last_seq(session_id) + 1, if_version)
        self._ask(lambda store: store.move_history(move))

    @rule(session_id=SESSIONS, cut=st.integers(0, 4), added=st.lists(TEXTS, max_size=2), data=st.data())
    def replace_history(self, session_id: str, cut: int, added: list[str], data: st.DataObject) -> None:
        page = self._ask(lambda store: store.list_messages("alice", session_id, after=None, limit=9, branches=False))
        known = [] if page is None else [*page.items[:cut], *page.items[cut + 1 :]]
        if data.draw(st.booleans()):
            known = [replace(message, message_id=self._next("m", self._messages)) for message in known]
        messages = (*known, *(self._new_message(text, data) for text in added))
        seq = self._last_seq(session_id) + 1
        move = HistoryMove("alice", session_id, "replace", self._now, seq, messages=messages)
        self._ask(lambda store: store.move_history(move))

    @rule(owner=OWNERS, data=st.data())
    def forget(self, owner: str, data: st.DataObject) -> None:
        turn_id = self._known_turn(data)
        self._ask(lambda store: store.forget_turn(owner, turn_id))

    @rule(owner=OWNERS, session_id=SESSIONS, title=st.none() | st.sampled_from(["", "x"]), if_version=VERSIONS)
    def update(self, owner: str, session_id: str, title: str | None, if_version: int | None) -> None:
        changes = SessionChanges(title, state={"t": title})
        self._ask(lambda store: store.update_session(owner, session_id, changes, now=self._now, if_version=if_version))

    @rule(owner=OWNERS, session_id=SESSIONS, new_session_id=SESSIONS, data=st.data())
    def fork(self, owner: str, session_id: str, new_session_id: str, data: st.DataObject) -> None:
        message_id, prefix = self._known_message(data), self._next("c", [])
        self._ask(
            lambda store: store.fork_session(
                owner,
                session_id,
                message_id=message_id,
                new_session_id=new_session_id,
                new_ids=fresh_ids(prefix),
                now=self._now,
            )
        )

    @rule(owner=OWNERS, if_version=VERSIONS, data=st.data())
    def feedback(self, owner: str, if_version: int | None, data: st.DataObject) -> None:
        message_id, liked = data.draw(st.sampled_from(self._messages)), Feedback("like")
        self._ask(lambda store: store.set_feedback(owner, message_id, liked, now=self._now, if_version=if_version))
        self._ask(lambda store: store.get_message(owner, message_id))

    @rule(owner=OWNERS, key=KEYS, session_id=SESSIONS)
    def claim(self, owner: str, key: Idempotency | None, session_id: str) -> None:
        if key is not None:
            self._ask(lambda store: store.claim_key(owner, key, session_id, now=self._now))

    @rule(owner=OWNERS, session_id=st.none() | SESSIONS)
    def add_file(self, owner: str, session_id: str | None) -> None:
        file = StoredFile(self._next("f", self._files), owner, session_id, "a.txt", "text/plain", 3, self._now)
        self._ask(lambda store: store.add_file(file))

    @rule(owner=OWNERS, session_id=SESSIONS, data=st.data())
    def attach_files(self, owner: str, session_id: str, data: st.DataObject) -> None:
        file_ids = data.draw(st.lists(st.sampled_from(self._files), max_size=2))
        self._ask(lambda store: store.attach_files(owner, session_id, file_ids))

    @rule(owner=OWNERS, session_id=SESSIONS, if_version=VERSIONS)
    def delete(self, owner: str, session_id: str, if_version: int | None) -> None:
        self._ask(lambda store: _sorted(store.delete_session(owner, session_id, if_version=if_version)))

    @rule(owner=OWNERS, session_id=SESSIONS)
    def move_out_and_in(self, owner: str, session_id: str) -> None:
        record = self._ask(lambda store: store.export_session(owner, session_id))
        if record is not None:
            self._ask(lambda store: _sorted(store.delete_session(owner, session_id)))
            self._ask(lambda store: store.import_session(record))

    @rule(owner=OWNERS)
    def erase(self, owner: str) -> None:
        self._ask(lambda store: _sorted(store.erase_owner(owner)))

    @rule(events_before=st.integers(0, 99), sessions_before=st.none() | st.integers(0, 99))
    def purge(self, events_before: int, sessions_before: int | None) -> None:
        async def purged(store: Store) -> object:
            done = await store.purge(Purge(self._now, events_before, self._now, sessions_before))
            return replace(done, sessions=tuple(sorted(done.sessions)), file_ids=tuple(sorted(done.file_ids)))

        self._ask(purged)

    @rule()
    def crash(self) -> None:
        self._runner.run(self._memory.close())
        self._runner.run(self._sqlite.close())
        self._sqlite = SqliteStore(f"sqlite:///{self._path}")
        self._ask(lambda store: store.open(now=self._now))

    @rule(owner=OWNERS, session_id=SESSIONS, after=st.integers(0, 5), data=st.data())
    def read(self, owner: str, session_id: str, after: int, data: st.DataObject) -> None:
        message_id, turn_id, file_id = (
            self._known_message(data),
            self._known_turn(data),
            data.draw(st.sampled_from(self._files)),
        )
        self._ask(lambda store: store.read_branch(owner, session_id, message_id))
        self._ask(lambda store: store.get_turn(owner, turn_id))
        self._ask(lambda store: store.get_files(owner, [file_id]))
        self._ask(lambda store: store.read_events(session_id, after=after, limit=3))
        self._ask(lambda store: store.list_sessions(owner, after=session_id, limit=1))
        for branches in (True, False):
            self._ask(
                lambda store, branches=branches: store.list_messages(
                    owner, session_id, after=message_id, limit=2, branches=branches
                )
            )

    @invariant()
    def sessions_are_the_same(self) -> None:
        for owner in ("alice", "bob"):
            for session in self._ask(lambda store, owner=owner: store.list_sessions(owner, after=None, limit=9)).items:
                self._ask(lambda store, session=session: store.last_turn(session.owner, session.session_id))


async def _sorted(call: Awaitable[tuple[str, ...]]) -> list[str]:
    return sorted(await call)


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        StoresAgree,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_stores_agree() -> None:
    _run(examples=20, steps=40)


@pytest.mark.storm
@pytest.mark.timeout(1200)
def test_stores_agree_for_long() -> None:
    _run(examples=300, steps=60)
