"""What every store promises about opening after a crash."""

from __future__ import annotations

from dataclasses import replace

from chatserve.contracts.store import Store
from chatserve.contracts.turns import RECOVERY_GAP
from tests.stores.conftest import Reopen
from tests.stores.store_values import (
    OWNER,
    answer,
    begin,
    branch_ids,
    commit,
    done_of,
    end_turn,
    opening_events,
    run_turn,
)


async def test_store_without_open_turns_is_opened_as_it_was(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    before = await store.export_session(OWNER, "s_1")
    log = await store.read_events("s_1", after=0, limit=99)
    store, ended = await reopen(store)
    assert ended == ()
    assert await store.export_session(OWNER, "s_1") == before
    assert await store.read_events("s_1", after=0, limit=99) == log


async def test_running_turn_becomes_interrupted_and_keeps_its_partial_answer(store: Store, reopen: Reopen) -> None:
    begun = await store.begin_turn(begin(1))
    events = opening_events(begun, 1, "You ", "typed")
    await store.append_events("s_1", events[:3], now=150.0)
    await store.append_events("s_1", events[3:], now=151.0)
    store, (turn,) = await reopen(store)
    assert (turn.turn_id, turn.status, turn.finish_reason) == ("t_1", "interrupted", "interrupted")
    assert (turn.finished_at, turn.version) == (1000.0, 3)
    record = await store.get_turn(OWNER, "t_1")
    assert record.turn == turn
    (message,) = record.messages
    assert (message.message_id, message.text, message.status) == ("a_1", "You typed", "interrupted")
    assert (message.parent_id, message.turn_id) == ("u_1", "t_1")
    session = await store.get_session(OWNER, "s_1")
    assert (session.head, session.version, session.updated_at) == ("a_1", 3, 1000.0)


async def test_events_filed_with_the_end_of_another_turn_are_kept(store: Store, reopen: Reopen) -> None:
    begun = await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    events = tuple(opening_events(begun, 1, "You ", "typed"))
    await store.commit_turn(commit(2, done_seq=5, events=events, status="stopped", finish_reason="stopped"))
    store, (turn,) = await reopen(store)
    assert turn.turn_id == "t_1"
    assert [message.text for message in (await store.get_turn(OWNER, "t_1")).messages] == ["You typed"]


async def test_late_end_of_a_turn_that_waited_does_not_move_the_log_back(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    await store.commit_turn(commit(1, answer("a_1"), done_seq=9))
    await store.commit_turn(commit(2, done_seq=5, status="stopped", finish_reason="stopped"))
    assert (await store.get_session(OWNER, "s_1")).last_seq == 9


async def test_turn_that_had_stored_nothing_becomes_interrupted_without_an_answer(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    store, (turn,) = await reopen(store)
    assert (turn.turn_id, turn.status) == ("t_2", "interrupted")
    assert await branch_ids(store) == ["u_1", "a_1", "u_2"]


async def test_numbers_go_on_beyond_all_that_may_have_been_shown(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2))
    await store.append_events("s_1", opening_events(begun, 2, "a"), now=150.0)
    store, (turn,) = await reopen(store)
    page = await store.read_events("s_1", after=0, limit=99)
    ((seq, done),) = done_of(page.events)
    assert len(page.events) == 1
    assert seq == page.first_seq == page.last_seq == turn.done_seq == 4 + RECOVERY_GAP
    assert (done.turn_id, done.status, done.version) == ("t_2", "interrupted", 5)
    assert [message.text for message in done.messages] == ["a"]
    assert (await store.get_session(OWNER, "s_1")).last_seq == seq


async def test_queued_turns_join_the_branch_in_the_order_they_were_accepted(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2))
    await store.append_events("s_1", opening_events(begun, 2, "a"), now=150.0)
    await store.begin_turn(begin(3, status="queued"))
    await store.begin_turn(begin(4, status="queued"))
    store, ended = await reopen(store)
    assert [(turn.turn_id, turn.status) for turn in ended] == [(f"t_{n}", "interrupted") for n in (2, 3, 4)]
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2", "u_3", "u_4"]
    session = await store.get_session(OWNER, "s_1")
    assert session.version == 4 + 1 + 2 + 2
    page = await store.read_events("s_1", after=0, limit=99)
    assert [seq for seq, _ in done_of(page.events)] == [4 + RECOVERY_GAP + place for place in range(3)]
    record = await store.last_turn(OWNER, "s_1")
    assert record is not None
    assert record.turn.turn_id == "t_4"


async def test_only_sessions_with_open_turns_are_touched(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, "s_2"))
    before = await store.export_session(OWNER, "s_1")
    store, ended = await reopen(store)
    assert [turn.session_id for turn in ended] == ["s_2"]
    assert await store.export_session(OWNER, "s_1") == before
    assert (await store.read_events("s_1", after=0, limit=9)).first_seq == 1


async def test_recovered_session_takes_the_next_turn(store: Store, reopen: Reopen) -> None:
    begun = await store.begin_turn(begin(1))
    await store.append_events("s_1", opening_events(begun, 1, "a"), now=150.0)
    store, _ = await reopen(store)
    await store.begin_turn(begin(2))
    await end_turn(store, 2, answer("a_2"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]


async def test_second_recovery_finds_nothing_to_do(store: Store, reopen: Reopen) -> None:
    await store.begin_turn(begin(1))
    store, _ = await reopen(store)
    before = await store.export_session(OWNER, "s_1")
    store, ended = await reopen(store)
    assert ended == ()
    assert await store.export_session(OWNER, "s_1") == before


async def test_retry_that_was_interrupted_hangs_on_the_message_it_answers(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2, operation="retry", user_message=None))
    begun = replace(begun, user_message=None)
    await store.append_events("s_1", opening_events(begun, 2, "again"), now=150.0)
    store, _ = await reopen(store)
    assert await branch_ids(store) == ["u_1", "a_2"]
