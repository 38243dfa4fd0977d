"""What every store promises about keys of requests that create something other than a turn, and about one message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatserve.contracts.store import Purge, Store
from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import IdempotencyConflict, MessageUnknown, SessionExists, VersionConflict
from chatserve.core.types import Feedback
from tests.stores.store_values import OWNER, STRANGER, begin, new_session, run_turn

KEY = Idempotency("key", "hash", 1000.0)


async def test_first_claim_of_a_key_wins(store: Store) -> None:
    assert await store.claim_key(OWNER, KEY, "s_1", now=5.0) is None
    assert await store.claim_key(OWNER, KEY, "s_2", now=6.0) == "s_1"
    assert await store.claim_key(OWNER, replace(KEY, key="other"), "s_2", now=6.0) is None


async def test_claim_with_another_body_is_a_conflict(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_1", now=5.0)
    with pytest.raises(IdempotencyConflict):
        await store.claim_key(OWNER, replace(KEY, body_hash="other"), "s_2", now=6.0)


async def test_claim_is_the_owners_alone(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_1", now=5.0)
    assert await store.claim_key(STRANGER, replace(KEY, body_hash="other"), "s_2", now=6.0) is None


async def test_claim_ends_when_its_key_expires(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_1", now=5.0)
    again = Idempotency("key", "other", 3000.0)
    assert await store.claim_key(OWNER, again, "s_2", now=1001.0) is None
    assert (await store.purge(Purge(now=1002.0, events_before=0.0, files_before=0.0))).is_empty
    assert (await store.purge(Purge(now=3001.0, events_before=0.0, files_before=0.0))).idempotency_keys == 1


async def test_claim_for_a_session_that_is_there_is_refused_and_not_kept(store: Store) -> None:
    await store.create_session(new_session("s_1"), now=5.0)
    with pytest.raises(SessionExists):
        await store.claim_key(OWNER, KEY, "s_1", now=6.0)
    assert await store.claim_key(OWNER, KEY, "s_2", now=6.0) is None


async def test_claim_outlives_what_was_made(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_1", now=5.0)
    await store.create_session(new_session("s_1"), now=5.0)
    await store.delete_session(OWNER, "s_1")
    assert await store.claim_key(OWNER, KEY, "s_2", now=6.0) == "s_1"


async def test_claims_and_keys_of_turns_are_of_one_namespace(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    await store.claim_key(OWNER, KEY, "s_2", now=6.0)
    with pytest.raises(IdempotencyConflict):
        await store.begin_turn(begin(1, idempotency=replace(KEY, body_hash="turn")))
    await run_turn(store, 2, idempotency=replace(KEY, key="other", body_hash="turn"))
    with pytest.raises(IdempotencyConflict):
        await store.claim_key(OWNER, replace(KEY, key="other"), "s_3", now=200.0)


async def test_erased_owner_has_no_claims(store: Store) -> None:
    await store.claim_key(OWNER, KEY, "s_1", now=5.0)
    await store.erase_owner(OWNER)
    assert await store.claim_key(OWNER, KEY, "s_2", now=6.0) is None


async def test_message_is_found_by_its_id_alone(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    committed = await run_turn(store, 1)
    (answer,) = committed.done.messages
    assert await store.get_message(OWNER, answer.message_id) == answer
    for owner, message_id in ((STRANGER, answer.message_id), (OWNER, "m_none")):
        with pytest.raises(MessageUnknown):
            await store.get_message(owner, message_id)


async def test_feedback_for_a_stale_version_changes_nothing(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    committed = await run_turn(store, 1)
    message_id, version = committed.done.messages[0].message_id, committed.session.version
    with pytest.raises(VersionConflict):
        await store.set_feedback(OWNER, message_id, Feedback("like"), now=250.0, if_version=version - 1)
    assert (await store.get_message(OWNER, message_id)).feedback is None
    session, _ = await store.set_feedback(OWNER, message_id, Feedback("like"), now=250.0, if_version=version)
    assert session.version == version + 1
