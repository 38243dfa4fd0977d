"""What every store promises about turns: begin, queue, start, commit, read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Store
from chatserve.contracts.turns import Idempotency, TurnRecord
from chatserve.core.errors import (
    IdempotencyConflict,
    LeaseLost,
    MessageUnknown,
    SessionBusy,
    SessionExists,
    SessionUnknown,
    TurnUnknown,
    VersionConflict,
)
from chatserve.core.events import Delta, Done, NumberedEvent
from chatserve.core.types import FilePart, FinalStatus, TextPart, ToolResultPart, Turn, TurnError, Usage
from tests.stores.store_values import (
    OWNER,
    answer,
    begin,
    branch_ids,
    commit,
    edit,
    end_turn,
    file,
    new_session,
    opening_events,
    retry,
    run_turn,
    undo,
    user,
)

KEY = Idempotency("key-12345678", "hash", expires_at=500.0)


# --- begin -------------------------------------------------------------------------------------------------------


async def test_turn_makes_its_session_and_joins_the_branch(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    assert begun.turn == Turn("t_1", "s_1", "chat", "running", "u_1", 101.0, version=2)
    assert (begun.session.version, begun.session.head, begun.session.created_at) == (2, "u_1", 101.0)
    assert begun.user_message == user("u_1", "question 1", turn_id="t_1")
    assert (begun.parent_id, begun.replayed) == (None, False)
    assert await store.get_session(OWNER, "s_1") == begun.session


async def test_second_turn_follows_the_first(store: Store) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2))
    assert begun.parent_id == "a_1"
    assert await branch_ids(store) == ["u_1", "a_1", "u_2"]


async def test_turn_in_a_session_made_with_messages_follows_them(store: Store) -> None:
    seeds = (user("u_0"), answer("a_0", parent_id="u_0"))
    begun = await store.begin_turn(begin(1, create=new_session(messages=seeds)))
    assert begun.parent_id == "a_0"
    assert await branch_ids(store) == ["u_0", "a_0", "u_1"]


async def test_turn_without_a_session_to_create_needs_one(store: Store) -> None:
    with pytest.raises(SessionUnknown):
        await store.begin_turn(begin(1, create=None))


async def test_session_that_is_there_is_not_created_again(store: Store) -> None:
    await store.create_session(new_session(title="kept"), now=5.0)
    begun = await store.begin_turn(begin(1, create=new_session(title="other")))
    assert (begun.session.title, begun.session.version) == ("kept", 2)


async def test_second_turn_in_a_busy_session_is_refused(store: Store) -> None:
    await store.begin_turn(begin(1))
    with pytest.raises(SessionBusy) as refusal:
        await store.begin_turn(begin(2))
    assert refusal.value.extra == {"turn_id": "t_1"}
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_2")
    assert await branch_ids(store) == ["u_1"]


async def test_turn_for_a_stale_version_is_refused_and_makes_no_session(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(VersionConflict):
        await store.begin_turn(begin(2, if_version=2))
    assert (await store.begin_turn(begin(2, if_version=3))).session.version == 4
    with pytest.raises(VersionConflict):
        await store.begin_turn(begin(3, "s_2", if_version=9))
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_2")


async def test_files_a_message_refers_to_belong_to_its_session(store: Store) -> None:
    await store.add_file(file("f_1"))
    message = replace(user(), content=(TextPart("look"), FilePart("f_1", "a.txt", "text/plain", 3)))
    await store.begin_turn(begin(1, user_message=message))
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id == "s_1"


# --- idempotency -------------------------------------------------------------------------------------------------


async def test_known_key_with_the_same_body_answers_with_the_turn_it_made(store: Store) -> None:
    first = await store.begin_turn(begin(1, idempotency=KEY))
    again = await store.begin_turn(begin(2, idempotency=KEY))
    assert again == replace(first, replayed=True)
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_2")


async def test_replayed_turn_is_told_as_it_is_now(store: Store) -> None:
    committed = await run_turn(store, 1, idempotency=KEY)
    again = await store.begin_turn(begin(2, idempotency=KEY))
    assert (again.turn, again.session, again.replayed) == (committed.turn, committed.session, True)


async def test_known_key_is_answered_even_where_the_session_or_version_would_refuse(store: Store) -> None:
    await store.begin_turn(begin(1, idempotency=KEY))
    assert (await store.begin_turn(begin(2, idempotency=KEY, if_version=99))).replayed


async def test_known_key_with_another_body_is_refused(store: Store) -> None:
    await run_turn(store, 1, idempotency=KEY)
    with pytest.raises(IdempotencyConflict):
        await store.begin_turn(begin(2, idempotency=replace(KEY, body_hash="other")))
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_expired_key_is_forgotten_and_replaced(store: Store) -> None:
    await run_turn(store, 1, idempotency=replace(KEY, expires_at=102.0))
    begun = await store.begin_turn(begin(2, idempotency=replace(KEY, body_hash="other")))
    assert (begun.replayed, begun.turn.turn_id) == (False, "t_2")
    assert (await store.begin_turn(begin(3, idempotency=replace(KEY, body_hash="other")))).turn.turn_id == "t_2"


async def test_key_belongs_to_its_owner(store: Store) -> None:
    await run_turn(store, 1, idempotency=KEY)
    fields = {"owner": "bob", "create": new_session("s_2", "bob"), "idempotency": replace(KEY, body_hash="other")}
    assert not (await store.begin_turn(begin(2, "s_2", **fields))).replayed


async def test_refused_turn_leaves_its_key_free(store: Store) -> None:
    await store.begin_turn(begin(1))
    with pytest.raises(SessionBusy):
        await store.begin_turn(begin(2, idempotency=KEY))
    await end_turn(store, 1, answer("a_1"))
    assert not (await store.begin_turn(begin(2, idempotency=KEY))).replayed


async def test_claimed_key_stands_for_what_was_claimed_first(store: Store) -> None:
    assert await store.claim_key(OWNER, KEY, "s_9", now=100.0) is None
    assert await store.claim_key(OWNER, KEY, "s_10", now=101.0) == "s_9"
    assert await store.claim_key("bob", KEY, "s_10", now=101.0) is None
    assert await store.claim_key(OWNER, KEY, "s_10", now=500.0) is None


async def test_claim_of_a_key_with_another_body_is_refused(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_9", now=100.0)
    with pytest.raises(IdempotencyConflict):
        await store.claim_key(OWNER, replace(KEY, body_hash="other"), "s_10", now=101.0)


async def test_claim_for_a_session_that_is_there_is_refused_and_leaves_the_key_free(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(SessionExists):
        await store.claim_key(OWNER, KEY, "s_1", now=100.0)
    assert await store.claim_key(OWNER, KEY, "s_9", now=100.0) is None


async def test_key_claimed_for_something_else_begins_no_turn(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_9", now=100.0)
    with pytest.raises(IdempotencyConflict):
        await store.begin_turn(begin(1, idempotency=KEY))


async def test_claim_of_the_key_of_a_turn_names_the_turn(store: Store) -> None:
    await run_turn(store, 1, idempotency=KEY)
    assert await store.claim_key(OWNER, KEY, "s_9", now=102.0) == "t_1"


async def test_key_of_a_deleted_session_is_free(store: Store) -> None:
    await run_turn(store, 1, idempotency=KEY)
    await store.delete_session(OWNER, "s_1")
    assert not (await store.begin_turn(begin(2, idempotency=KEY))).replayed


# --- retry, edit, history, rollback ------------------------------------------------------------------------------


async def test_retry_answers_the_last_user_message_again(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    begun = await store.begin_turn(retry(3))
    assert (begun.turn.user_message_id, begun.parent_id) == ("u_2", "a_1")
    assert begun.user_message is not None
    assert begun.user_message.message_id == "u_2"
    await end_turn(store, 3, answer("a_3"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_3"]


async def test_retry_of_an_earlier_message_leaves_what_followed_as_a_branch(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.begin_turn(retry(3, target_message_id="u_1"))
    await end_turn(store, 3, answer("a_3"))
    assert await branch_ids(store) == ["u_1", "a_3"]
    rows = await store.list_messages(OWNER, "s_1", after=None, limit=9, branches=True)
    assert [row.message_id for row in rows.items] == ["u_1", "a_1", "u_2", "a_2", "a_3"]


async def test_retry_of_what_is_no_user_message_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_2")
    for target in ("a_1", "u_2", "u_none"):
        with pytest.raises(MessageUnknown):
            await store.begin_turn(retry(3, target_message_id=target))
    assert (await store.get_session(OWNER, "s_1")).version == 3


async def test_retry_in_a_session_without_messages_is_refused(store: Store) -> None:
    with pytest.raises(MessageUnknown):
        await store.begin_turn(retry(1))
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")


async def test_results_of_tools_begin_a_turn_that_can_be_retried(store: Store) -> None:
    await run_turn(store, 1)
    results = replace(user("u_2", role="tool"), content=(ToolResultPart("c_1", {"degrees": 21}),))
    await run_turn(store, 2, user_message=results)
    begun = await store.begin_turn(retry(3))
    assert begun.user_message == replace(results, turn_id="t_2", parent_id="a_1")
    await end_turn(store, 3, answer("a_3"), answer("x_3", role="tool"))
    with pytest.raises(MessageUnknown):
        await store.begin_turn(retry(4, target_message_id="x_3"))


async def test_edit_puts_a_sibling_in_place_of_a_message(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    begun = await store.begin_turn(edit(3, target_message_id="u_2"))
    assert begun.parent_id == "a_1"
    await end_turn(store, 3, answer("a_3"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_3", "a_3"]


async def test_edit_of_the_first_message_begins_anew(store: Store) -> None:
    await run_turn(store, 1)
    assert (await store.begin_turn(edit(2, target_message_id="u_1"))).parent_id is None
    assert await branch_ids(store) == ["u_2"]


async def test_edit_of_an_unknown_message_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(MessageUnknown):
        await store.begin_turn(edit(2, target_message_id="u_none"))


async def test_history_that_was_sent_branches_where_it_differs(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    sent = (
        user("h_1", "question 1"),
        answer("h_2", "answer 1"),
        user("h_3", "question 2"),
        answer("h_4", "another answer"),
    )
    begun = await store.begin_turn(begin(3, history=sent))
    assert begun.parent_id == "h_4"
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "h_4", "u_3"]


async def test_history_that_is_stored_already_adds_nothing(store: Store) -> None:
    await run_turn(store, 1)
    sent = (user("h_1", "question 1"), answer("h_2", "answer 1"))
    assert (await store.begin_turn(begin(2, history=sent))).parent_id == "a_1"
    assert await branch_ids(store) == ["u_1", "a_1", "u_2"]


async def test_history_that_is_shorter_than_the_stored_one_leaves_the_rest_as_a_branch(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, history=()))
    assert await branch_ids(store) == ["u_2"]


async def test_history_is_compared_by_role_too(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, history=(user("h_1", "question 1", role="system"),)))
    assert await branch_ids(store) == ["h_1", "u_2"]


async def test_rollback_takes_the_messages_of_an_ended_turn_off_the_branch(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    await end_turn(store, 2, answer("a_2", status="interrupted"), status="interrupted")
    begun = await store.begin_turn(begin(3, rollback_turn_id="t_2"))
    assert begun.parent_id == "a_1"
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]


async def test_rollback_of_a_turn_without_answer_takes_its_user_message_off(store: Store) -> None:
    await store.begin_turn(begin(1))
    await end_turn(store, 1, status="interrupted")
    assert (await store.begin_turn(begin(2, rollback_turn_id="t_1"))).parent_id is None


async def test_rollback_of_a_retry_brings_the_earlier_answer_back(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(retry(2))
    await end_turn(store, 2, answer("a_2"), status="interrupted")
    await store.begin_turn(begin(3, rollback_turn_id="t_2"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]


async def test_rollback_of_a_turn_that_does_not_end_the_branch_changes_nothing(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.begin_turn(begin(3, rollback_turn_id="t_1"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2", "u_3"]


async def test_rollback_of_a_turn_that_waited_first_returns_to_where_it_began(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    await end_turn(store, 1, answer("a_1"))
    await store.start_turn(OWNER, "s_1", "t_2", now=150.0)
    await end_turn(store, 2, answer("a_2"), status="interrupted")
    await store.begin_turn(begin(3, rollback_turn_id="t_2"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]


async def test_rollback_of_a_retry_that_never_began_leaves_the_message_it_would_have_answered(store: Store) -> None:
    await store.begin_turn(begin(1))
    await end_turn(store, 1, status="failed")
    await store.begin_turn(retry(2, status="queued"))
    await end_turn(store, 2, status="stopped")
    await store.begin_turn(begin(3, rollback_turn_id="t_2"))
    assert await branch_ids(store) == ["u_1", "u_3"]


async def test_rollback_of_a_turn_that_never_began_changes_nothing(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(retry(2, status="queued"))
    await end_turn(store, 2, status="stopped")
    await store.begin_turn(begin(3, rollback_turn_id="t_2"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]


# --- queue -------------------------------------------------------------------------------------------------------


async def test_queued_turn_changes_neither_version_nor_branch(store: Store) -> None:
    running = await store.begin_turn(begin(1))
    queued = await store.begin_turn(begin(2, status="queued"))
    assert queued.turn == Turn("t_2", "s_1", "chat", "queued", "u_2", 102.0)
    assert queued.session == running.session
    assert await branch_ids(store) == ["u_1"]


async def test_queued_turn_follows_the_answer_before_it_when_it_starts(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    before = (await end_turn(store, 1, answer("a_1"))).session.version
    started = await store.start_turn(OWNER, "s_1", "t_2", now=150.0)
    assert (started.turn.status, started.turn.version, started.parent_id) == ("running", before + 1, "a_1")
    assert started.user_message is not None
    assert started.user_message.parent_id == "a_1"
    assert (started.session.version, started.session.updated_at) == (before + 1, 150.0)
    assert await branch_ids(store) == ["u_1", "a_1", "u_2"]


async def test_queued_turn_does_not_start_while_another_runs(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    with pytest.raises(SessionBusy) as refusal:
        await store.start_turn(OWNER, "s_1", "t_2", now=150.0)
    assert refusal.value.extra == {"turn_id": "t_1"}


async def test_only_a_queued_turn_of_ones_own_can_start(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued"))
    for owner, session_id, turn_id in [
        (OWNER, "s_1", "t_1"),
        (OWNER, "s_1", "t_none"),
        (OWNER, "s_2", "t_2"),
        ("bob", "s_1", "t_2"),
    ]:
        with pytest.raises(TurnUnknown):
            await store.start_turn(owner, session_id, turn_id, now=150.0)


async def test_waiting_turn_keeps_another_from_running_but_not_from_waiting(store: Store) -> None:
    await store.begin_turn(begin(1, status="queued"))
    with pytest.raises(SessionBusy) as refusal:
        await store.begin_turn(begin(2))
    assert refusal.value.extra == {"turn_id": "t_1"}
    assert (await store.begin_turn(begin(2, status="queued"))).turn.status == "queued"


async def test_busy_session_names_the_turn_that_runs_rather_than_one_that_waits(store: Store) -> None:
    for number in (1, 2):
        await store.begin_turn(begin(number, status="queued"))
    await store.start_turn(OWNER, "s_1", "t_2", now=150.0)
    with pytest.raises(SessionBusy) as refusal:
        await store.begin_turn(begin(3))
    assert refusal.value.extra == {"turn_id": "t_2"}


async def test_queued_edit_retry_and_history_keep_their_place_in_the_tree(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    await store.begin_turn(edit(3, status="queued", target_message_id="u_1"))
    await store.begin_turn(retry(4, status="queued", target_message_id="u_1"))
    await store.begin_turn(begin(5, status="queued", history=(user("h_1", "else"),)))
    await end_turn(store, 2, answer("a_2"))
    branches = []
    for number in (3, 4, 5):
        await store.start_turn(OWNER, "s_1", f"t_{number}", now=150.0)
        branches.append(await branch_ids(store))
        await end_turn(store, number, answer(f"a_{number}"))
    assert branches == [["u_3"], ["u_1"], ["h_1", "u_5"]]


async def test_queued_rollback_happens_when_the_turn_starts(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.begin_turn(begin(3, status="queued", rollback_turn_id="t_2"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]
    assert (await store.start_turn(OWNER, "s_1", "t_3", now=150.0)).parent_id == "a_1"
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]


async def test_turn_that_ends_in_the_queue_stays_off_the_branch_and_readable(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued"))
    before = await store.get_session(OWNER, "s_1")
    ended = await store.commit_turn(commit(2, done_seq=5, status="stopped", finish_reason="stopped"))
    assert ended.session == replace(before, last_seq=5)
    assert ended.done == Done("t_2", "stopped", "stopped", (), None, before.version)
    record = await store.get_turn(OWNER, "t_2")
    assert (record.turn.status, record.turn.version) == ("stopped", None)
    assert record.user_message == user("u_2", "question 2", turn_id="t_2", status="stopped")
    assert await branch_ids(store) == ["u_1", "a_1"]


@pytest.mark.parametrize("status", ["completed", "stopped", "failed", "interrupted"])
async def test_user_message_has_the_status_of_a_turn_that_ended_without_an_answer(
    store: Store, status: FinalStatus
) -> None:
    await store.begin_turn(begin(1))
    await store.commit_turn(commit(1, done_seq=3, status=status))
    (asked,) = await store.read_branch(OWNER, "s_1", "u_1")
    assert asked.status == (None if status == "completed" else status)
    await store.begin_turn(retry(2))
    await store.commit_turn(commit(2, done_seq=5))
    (asked,) = await store.read_branch(OWNER, "s_1", "u_1")
    assert asked.status is None


# --- commit ------------------------------------------------------------------------------------------------------


async def test_commit_keeps_answer_status_and_usage_together(store: Store) -> None:
    await store.begin_turn(begin(1))
    answers = (answer("a_1", "thinking", metadata={"title": "Thought"}), answer("a_2", options=({"value": "yes"},)))
    committed = await store.commit_turn(
        commit(1, *answers, done_seq=7, usage=Usage(3, 4), state={"n": 1}, title="Greetings", now=205.0)
    )
    kept = (
        replace(answers[0], turn_id="t_1", parent_id="u_1"),
        replace(answers[1], turn_id="t_1", parent_id="a_1"),
    )
    assert committed.turn == Turn(
        "t_1", "s_1", "chat", "completed", "u_1", 101.0, 205.0, "stop", Usage(3, 4), None, 7, 7, 3
    )
    session = committed.session
    assert (session.version, session.head, session.last_seq, session.updated_at) == (3, "a_2", 7, 205.0)
    assert (session.state, session.title) == ({"n": 1}, "Greetings")
    assert committed.done == Done("t_1", "completed", "stop", kept, Usage(3, 4), 3)
    assert await store.get_session(OWNER, "s_1") == session
    assert await store.get_turn(OWNER, "t_1") == TurnRecord(
        committed.turn, user("u_1", "question 1", turn_id="t_1"), kept
    )


async def test_commit_without_state_and_title_leaves_them(store: Store) -> None:
    await store.begin_turn(begin(1, create=new_session(title="Tea", state={"n": 1})))
    session = (await end_turn(store, 1, answer())).session
    assert (session.title, session.state) == ("Tea", {"n": 1})
    assert await store.get_session(OWNER, "s_1") == session


async def test_commit_without_an_answer_leaves_the_user_message_at_the_end(store: Store) -> None:
    await store.begin_turn(begin(1))
    error = TurnError("chat_function_failed", "sorry", "e_1", retryable=True)
    ended = await end_turn(store, 1, status="failed", finish_reason="error", error=error)
    assert (ended.session.head, ended.turn.error) == ("u_1", error)
    assert (await store.get_turn(OWNER, "t_1")).turn.error == error
    assert await branch_ids(store) == ["u_1"]


async def test_commit_of_a_turn_that_is_not_open_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    before = await store.export_session(OWNER, "s_1")
    for lost in (
        commit(1, answer("a_9"), done_seq=9),
        commit(2, done_seq=9),
        commit(1, done_seq=9, session_id="s_2"),
        commit(1, done_seq=9, owner="bob"),
    ):
        with pytest.raises(LeaseLost):
            await store.commit_turn(lost)
    assert await store.export_session(OWNER, "s_1") == before


async def test_session_is_free_again_after_a_commit(store: Store) -> None:
    await run_turn(store, 1)
    assert (await store.begin_turn(begin(2))).turn.status == "running"


async def test_commit_adds_the_end_of_the_log(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    events = opening_events(begun, 1, "he", "llo")
    await store.append_events("s_1", events[:2], now=150.0)
    committed = await store.commit_turn(commit(1, answer(), done_seq=5, events=tuple(events[1:])))
    page = await store.read_events("s_1", after=0, limit=99)
    assert [event.seq for event in page.events] == [1, 2, 3, 4, 5]
    assert page.events[2:4] == (NumberedEvent(3, "t_1", Delta("he")), NumberedEvent(4, "t_1", Delta("llo")))
    assert page.events[4] == NumberedEvent(5, "t_1", committed.done)
    assert (committed.turn.first_seq, committed.turn.done_seq) == (1, 5)


# --- reading -----------------------------------------------------------------------------------------------------


async def test_last_turn_is_the_one_that_began_last(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    assert await store.last_turn(OWNER, "s_1") is None
    for number in (1, 2):
        await store.begin_turn(begin(number, status="queued"))
    assert await store.last_turn(OWNER, "s_1") is None
    for number in (2, 1):
        await store.start_turn(OWNER, "s_1", f"t_{number}", now=150.0)
        await end_turn(store, number)
    record = await store.last_turn(OWNER, "s_1")
    assert record is not None
    assert record.turn.turn_id == "t_1"


async def test_last_turn_survives_undo_with_its_messages(store: Store) -> None:
    await run_turn(store, 1)
    await store.move_history(undo(9))
    record = await store.last_turn(OWNER, "s_1")
    assert record is not None
    assert [message.message_id for message in record.messages] == ["a_1"]


async def test_running_turn_has_its_user_message_and_no_answer_yet(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    assert await store.get_turn(OWNER, "t_1") == TurnRecord(begun.turn, begun.user_message, ())


async def test_retried_turn_has_its_own_answer_only(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(retry(2))
    await end_turn(store, 2, answer("a_2"))
    answers = [(await store.get_turn(OWNER, turn_id)).messages[0].message_id for turn_id in ("t_1", "t_2")]
    assert answers == ["a_1", "a_2"]
