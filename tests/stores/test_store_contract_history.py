"""What every store promises about histories: paging, undo, clear, replace, fork, feedback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Store
from chatserve.core.errors import (
    InputsInvalid,
    MessageUnknown,
    NothingToUndo,
    SessionBusy,
    SessionExists,
    SessionUnknown,
    VersionConflict,
)
from chatserve.core.events import HistoryChanged, NumberedEvent
from chatserve.core.types import Feedback, FilePart, Message, TextPart
from tests.stores.conftest import Reopen
from tests.stores.store_values import (
    OWNER,
    STRANGER,
    answer,
    begin,
    branch_ids,
    clear,
    commit,
    edit,
    end_turn,
    file,
    fresh_ids,
    new_session,
    replacement,
    retry,
    run_turn,
    undo,
    user,
)


async def _pages(store: Store, *, limit: int, branches: bool) -> list[list[str]]:
    pages, after = [], None
    while True:
        page = await store.list_messages(OWNER, "s_1", after=after, limit=limit, branches=branches)
        pages.append([message.message_id for message in page.items])
        if (after := page.next) is None:
            return pages


async def test_branch_is_read_from_the_first_message_to_the_one_named(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    assert [m.message_id for m in await store.read_branch(OWNER, "s_1", "u_2")] == ["u_1", "a_1", "u_2"]
    assert await store.read_branch(OWNER, "s_1", None) == ()


async def test_message_is_found_by_its_id_on_any_branch(store: Store) -> None:
    await run_turn(store, 1)
    await store.move_history(undo(9))
    assert await store.get_message(OWNER, "a_1") == answer("a_1", "answer 1", turn_id="t_1", parent_id="u_1")
    for owner, message_id in ((OWNER, "a_none"), (STRANGER, "a_1")):
        with pytest.raises(MessageUnknown):
            await store.get_message(owner, message_id)


async def test_branch_of_an_unknown_head_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_2")
    for head in ("u_none", "u_2"):
        with pytest.raises(MessageUnknown):
            await store.read_branch(OWNER, "s_1", head)


async def test_messages_of_the_branch_come_page_by_page(store: Store) -> None:
    for number in (1, 2, 3):
        await run_turn(store, number)
    await store.begin_turn(edit(4, target_message_id="u_3"))
    assert await _pages(store, limit=2, branches=False) == [["u_1", "a_1"], ["u_2", "a_2"], ["u_4"]]
    assert await _pages(store, limit=5, branches=False) == [["u_1", "a_1", "u_2", "a_2", "u_4"]]


async def test_messages_of_all_branches_come_in_the_order_they_were_made(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(edit(2, target_message_id="u_1"))
    assert await _pages(store, limit=2, branches=True) == [["u_1", "a_1"], ["u_2"]]


async def test_messages_after_one_that_is_not_in_the_list_are_refused(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(edit(2, target_message_id="u_1"))
    for after, branches in (("a_1", False), ("u_none", True)):
        with pytest.raises(MessageUnknown):
            await store.list_messages(OWNER, "s_1", after=after, limit=9, branches=branches)


async def test_session_without_messages_has_an_empty_page(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    for branches in (True, False):
        page = await store.list_messages(OWNER, "s_1", after=None, limit=9, branches=branches)
        assert (page.items, page.next) == ((), None)


# --- undo and clear ----------------------------------------------------------------------------------------------


async def test_undo_takes_the_last_turn_off_and_returns_its_message(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    moved = await store.move_history(undo(9))
    assert moved.message == user("u_2", "question 2", turn_id="t_2", parent_id="a_1")
    assert (moved.session.head, moved.session.last_seq, moved.session.updated_at) == ("a_1", 9, 300.0)
    assert await store.get_session(OWNER, "s_1") == moved.session
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_undo_until_nothing_is_left(store: Store) -> None:
    await run_turn(store, 1)
    assert (await store.move_history(undo(9))).session.head is None
    with pytest.raises(NothingToUndo):
        await store.move_history(undo(10))
    assert await branch_ids(store) == []


async def test_undo_of_a_retried_turn_takes_its_user_message_off(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.begin_turn(retry(3))
    await end_turn(store, 3, answer("a_3"), answer("b_3"))
    moved = await store.move_history(undo(9))
    assert moved.message is not None
    assert moved.message.message_id == "u_2"
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_undo_of_results_of_tools_leaves_the_question_they_belong_to(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, user_message=user("u_2", role="tool"))
    await store.move_history(undo(9))
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_undo_of_a_turn_whose_answer_has_tool_messages_takes_all_of_it_off(store: Store) -> None:
    await store.begin_turn(begin(1))
    await end_turn(store, 1, answer("a_1"), answer("a_2", role="tool"), answer("a_3"))
    await store.move_history(undo(9))
    assert await branch_ids(store) == []


async def test_undo_of_a_turn_without_answer_takes_the_user_message_off(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    await end_turn(store, 2, status="failed")
    await store.move_history(undo(9))
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_undo_in_seeded_history_goes_back_to_the_last_user_message(store: Store) -> None:
    seeds = (user("u_0"), answer("a_0", parent_id="u_0"), answer("b_0", parent_id="a_0"))
    await store.create_session(new_session(messages=seeds), now=5.0)
    moved = await store.move_history(undo(1))
    assert moved.message == seeds[0]
    assert moved.session.head is None


async def test_undo_of_history_without_user_message_is_refused(store: Store) -> None:
    await store.create_session(new_session(messages=(answer("a_0"),)), now=5.0)
    with pytest.raises(NothingToUndo):
        await store.move_history(undo(1))


async def test_clear_empties_branch_and_state(store: Store) -> None:
    await run_turn(store, 1, create=new_session(state={"n": 1}, title="Tea"))
    moved = await store.move_history(clear(9))
    assert (moved.message, moved.session.head, moved.session.state) == (None, None, {})
    assert moved.session.title == "Tea"
    assert await store.get_session(OWNER, "s_1") == moved.session


async def test_undo_keeps_the_state(store: Store) -> None:
    await run_turn(store, 1, create=new_session(state={"n": 1}))
    assert (await store.move_history(undo(9))).session.state == {"n": 1}


async def test_history_operation_writes_its_event_into_the_log(store: Store) -> None:
    await run_turn(store, 1)
    await store.move_history(undo(2))
    await store.move_history(clear(3))
    await store.move_history(replacement(4, user("h_1")))
    page = await store.read_events("s_1", after=1, limit=9)
    assert page.events == (
        NumberedEvent(2, None, HistoryChanged(4, "undo")),
        NumberedEvent(3, None, HistoryChanged(5, "clear")),
        NumberedEvent(4, None, HistoryChanged(6, "replace")),
    )


async def test_history_is_left_alone_while_a_turn_waits(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued"))
    with pytest.raises(SessionBusy):
        await store.move_history(undo(9))


async def test_history_of_a_busy_session_is_left_alone(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    for move in (undo(9), clear(9), replacement(9, user("h_1"))):
        with pytest.raises(SessionBusy) as refusal:
            await store.move_history(move)
        assert refusal.value.extra == {"turn_id": "t_2"}


async def test_history_operation_on_a_stale_version_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(VersionConflict):
        await store.move_history(undo(9, if_version=2))
    assert (await store.move_history(undo(9, if_version=3))).session.version == 4


async def test_history_of_an_unknown_session_cannot_be_moved(store: Store) -> None:
    await run_turn(store, 1)
    for move in (undo(9, session_id="s_2"), replace(undo(9), owner=STRANGER), replacement(9, session_id="s_2")):
        with pytest.raises(SessionUnknown):
            await store.move_history(move)


# --- replace -----------------------------------------------------------------------------------------------------


async def test_replaced_history_keeps_what_it_has_in_common_with_the_stored_one(store: Store) -> None:
    await run_turn(store, 1)
    before = (await run_turn(store, 2)).session
    sent = (user("h_1", "question 1"), answer("h_2", "answer 1"), user("h_3", "and?"), answer("h_4", "so"))
    moved = await store.move_history(replacement(9, *sent))
    assert moved.message is None
    assert moved.session == replace(before, version=before.version + 1, head="h_4", last_seq=9, updated_at=300.0)
    assert await store.get_session(OWNER, "s_1") == moved.session
    assert await store.read_branch(OWNER, "s_1", "h_4") == (
        user("u_1", "question 1", turn_id="t_1"),
        answer("a_1", "answer 1", turn_id="t_1", parent_id="u_1"),
        user("h_3", "and?", parent_id="a_1"),
        answer("h_4", "so", parent_id="h_3"),
    )
    assert [m.message_id for m in await store.read_branch(OWNER, "s_1", "a_2")] == ["u_1", "a_1", "u_2", "a_2"]


@pytest.mark.parametrize("kept", [0, 1, 3, 4])
async def test_replacement_that_only_cuts_the_end_off_adds_nothing(store: Store, kept: int) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    head = (await store.get_session(OWNER, "s_1")).head
    branch = await store.read_branch(OWNER, "s_1", head)
    await store.move_history(replacement(9, *branch[:kept]))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"][:kept]
    page = await store.list_messages(OWNER, "s_1", after=None, limit=9, branches=True)
    assert page.items == branch


async def test_replacement_keeps_state_title_and_turns(store: Store) -> None:
    await run_turn(store, 1, create=new_session(state={"n": 1}, title="Tea"))
    session = (await store.move_history(replacement(9, user("h_1")))).session
    assert (session.state, session.title) == ({"n": 1}, "Tea")
    assert [m.message_id for m in (await store.get_turn(OWNER, "t_1")).messages] == ["a_1"]


async def test_messages_put_into_a_history_are_of_no_turn(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    branch = await store.read_branch(OWNER, "s_1", "a_2")
    copies = [replace(message, message_id=f"h_{number}") for number, message in enumerate(branch)]
    await store.move_history(replacement(9, copies[0], *copies[2:]))
    replaced = await store.read_branch(OWNER, "s_1", "h_3")
    assert [(m.message_id, m.turn_id) for m in replaced] == [("u_1", "t_1"), ("h_2", None), ("h_3", None)]
    await store.move_history(undo(10))
    assert await branch_ids(store) == ["u_1"]


async def test_replaced_history_goes_on_and_is_there_after_a_restart(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await store.move_history(replacement(9, user("h_1"), answer("h_2")))
    store, _ = await reopen(store)
    await run_turn(store, 2)
    assert await branch_ids(store) == ["h_1", "h_2", "u_2", "a_2"]


async def test_empty_session_gets_a_history(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.move_history(replacement(1, user("h_1"), answer("h_2")))
    assert await branch_ids(store) == ["h_1", "h_2"]


async def test_files_of_a_replaced_history_belong_to_its_session(store: Store) -> None:
    await run_turn(store, 1)
    await store.add_file(file("f_1"))
    look = replace(user("h_1"), content=(FilePart("f_1", "a.txt", "text/plain", 3),))
    await store.move_history(replacement(9, look))
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id == "s_1"


async def test_replacement_with_ids_that_are_taken_is_refused_whole(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_2")
    before = await store.export_session(OWNER, "s_1")
    for sent in (
        (user("a_1"),),
        (user("h_1"), user("u_2")),
        (user("h_1"), user("h_1")),
    ):
        with pytest.raises(InputsInvalid, match=repr(sent[-1].message_id)):
            await store.move_history(replacement(9, *sent))
    assert await store.export_session(OWNER, "s_1") == before


async def test_replacement_for_a_stale_version_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(VersionConflict):
        await store.move_history(replacement(9, user("h_1"), if_version=2))
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_history_is_not_replaced_while_a_turn_waits(store: Store) -> None:
    await store.begin_turn(begin(1, status="queued"))
    with pytest.raises(SessionBusy):
        await store.move_history(replacement(9, user("h_1")))


# --- fork --------------------------------------------------------------------------------------------------------


async def _fork(store: Store, message_id: str | None = None, new_session_id: str = "s_2") -> tuple[Message, ...]:
    session = await store.fork_session(
        OWNER, "s_1", message_id=message_id, new_session_id=new_session_id, new_ids=fresh_ids(), now=400.0
    )
    return await store.read_branch(OWNER, new_session_id, session.head)


async def test_fork_copies_the_branch_under_new_ids(store: Store) -> None:
    await run_turn(store, 1, create=new_session(title="Tea", metadata={"a": 1}, state={"b": 2}))
    await run_turn(store, 2)
    copies = await _fork(store)
    assert [(m.message_id, m.parent_id, m.turn_id, m.text) for m in copies] == [
        ("m_new_1", None, None, "question 1"),
        ("m_new_2", "m_new_1", None, "answer 1"),
        ("m_new_3", "m_new_2", None, "question 2"),
        ("m_new_4", "m_new_3", None, "answer 2"),
    ]
    session = await store.get_session(OWNER, "s_2")
    assert (session.title, session.metadata, session.state) == ("Tea", {"a": 1}, {"b": 2})
    assert (session.version, session.last_seq, session.created_at) == (1, 0, 400.0)
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]


async def test_fork_up_to_a_message_of_any_branch(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(edit(2, target_message_id="u_1"))
    assert [copy.text for copy in await _fork(store, "a_1")] == ["question 1", "answer 1"]


async def test_fork_of_an_empty_history_is_an_empty_session(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    assert await _fork(store) == ()


async def test_fork_from_an_unknown_message_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_x")
    for message_id in ("u_none", "u_2"):
        with pytest.raises(MessageUnknown):
            await _fork(store, message_id)
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_2")


async def test_fork_into_a_session_that_is_there_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(SessionExists):
        await _fork(store, new_session_id="s_1")


async def test_fork_can_be_undone_and_continued_apart_from_its_origin(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await _fork(store)
    moved = await store.move_history(undo(1, session_id="s_2"))
    assert moved.message is not None
    assert moved.message.text == "question 2"
    await run_turn(store, 3, "s_2")
    assert await branch_ids(store, "s_2") == ["m_new_1", "m_new_2", "u_3", "a_3"]
    assert await branch_ids(store, "s_1") == ["u_1", "a_1", "u_2", "a_2"]


async def test_files_of_a_fork_live_as_long_as_either_session(store: Store) -> None:
    await store.add_file(file("f_1"))
    message = replace(user(), content=(TextPart("look"), FilePart("f_1", "a.txt", "text/plain", 3)))
    await run_turn(store, 1, user_message=message)
    await _fork(store)
    assert await store.delete_session(OWNER, "s_1") == ()
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id == "s_2"
    assert await store.delete_session(OWNER, "s_2") == ("f_1",)


# --- feedback ----------------------------------------------------------------------------------------------------


async def test_feedback_is_kept_with_its_message_and_replaced_by_the_next(store: Store) -> None:
    await run_turn(store, 1)
    await store.set_feedback(OWNER, "a_1", Feedback("like"), now=250.0)
    session, message = await store.set_feedback(OWNER, "a_1", Feedback("dislike", "too long"), now=260.0)
    assert (session.version, session.updated_at, session.head) == (5, 260.0, "a_1")
    assert message.feedback == Feedback("dislike", "too long")
    assert (await store.read_branch(OWNER, "s_1", "a_1"))[-1] == message
    assert await store.get_session(OWNER, "s_1") == session


async def test_feedback_for_a_stale_version_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    with pytest.raises(VersionConflict):
        await store.set_feedback(OWNER, "a_1", Feedback("like"), now=250.0, if_version=2)
    assert (await store.get_message(OWNER, "a_1")).feedback is None
    session, _ = await store.set_feedback(OWNER, "a_1", Feedback("like"), now=250.0, if_version=3)
    assert session.version == 4


async def test_feedback_can_be_given_while_a_turn_runs(store: Store) -> None:
    await run_turn(store, 1)
    running = await store.begin_turn(begin(2))
    await store.set_feedback(OWNER, "a_1", Feedback("like"), now=250.0)
    committed = await store.commit_turn(commit(2, answer("a_2"), done_seq=9))
    assert committed.session.version == running.session.version + 2


async def test_feedback_on_what_is_no_answer_of_ones_own_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    for owner, message_id in ((OWNER, "u_1"), (OWNER, "a_none"), (STRANGER, "a_1")):
        with pytest.raises(MessageUnknown):
            await store.set_feedback(owner, message_id, Feedback("like"), now=250.0)
