"""What every store promises about sessions."""

from __future__ import annotations

import pytest

from chatserve.contracts.store import SessionChanges, Store
from chatserve.core.errors import SessionBusy, SessionExists, SessionUnknown, StoreError, TurnUnknown, VersionConflict
from chatserve.core.types import Feedback, Session
from tests.stores.store_values import (
    OWNER,
    STRANGER,
    answer,
    begin,
    branch_ids,
    clear,
    commit,
    end_turn,
    file,
    new_session,
    run_turn,
    undo,
    user,
)


async def test_created_session_is_read_back_whole(store: Store) -> None:
    created = await store.create_session(
        new_session(title="Tea", metadata={"tags": ["a"]}, state={"n": 1}, expires_at=900.0), now=5.0
    )
    assert created == Session("s_1", OWNER, "Tea", {"tags": ["a"]}, {"n": 1}, 1, None, 0, 5.0, 5.0, 900.0)
    assert await store.get_session(OWNER, "s_1") == created


async def test_created_session_begins_with_the_messages_it_is_given(store: Store) -> None:
    seeds = (user("u_0"), answer("a_0", parent_id="u_0"))
    session = await store.create_session(new_session(messages=seeds), now=5.0)
    assert session.head == "a_0"
    assert await store.read_branch(OWNER, "s_1", "a_0") == seeds


async def test_session_of_an_id_that_is_there_is_refused(store: Store) -> None:
    await store.create_session(new_session(title="first"), now=5.0)
    for owner in (OWNER, STRANGER):
        with pytest.raises(SessionExists):
            await store.create_session(new_session(owner=owner), now=6.0)
    assert (await store.get_session(OWNER, "s_1")).title == "first"


async def test_foreign_session_is_unknown_to_every_method(store: Store) -> None:
    await run_turn(store)
    calls = [
        store.get_session(STRANGER, "s_1"),
        store.update_session(STRANGER, "s_1", SessionChanges(title="mine"), now=9.0),
        store.delete_session(STRANGER, "s_1"),
        store.begin_turn(begin(2, owner=STRANGER)),
        store.begin_turn(begin(2, owner=STRANGER, create=None)),
        store.last_turn(STRANGER, "s_1"),
        store.read_branch(STRANGER, "s_1", "a_1"),
        store.list_messages(STRANGER, "s_1", after=None, limit=9, branches=True),
        store.export_session(STRANGER, "s_1"),
        store.attach_files(STRANGER, "s_1", []),
        store.add_file(file(session_id="s_1", owner=STRANGER)),
        store.fork_session(STRANGER, "s_1", message_id=None, new_session_id="s_2", new_ids=str, now=9.0),
    ]
    for call in calls:
        with pytest.raises(SessionUnknown):
            await call
    with pytest.raises(TurnUnknown):
        await store.get_turn(STRANGER, "t_1")
    assert (await store.list_sessions(STRANGER, after=None, limit=9)).items == ()


async def test_unknown_session_is_told_as_a_foreign_one_is(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    with pytest.raises(SessionUnknown) as foreign:
        await store.get_session(STRANGER, "s_1")
    with pytest.raises(SessionUnknown) as unknown:
        await store.get_session(OWNER, "s_2")
    assert str(foreign.value).replace("s_1", "s_2") == str(unknown.value)


async def test_sessions_are_listed_newest_first_page_by_page(store: Store) -> None:
    for number, created_at in enumerate([10.0, 30.0, 20.0, 30.0, 20.0], start=1):
        await store.create_session(new_session(f"s_{number}"), now=created_at)
    await store.create_session(new_session("s_x", STRANGER), now=25.0)
    pages, after = [], None
    while True:
        page = await store.list_sessions(OWNER, after=after, limit=2)
        pages.append([session.session_id for session in page.items])
        if (after := page.next) is None:
            break
    assert pages == [["s_4", "s_2"], ["s_5", "s_3"], ["s_1"]]


async def test_page_that_ends_exactly_with_the_list_has_no_next(store: Store) -> None:
    for number in (1, 2):
        await store.create_session(new_session(f"s_{number}"), now=5.0)
    assert (await store.list_sessions(OWNER, after=None, limit=2)).next is None


async def test_list_after_a_session_that_is_not_ones_own_is_refused(store: Store) -> None:
    await store.create_session(new_session("s_x", STRANGER), now=5.0)
    for after in ("s_x", "s_none"):
        with pytest.raises(SessionUnknown):
            await store.list_sessions(OWNER, after=after, limit=9)


async def test_update_changes_what_is_given_and_nothing_else(store: Store) -> None:
    await store.create_session(new_session(title="Tea", metadata={"a": 1}, state={"b": 2}), now=5.0)
    renamed = await store.update_session(OWNER, "s_1", SessionChanges(title="Coffee"), now=6.0)
    assert renamed == Session("s_1", OWNER, "Coffee", {"a": 1}, {"b": 2}, 2, None, 0, 5.0, 6.0, None)
    changed = await store.update_session(OWNER, "s_1", SessionChanges(metadata={"c": 3}, state={}), now=7.0)
    assert (changed.title, changed.metadata, changed.state, changed.version) == ("Coffee", {"c": 3}, {}, 3)
    assert await store.get_session(OWNER, "s_1") == changed


async def test_empty_title_removes_the_title(store: Store) -> None:
    await store.create_session(new_session(title="Tea"), now=5.0)
    assert (await store.update_session(OWNER, "s_1", SessionChanges(title=""), now=6.0)).title is None


async def test_update_of_a_stale_version_is_refused_and_tells_the_current_one(store: Store) -> None:
    await store.create_session(new_session(title="Tea"), now=5.0)
    with pytest.raises(VersionConflict) as refusal:
        await store.update_session(OWNER, "s_1", SessionChanges(title="Coffee"), now=6.0, if_version=2)
    assert refusal.value.extra == {"version": 1}
    assert (await store.get_session(OWNER, "s_1")).title == "Tea"
    assert (await store.update_session(OWNER, "s_1", SessionChanges(title="x"), now=6.0, if_version=1)).version == 2


async def test_version_counts_every_accepted_change(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.update_session(OWNER, "s_1", SessionChanges(title="x"), now=6.0)
    assert (await store.begin_turn(begin(1))).session.version == 3
    assert (await end_turn(store, 1, answer())).session.version == 4
    session, _ = await store.set_feedback(OWNER, "a_1", Feedback("like"), now=7.0)
    assert session.version == 5
    assert (await store.move_history(undo(9))).session.version == 6
    assert (await store.move_history(clear(10))).session.version == 7
    assert (await store.get_session(OWNER, "s_1")).version == 7


async def test_refused_changes_leave_the_version_as_it_was(store: Store) -> None:
    await store.begin_turn(begin(1))
    before = await store.get_session(OWNER, "s_1")
    with pytest.raises(SessionBusy):
        await store.begin_turn(begin(2))
    with pytest.raises(SessionBusy):
        await store.move_history(clear(9))
    with pytest.raises(VersionConflict):
        await store.update_session(OWNER, "s_1", SessionChanges(title="x"), now=9.0, if_version=77)
    assert await store.get_session(OWNER, "s_1") == before


async def test_deleted_session_is_gone_with_all_that_belongs_to_it(store: Store) -> None:
    await run_turn(store)
    assert await store.delete_session(OWNER, "s_1") == ()
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_1")
    with pytest.raises(SessionUnknown):
        await store.read_events("s_1", after=0, limit=9)
    await run_turn(store)  # nothing of the old session stands in the way of one with the same ids
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_session_with_a_running_turn_is_not_deleted(store: Store) -> None:
    await store.begin_turn(begin(1))
    with pytest.raises(SessionBusy) as refusal:
        await store.delete_session(OWNER, "s_1")
    assert refusal.value.extra == {"turn_id": "t_1"}


async def test_session_with_a_waiting_turn_is_not_deleted(store: Store) -> None:
    await store.begin_turn(begin(1, status="queued"))
    with pytest.raises(SessionBusy):
        await store.delete_session(OWNER, "s_1")
    await store.commit_turn(commit(1, done_seq=1, status="stopped"))
    await store.delete_session(OWNER, "s_1")


async def test_delete_of_a_stale_version_is_refused(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    with pytest.raises(VersionConflict):
        await store.delete_session(OWNER, "s_1", if_version=2)
    assert await store.delete_session(OWNER, "s_1", if_version=1) == ()


async def test_state_given_out_is_nobody_elses(store: Store) -> None:
    given = {"items": ["a"]}
    await store.create_session(new_session(state=given), now=5.0)
    given["items"].append("b")
    (await store.get_session(OWNER, "s_1")).state["items"].append("c")
    assert (await store.get_session(OWNER, "s_1")).state == {"items": ["a"]}


async def test_any_text_and_any_depth_is_read_back_as_it_was(store: Store) -> None:
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"in": deep}
    odd = "nul \0, quote ', line \u2028, emoji \U0001f600"
    await store.create_session(new_session(title=odd, state=deep, metadata={odd: odd}), now=5.0)
    session = await store.get_session(OWNER, "s_1")
    assert (session.title, session.state, session.metadata) == (odd, deep, {odd: odd})


async def test_open_store_answers_and_a_closed_one_does_not(store: Store) -> None:
    await store.check()
    await store.close()
    await store.close()
    with pytest.raises(StoreError):
        await store.check()
