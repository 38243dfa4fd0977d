"""What every store promises about export, import, erase and purge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Purge, Purged, SessionChanges, SessionRecord, Store
from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import FileUnknown, InputsInvalid, SessionBusy, SessionExists, SessionUnknown, TurnUnknown
from chatserve.core.types import Feedback, FilePart, TurnError, Usage
from tests.stores.store_values import (
    OWNER,
    STRANGER,
    answer,
    begin,
    branch_ids,
    commit,
    edit,
    end_turn,
    file,
    new_session,
    retry,
    run_turn,
    undo,
    user,
)


async def _rich_session(store: Store) -> SessionRecord:
    """Make a session with branches, a file, feedback, a failed turn and one that never began; return its export."""
    await store.add_file(file("f_1"))
    await store.add_file(file("f_elsewhere"))
    look = replace(user("u_1"), content=(FilePart("f_1", "a.txt", "text/plain", 3),))
    await run_turn(store, 1, user_message=look, create=new_session(title="Tea", state={"n": 1}, metadata={"a": 1}))
    await store.set_feedback(OWNER, "a_1", Feedback("like", "nice"), now=240.0)
    await store.begin_turn(edit(2, target_message_id="u_1"))
    await end_turn(store, 2, status="failed", error=TurnError("chat_error", "sorry", "e_1"), usage=Usage(1, 2))
    await store.begin_turn(begin(3, status="queued"))
    await end_turn(store, 3, status="stopped")
    await run_turn(store, 4)
    return await store.export_session(OWNER, "s_1")


async def test_export_holds_every_branch_turn_and_file(store: Store) -> None:
    record = await _rich_session(store)
    assert [message.message_id for message in record.messages] == ["u_1", "a_1", "u_2", "u_3", "u_4", "a_4"]
    assert [turn.turn_id for turn in record.turns] == ["t_1", "t_2", "t_3", "t_4"]
    assert record.files == (file("f_1", "s_1"),)
    assert record.session == await store.get_session(OWNER, "s_1")
    assert record.messages[1].feedback == Feedback("like", "nice")


async def test_import_of_an_export_is_exact(store: Store) -> None:
    record = await _rich_session(store)
    turn = await store.get_turn(OWNER, "t_4")
    assert await store.delete_session(OWNER, "s_1") == ("f_1",)
    assert await store.import_session(record) == record.session
    assert await store.export_session(OWNER, "s_1") == record
    assert await branch_ids(store) == ["u_2", "u_4", "a_4"]
    assert await store.get_turn(OWNER, "t_4") == turn
    assert await store.last_turn(OWNER, "s_1") == turn
    assert await store.get_files(OWNER, ["f_1"]) == (file("f_1", "s_1"),)


async def test_imported_session_goes_on_where_it_was(store: Store) -> None:
    record = await _rich_session(store)
    await store.delete_session(OWNER, "s_1")
    await store.import_session(record)
    page = await store.read_events("s_1", after=0, limit=9)
    assert (page.events, page.first_seq, page.last_seq) == ((), record.session.last_seq + 1, record.session.last_seq)
    moved = await store.move_history(undo(record.session.last_seq + 1))
    assert (moved.session.head, moved.session.version) == ("u_2", record.session.version + 1)
    await store.begin_turn(retry(5, target_message_id="u_1"))


async def test_import_of_a_session_that_is_there_is_refused(store: Store) -> None:
    record = await _rich_session(store)
    with pytest.raises(SessionExists):
        await store.import_session(record)
    assert await store.export_session(OWNER, "s_1") == record


async def test_import_with_ids_that_are_taken_is_refused_whole(store: Store) -> None:
    record = await _rich_session(store)
    for taken in (
        replace(record, session=replace(record.session, session_id="s_2"), turns=(), files=()),
        SessionRecord(replace(record.session, session_id="s_2", head=None), (), record.turns, ()),
        SessionRecord(replace(record.session, session_id="s_2", head=None, owner=STRANGER), (), (), record.files),
    ):
        with pytest.raises(SessionExists):
            await store.import_session(taken)
        with pytest.raises(SessionUnknown):
            await store.get_session(taken.session.owner, "s_2")


async def test_import_of_a_file_that_is_there_shares_it(store: Store) -> None:
    record = await _rich_session(store)
    copy = SessionRecord(replace(record.session, session_id="s_2", head=None), (), (), record.files)
    await store.import_session(copy)
    assert await store.delete_session(OWNER, "s_1") == ()
    assert await store.delete_session(OWNER, "s_2") == ("f_1",)


async def test_open_turn_is_imported_as_interrupted(store: Store) -> None:
    await store.begin_turn(begin(1))
    record = await store.export_session(OWNER, "s_1")
    await end_turn(store, 1)
    await store.delete_session(OWNER, "s_1")
    await store.import_session(record)
    turn = (await store.get_turn(OWNER, "t_1")).turn
    assert (turn.status, turn.finish_reason, turn.finished_at) == ("interrupted", "interrupted", 101.0)
    assert [message.status for message in await store.read_branch(OWNER, "s_1", "u_1")] == ["interrupted"]
    assert (await store.begin_turn(begin(2))).turn.status == "running"


async def test_imported_turn_without_user_message_has_its_own_messages_only(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    record = await store.export_session(OWNER, "s_1")
    await store.delete_session(OWNER, "s_1")
    turns = (record.turns[0], replace(record.turns[1], user_message_id=None))
    await store.import_session(replace(record, turns=turns))
    purged = await store.get_turn(OWNER, "t_2")
    assert (purged.user_message, [message.message_id for message in purged.messages]) == (None, ["u_2", "a_2"])


async def test_rollback_of_an_imported_turn_takes_its_messages_off(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    record = await store.export_session(OWNER, "s_1")
    await store.delete_session(OWNER, "s_1")
    await store.import_session(record)
    assert (await store.begin_turn(begin(3, rollback_turn_id="t_2"))).parent_id == "a_1"


async def test_import_of_messages_that_are_no_tree_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    session = replace(await store.get_session(OWNER, "s_1"), session_id="s_2")
    for messages, head in [
        ((user("x_1", parent_id="x_2"), answer("x_2", parent_id="x_1")), "x_2"),
        ((user("x_1", parent_id="x_none"),), "x_1"),
        ((user("x_1"), user("x_1")), "x_1"),
        ((user("x_1"),), "x_none"),
        ((user("x_1"),), "a_1"),
    ]:
        with pytest.raises(InputsInvalid):
            await store.import_session(SessionRecord(replace(session, head=head), messages, (), ()))


# --- erase -------------------------------------------------------------------------------------------------------


async def test_erased_owner_leaves_nothing(store: Store) -> None:
    key = Idempotency("key-12345678", "hash", expires_at=9000.0)
    await store.add_file(file("f_loose"))
    await run_turn(store, 1, idempotency=key)
    await store.add_file(file("f_1", "s_1"))
    assert set(await store.erase_owner(OWNER)) == {"f_loose", "f_1"}
    assert (await store.list_sessions(OWNER, after=None, limit=9)).items == ()
    for missing, call in (
        (SessionUnknown, store.get_session(OWNER, "s_1")),
        (TurnUnknown, store.get_turn(OWNER, "t_1")),
        (FileUnknown, store.get_files(OWNER, ["f_loose"])),
        (FileUnknown, store.get_files(OWNER, ["f_1"])),
    ):
        with pytest.raises(missing):
            await call
    assert not (await store.begin_turn(begin(1, idempotency=key))).replayed


async def test_erase_leaves_other_owners_alone(store: Store) -> None:
    await store.create_session(new_session("s_x", STRANGER), now=5.0)
    await store.add_file(file("f_x", "s_x", owner=STRANGER))
    await run_turn(store, 1)
    assert await store.erase_owner(OWNER) == ()
    assert (await store.get_files(STRANGER, ["f_x"]))[0].session_id == "s_x"


async def test_erase_of_an_owner_with_an_open_turn_is_refused(store: Store) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, "s_2", status="queued"))
    with pytest.raises(SessionBusy) as refusal:
        await store.erase_owner(OWNER)
    assert refusal.value.extra == {"turn_id": "t_2"}
    assert (await store.get_session(OWNER, "s_1")).version == 3


async def test_erase_of_an_unknown_owner_does_nothing(store: Store) -> None:
    assert await store.erase_owner("nobody") == ()


# --- purge -------------------------------------------------------------------------------------------------------


async def test_purge_of_a_store_without_anything_old_is_empty(store: Store) -> None:
    await run_turn(store, 1, create=new_session(expires_at=900.0))
    purged = await store.purge(Purge(now=900.0, events_before=100.0, files_before=900.0))
    assert purged == Purged((), (), 0, 0)
    assert purged.is_empty


async def test_expired_sessions_go_with_their_files(store: Store) -> None:
    await run_turn(store, 1, create=new_session(expires_at=500.0))
    await store.create_session(new_session("s_2", expires_at=700.0), now=5.0)
    await store.add_file(file("f_1", "s_1"))
    await store.add_file(file("f_2", "s_2"))
    await store.attach_files(OWNER, "s_1", ["f_2"])
    purged = await store.purge(Purge(now=600.0, events_before=0.0, files_before=0.0))
    assert (purged.sessions, purged.file_ids) == (("s_1",), ("f_1",))
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")
    assert (await store.get_files(OWNER, ["f_2"]))[0].session_id == "s_2"


async def test_expired_session_with_an_open_turn_waits_for_its_end(store: Store) -> None:
    await store.begin_turn(begin(1, create=new_session(expires_at=500.0)))
    purge = Purge(now=600.0, events_before=0.0, files_before=0.0)
    assert (await store.purge(purge)).sessions == ()
    await store.commit_turn(commit(1, answer(), done_seq=1))
    assert (await store.purge(purge)).sessions == ("s_1",)


async def test_sessions_nobody_changed_for_long_are_purged(store: Store) -> None:
    await store.create_session(new_session("s_old"), now=50.0)
    await store.create_session(new_session("s_changed"), now=50.0)
    await store.update_session(OWNER, "s_changed", SessionChanges(title="x"), now=80.0)
    await store.begin_turn(begin(1, "s_busy", now=50.0))
    kept = Purge(now=100.0, events_before=0.0, files_before=0.0)
    assert (await store.purge(kept)).is_empty
    assert (await store.purge(replace(kept, sessions_before=80.0))).sessions == ("s_old",)


async def test_expired_keys_are_purged(store: Store) -> None:
    for number, expires_at in enumerate([400.0, 500.0, 600.0], start=1):
        await run_turn(store, number, idempotency=Idempotency(f"key-{number}", "hash", expires_at))
    assert (await store.purge(Purge(now=500.0, events_before=0.0, files_before=0.0))).idempotency_keys == 1


async def test_purge_removes_at_most_its_limit_and_ends_when_it_is_called_again(store: Store) -> None:
    for number in range(1, 6):
        key = Idempotency(f"key-{number}", "hash", 500.0)
        await run_turn(store, number, f"s_{number}", idempotency=key, create=new_session(f"s_{number}"))
        await store.add_file(file(f"f_{number}"))
    purge = Purge(now=600.0, events_before=600.0, files_before=600.0, limit=2)
    passes = []
    while not (purged := await store.purge(purge)).is_empty:
        passes.append((len(purged.file_ids), purged.segments, purged.idempotency_keys))
    assert passes == [(2, 2, 2), (2, 2, 2), (1, 1, 1)]


async def test_expired_sessions_are_purged_a_few_at_a_time(store: Store) -> None:
    for number in range(1, 6):
        await store.create_session(new_session(f"s_{number}", expires_at=500.0), now=5.0)
    purge = Purge(now=600.0, events_before=0.0, files_before=0.0, limit=2)
    removed: list[str] = []
    while not (purged := await store.purge(purge)).is_empty:
        assert len(purged.sessions) <= 2
        removed += purged.sessions
    assert sorted(removed) == ["s_1", "s_2", "s_3", "s_4", "s_5"]
