"""What every store promises about file records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Purge, Store
from chatserve.core.errors import FileUnknown, SessionUnknown
from chatserve.core.types import FilePart
from tests.stores.store_values import OWNER, STRANGER, file, new_session, run_turn, user


async def test_file_is_read_back_as_it_was_recorded(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.add_file(file("f_1"))
    await store.add_file(file("f_2", "s_1", name="b.png", media_type="image/png", size=9))
    found = await store.get_files(OWNER, ["f_2", "f_1", "f_2"])
    assert found[:2] == (file("f_2", "s_1", name="b.png", media_type="image/png", size=9), file("f_1"))
    assert [each.file_id for each in found] == ["f_2", "f_1", "f_2"]


async def test_no_files_are_no_files(store: Store) -> None:
    assert await store.get_files(OWNER, []) == ()


async def test_file_for_a_session_that_is_not_ones_own_is_refused(store: Store) -> None:
    await store.create_session(new_session("s_1", STRANGER), now=5.0)
    for session_id in ("s_1", "s_none"):
        with pytest.raises(SessionUnknown):
            await store.add_file(file("f_1", session_id))
    with pytest.raises(FileUnknown):
        await store.get_files(OWNER, ["f_1"])


async def test_foreign_file_is_unknown(store: Store) -> None:
    await store.create_session(new_session("s_x", STRANGER), now=5.0)
    await store.add_file(file("f_1"))
    with pytest.raises(FileUnknown):
        await store.get_files(STRANGER, ["f_1"])
    with pytest.raises(FileUnknown):
        await store.attach_files(STRANGER, "s_x", ["f_1"])
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id is None


async def test_ids_are_known_whoever_owns_the_file_and_until_it_is_removed(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.add_file(file("f_1", "s_1"))
    await store.add_file(file("f_2", owner=STRANGER))
    asked = ["f_1", "f_2", "f_none", "f_1", "'"]
    assert await store.known_files(asked) == {"f_1", "f_2"}
    await store.delete_session(OWNER, "s_1")
    assert await store.known_files(asked) == {"f_2"}
    assert await store.known_files([]) == set()


async def test_one_unknown_file_among_several_refuses_them_all(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.add_file(file("f_1"))
    with pytest.raises(FileUnknown):
        await store.attach_files(OWNER, "s_1", ["f_1", "f_none"])
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id is None


async def test_attached_file_belongs_to_the_session_too(store: Store) -> None:
    for session_id in ("s_1", "s_2"):
        await store.create_session(new_session(session_id), now=5.0)
    await store.add_file(file("f_1", "s_1"))
    await store.attach_files(OWNER, "s_2", ["f_1"])
    await store.attach_files(OWNER, "s_2", ["f_1"])
    assert (await store.get_files(OWNER, ["f_1"]))[0].session_id == "s_1"
    assert await store.delete_session(OWNER, "s_1") == ()
    assert await store.get_files(OWNER, ["f_1"]) == (file("f_1", "s_2"),)
    assert await store.delete_session(OWNER, "s_2") == ("f_1",)
    with pytest.raises(FileUnknown):
        await store.get_files(OWNER, ["f_1"])


async def test_message_that_names_a_foreign_file_does_not_get_hold_of_it(store: Store) -> None:
    await store.add_file(file("f_1", owner=STRANGER))
    message = replace(user(), content=(FilePart("f_1", "a.txt", "text/plain", 3),))
    await run_turn(store, 1, user_message=message)
    assert await store.delete_session(OWNER, "s_1") == ()
    assert await store.get_files(STRANGER, ["f_1"]) == (file("f_1", owner=STRANGER),)


async def test_attach_to_an_unknown_session_is_refused(store: Store) -> None:
    await store.add_file(file("f_1"))
    with pytest.raises(SessionUnknown):
        await store.attach_files(OWNER, "s_1", ["f_1"])


async def test_file_of_no_session_is_purged_when_it_is_old(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.add_file(file("f_old", created_at=50.0))
    await store.add_file(file("f_young", created_at=70.0))
    await store.add_file(file("f_used", "s_1", created_at=50.0))
    purge = Purge(now=100.0, events_before=0.0, files_before=60.0)
    assert (await store.purge(purge)).file_ids == ("f_old",)
    assert (await store.purge(purge)).is_empty
    found = await store.get_files(OWNER, ["f_young", "f_used"])
    assert found[0] == replace(file("f_young"), created_at=70.0)
