"""What every store promises about messages that are sent behind an earlier message than the newest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Store
from chatserve.core.errors import MessageUnknown, SessionBusy, SessionUnknown
from tests.stores.conftest import Reopen
from tests.stores.store_values import (
    OWNER,
    answer,
    begin,
    branch_ids,
    edit,
    end_turn,
    new_session,
    opening_events,
    retry,
    run_turn,
    undo,
    user,
)


async def test_two_messages_behind_one_answer_are_two_branches(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, target_message_id="a_1")
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]
    begun = await store.begin_turn(begin(3, target_message_id="a_1"))
    assert begun.user_message == user("u_3", "question 3", turn_id="t_3", parent_id="a_1")
    assert (begun.parent_id, begun.session.head, begun.session.version) == ("a_1", "u_3", 6)
    await end_turn(store, 3, answer("a_3"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_3", "a_3"]
    rows = await store.list_messages(OWNER, "s_1", after=None, limit=9, branches=True)
    assert [row.message_id for row in rows.items] == ["u_1", "a_1", "u_2", "a_2", "u_3", "a_3"]


async def test_branch_that_was_left_is_taken_up_again(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await run_turn(store, 3, target_message_id="a_1")
    await run_turn(store, 4, target_message_id="a_2")
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2", "u_4", "a_4"]


async def test_message_behind_the_newest_is_a_plain_append(store: Store) -> None:
    plain = await run_turn(store, 1, "s_2")
    targeted = await run_turn(store, 2)
    plain = await run_turn(store, 3, "s_2")
    targeted = await run_turn(store, 4, target_message_id="a_2")
    assert await branch_ids(store) == ["u_2", "a_2", "u_4", "a_4"]
    assert targeted.session.version == plain.session.version
    await store.move_history(undo(9))
    assert await branch_ids(store) == ["u_2", "a_2"]


@pytest.mark.parametrize("target", ["u_1", "a_1", "x_1"])
async def test_any_message_of_the_session_can_be_gone_on_from(store: Store, target: str) -> None:
    await store.begin_turn(begin(1))
    await end_turn(store, 1, answer("a_1"), answer("x_1", role="tool"))
    await store.begin_turn(edit(2, target_message_id="u_1"))
    await end_turn(store, 2)
    begun = await store.begin_turn(begin(3, target_message_id=target))
    assert begun.parent_id == target
    assert (await branch_ids(store))[-2:] == [target, "u_3"]


async def test_target_that_is_not_in_the_session_is_refused_and_changes_nothing(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_2")
    before = await store.export_session(OWNER, "s_1")
    for target in ("u_none", "a_2"):
        with pytest.raises(MessageUnknown):
            await store.begin_turn(begin(3, target_message_id=target))
    assert await store.export_session(OWNER, "s_1") == before


async def test_target_in_a_session_to_be_made_is_refused_and_makes_none(store: Store) -> None:
    with pytest.raises(MessageUnknown):
        await store.begin_turn(begin(1, target_message_id="u_none"))
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")
    seeds = (user("u_0"), answer("a_0", parent_id="u_0"))
    begun = await store.begin_turn(begin(1, create=new_session(messages=seeds), target_message_id="u_0"))
    assert begun.parent_id == "u_0"


async def test_history_that_was_sent_wins_over_a_target(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    begun = await store.begin_turn(begin(3, history=(user("h_1", "else"),), target_message_id="a_1"))
    assert begun.parent_id == "h_1"
    assert await branch_ids(store) == ["h_1", "u_3"]


async def test_queued_turn_keeps_its_target(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2))
    for number in (3, 4):
        queued = await store.begin_turn(begin(number, status="queued", target_message_id="a_1"))
        assert (queued.parent_id, queued.session.head) == ("a_1", "u_2")
    await end_turn(store, 2, answer("a_2"))
    started = await store.start_turn(OWNER, "s_1", "t_3", now=150.0)
    assert (started.parent_id, started.session.head) == ("a_1", "u_3")
    await end_turn(store, 3, answer("a_3"))
    await store.start_turn(OWNER, "s_1", "t_4", now=151.0)
    assert await branch_ids(store) == ["u_1", "a_1", "u_4"]


async def test_queued_turn_goes_on_from_what_was_the_newest_message_then(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued", target_message_id="a_1"))
    await store.begin_turn(begin(3, status="queued"))
    await store.start_turn(OWNER, "s_1", "t_3", now=150.0)
    await end_turn(store, 3)
    assert (await store.start_turn(OWNER, "s_1", "t_2", now=151.0)).parent_id == "a_1"


async def test_message_of_a_turn_that_waits_is_no_target_yet(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued"))
    fields = {"status": "queued", "target_message_id": "u_2"}
    for aimed in (begin(3, **fields), retry(3, **fields), edit(3, **fields)):
        with pytest.raises(SessionBusy) as refusal:
            await store.begin_turn(aimed)
        assert refusal.value.extra == {"turn_id": "t_2"}
    await store.start_turn(OWNER, "s_1", "t_2", now=150.0)
    assert (await store.begin_turn(begin(3, **fields))).parent_id == "u_2"


async def test_rollback_of_a_turn_on_another_branch_returns_to_the_branch_before(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.begin_turn(begin(3, target_message_id="u_1"))
    await end_turn(store, 3, answer("a_3", status="interrupted"), status="interrupted")
    await store.begin_turn(begin(4, rollback_turn_id="t_3"))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2", "u_4"]


async def test_results_of_tools_can_be_sent_behind_the_call_they_answer(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    results = user("u_3", role="tool")
    begun = await store.begin_turn(begin(3, user_message=results, target_message_id="a_1"))
    assert begun.user_message == replace(results, turn_id="t_3", parent_id="a_1")


async def test_branches_are_there_after_a_restart(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await run_turn(store, 3, target_message_id="a_1")
    store, _ = await reopen(store)
    assert await branch_ids(store) == ["u_1", "a_1", "u_3", "a_3"]
    await run_turn(store, 4, target_message_id="a_2")
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2", "u_4", "a_4"]


async def test_turns_a_crash_left_open_are_ended_on_their_branches(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    begun = await store.begin_turn(begin(3, target_message_id="a_1"))
    await store.append_events("s_1", opening_events(begun, 3, "a"), now=150.0)
    await store.begin_turn(begin(4, status="queued", target_message_id="u_2"))
    store, ended = await reopen(store)
    assert [turn.turn_id for turn in ended] == ["t_3", "t_4"]
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "u_4"]
    assert [m.message_id for m in await store.read_branch(OWNER, "s_1", "a_3")] == ["u_1", "a_1", "u_3", "a_3"]
