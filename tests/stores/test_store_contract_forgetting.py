"""What every store promises about turns that are to be forgotten, and about what is kept with a turn till then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Store
from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import MessageUnknown, SessionBusy, TurnUnknown
from chatserve.core.types import Feedback
from tests.stores.conftest import Reopen
from tests.stores.store_values import (
    OWNER,
    STRANGER,
    answer,
    begin,
    branch_ids,
    edit,
    end_turn,
    retry,
    run_turn,
    undo,
    user,
)

KEY = Idempotency("key-12345678", "hash", expires_at=500.0)
ECHO = {"model": "chat", "metadata": {"a": [1, None]}, "instructions": "be \u2028 brief"}


async def _last_turn_id(store: Store) -> str | None:
    record = await store.last_turn(OWNER, "s_1")
    return None if record is None else record.turn.turn_id


async def test_forgotten_turn_is_unknown_and_its_messages_stay(store: Store) -> None:
    await run_turn(store, 1)
    before = await run_turn(store, 2)
    assert await store.forget_turn(OWNER, "t_2") == 1
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_2")
    assert await store.get_session(OWNER, "s_1") == before.session
    page = await store.list_messages(OWNER, "s_1", after=None, limit=9, branches=False)
    assert [(message.message_id, message.turn_id) for message in page.items] == [
        ("u_1", "t_1"),
        ("a_1", "t_1"),
        ("u_2", None),
        ("a_2", None),
    ]


async def test_newest_turn_is_the_one_before_a_forgotten_one(store: Store) -> None:
    for number in (1, 2, 3):
        await run_turn(store, number)
    for forgotten, left, last in (("t_1", 2, "t_3"), ("t_3", 1, "t_2"), ("t_2", 0, None)):
        assert await store.forget_turn(OWNER, forgotten) == left
        assert await _last_turn_id(store) == last


async def test_turns_of_other_sessions_are_not_counted(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, "s_2")
    assert await store.forget_turn(OWNER, "t_1") == 0
    assert (await store.get_turn(OWNER, "t_2")).turn.status == "completed"


async def test_unknown_foreign_and_forgotten_turns_cannot_be_forgotten(store: Store) -> None:
    await run_turn(store, 1)
    for owner, turn_id in ((OWNER, "t_none"), (STRANGER, "t_1")):
        with pytest.raises(TurnUnknown):
            await store.forget_turn(owner, turn_id)
    await store.forget_turn(OWNER, "t_1")
    with pytest.raises(TurnUnknown):
        await store.forget_turn(OWNER, "t_1")


async def test_turn_that_runs_or_waits_is_not_forgotten(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued"))
    for turn_id in ("t_1", "t_2"):
        with pytest.raises(SessionBusy) as refusal:
            await store.forget_turn(OWNER, turn_id)
        assert refusal.value.extra == {"turn_id": turn_id}
    await end_turn(store, 1, answer("a_1"))
    assert await store.forget_turn(OWNER, "t_1") == 1
    assert (await store.start_turn(OWNER, "s_1", "t_2", now=150.0)).parent_id == "a_1"


async def test_turn_that_never_began_is_forgotten_too(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued"))
    await end_turn(store, 2, status="stopped")
    assert await store.forget_turn(OWNER, "t_2") == 1
    assert (await store.get_message(OWNER, "u_2")).turn_id is None


async def test_key_of_a_forgotten_turn_is_free(store: Store) -> None:
    await run_turn(store, 1, idempotency=KEY)
    await run_turn(store, 2, idempotency=replace(KEY, key="other"))
    await store.forget_turn(OWNER, "t_1")
    begun = await store.begin_turn(begin(3, idempotency=replace(KEY, body_hash="new")))
    assert (begun.replayed, begun.turn.turn_id) == (False, "t_3")
    assert (await store.begin_turn(begin(4, idempotency=replace(KEY, key="other")))).turn.turn_id == "t_2"


async def test_events_of_a_forgotten_turn_stay_in_the_log(store: Store) -> None:
    await run_turn(store, 1)
    before = await store.read_events("s_1", after=0, limit=9)
    await store.forget_turn(OWNER, "t_1")
    assert await store.read_events("s_1", after=0, limit=9) == before


async def test_history_of_a_forgotten_turn_goes_on_as_any_other(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.forget_turn(OWNER, "t_2")
    await store.set_feedback(OWNER, "a_2", Feedback("like"), now=250.0)
    assert (await store.begin_turn(retry(3))).turn.user_message_id == "u_2"
    await end_turn(store, 3, answer("a_3"))
    assert (await store.begin_turn(edit(4, target_message_id="u_2"))).parent_id == "a_1"
    await end_turn(store, 4, answer("a_4"))
    assert (await store.begin_turn(begin(5, target_message_id="a_2"))).parent_id == "a_2"
    await end_turn(store, 5)
    await store.move_history(undo(19))
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]
    await store.move_history(undo(20))
    assert await branch_ids(store) == ["u_1", "a_1"]


async def test_retry_outlives_the_turn_it_repeats(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(retry(2))
    await end_turn(store, 2, answer("a_2"))
    await store.forget_turn(OWNER, "t_1")
    record = await store.get_turn(OWNER, "t_2")
    assert record.user_message == user("u_1", "question 1")
    assert [message.message_id for message in record.messages] == ["a_2"]
    await store.forget_turn(OWNER, "t_2")
    assert (await store.move_history(undo(9))).session.head is None


async def test_results_of_tools_of_a_forgotten_turn_are_no_prompt_any_more(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2, user_message=user("u_2", role="tool"))
    await store.forget_turn(OWNER, "t_2")
    with pytest.raises(MessageUnknown):
        await store.begin_turn(retry(3, target_message_id="u_2"))
    assert (await store.begin_turn(retry(3))).turn.user_message_id == "u_1"


async def test_rollback_of_a_forgotten_turn_changes_nothing(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, status="queued", rollback_turn_id="t_1"))
    await store.forget_turn(OWNER, "t_1")
    assert (await store.start_turn(OWNER, "s_1", "t_2", now=150.0)).parent_id == "a_1"


async def test_session_with_forgotten_turns_is_exported_and_imported(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.forget_turn(OWNER, "t_1")
    record = await store.export_session(OWNER, "s_1")
    assert {message.turn_id for message in record.messages} == {None, "t_2"}
    await store.delete_session(OWNER, "s_1")
    await store.import_session(record)
    assert await store.export_session(OWNER, "s_1") == record


async def test_forgotten_turn_stays_forgotten_after_a_restart(store: Store, reopen: Reopen) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    await store.forget_turn(OWNER, "t_2")
    store, _ = await reopen(store)
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_2")
    assert await _last_turn_id(store) == "t_1"
    assert await branch_ids(store) == ["u_1", "a_1", "u_2", "a_2"]


# --- echo --------------------------------------------------------------------------------------------------------


async def test_echo_is_told_with_its_turn_from_begin_to_end(store: Store) -> None:
    begun = await store.begin_turn(begin(1, echo=ECHO, idempotency=KEY))
    assert begun.turn.echo == ECHO
    assert (await store.get_turn(OWNER, "t_1")).turn.echo == ECHO
    assert (await store.begin_turn(begin(2, idempotency=KEY))).turn.echo == ECHO
    assert (await end_turn(store, 1, answer("a_1"))).turn.echo == ECHO
    record = await store.last_turn(OWNER, "s_1")
    assert record is not None
    assert record.turn.echo == ECHO


@pytest.mark.parametrize("echo", [None, {}])
async def test_no_echo_and_an_empty_one_are_told_apart(store: Store, echo: dict[str, object] | None) -> None:
    await run_turn(store, 1, echo=echo)
    assert (await store.get_turn(OWNER, "t_1")).turn.echo == echo


async def test_echo_of_a_turn_that_waits_is_there_when_it_starts(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.begin_turn(begin(2, status="queued", echo=ECHO))
    await end_turn(store, 1)
    assert (await store.start_turn(OWNER, "s_1", "t_2", now=150.0)).turn.echo == ECHO


async def test_echo_survives_a_crash_an_export_and_an_import(store: Store, reopen: Reopen) -> None:
    await store.begin_turn(begin(1, echo=ECHO))
    await store.begin_turn(begin(2, status="queued", echo={"n": 2}))
    store, ended = await reopen(store)
    assert [turn.echo for turn in ended] == [ECHO, {"n": 2}]
    record = await store.export_session(OWNER, "s_1")
    assert [turn.echo for turn in record.turns] == [ECHO, {"n": 2}]
    await store.delete_session(OWNER, "s_1")
    await store.import_session(record)
    assert (await store.get_turn(OWNER, "t_1")).turn.echo == ECHO
