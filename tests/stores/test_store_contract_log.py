"""What every store promises about the log of a session."""

from __future__ import annotations

import pytest

from chatserve.contracts.store import Purge, Store
from chatserve.core.errors import SessionUnknown
from chatserve.core.events import (
    Delta,
    Event,
    Failed,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
    Words,
)
from chatserve.core.types import DataPart, ToolCallPart, TurnError
from tests.stores.store_values import OWNER, answer, begin, commit, new_session, opening_events, run_turn


def _deltas(first: int, last: int, turn_id: str = "t_1") -> list[NumberedEvent]:
    return [NumberedEvent(seq, turn_id, Delta(f"word {seq}")) for seq in range(first, last + 1)]


def _words(first: int, last: int, turn_id: str = "t_1") -> Words:
    return Words(first, turn_id, [f"word {seq}" for seq in range(first, last + 1)])


def _numbers(events: tuple[NumberedEvent, ...]) -> list[int]:
    return [event.seq for event in events]


async def test_log_of_a_new_session_is_empty(store: Store) -> None:
    await store.create_session(new_session(), now=5.0)
    page = await store.read_events("s_1", after=0, limit=9)
    assert (page.events, page.first_seq, page.last_seq) == ((), 1, 0)


async def test_log_of_an_unknown_session_is_refused(store: Store) -> None:
    with pytest.raises(SessionUnknown):
        await store.read_events("s_1", after=0, limit=9)
    with pytest.raises(SessionUnknown):
        await store.append_events("s_1", _deltas(1, 2), now=5.0)


async def test_every_kind_of_event_is_read_back_as_it_was(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    kinds: list[Event] = [
        TurnAccepted(begun.turn, begun.user_message, begun.session.version, position=2, eta_s=1.5),
        MessageOpened("a_1", "assistant", {"title": "Thought"}),
        Delta("he\u2028llo"),
        Replaced("hi", "a_1"),
        ReasoningDelta("hm"),
        PartAdded("a_1", "p_1", ToolCallPart("c_1", "weather", "{}")),
        PartAdded("a_1", "p_2", DataPart({"x": [1, None]}, "d")),
        PartDelta("p_1", '{"a"'),
        MetadataChanged("a_1", {"status": None}, ({"value": "yes"},)),
        StatusReported("searching", 1.0, 3.0),
        Snapshot(None, (answer("a_1", turn_id="t_1"),)),
        Failed(TurnError("chat_error", "sorry", "e_1")),
    ]
    events = [NumberedEvent(seq, "t_1", event) for seq, event in enumerate(kinds, start=1)]
    await store.append_events("s_1", events, now=150.0)
    page = await store.read_events("s_1", after=0, limit=99)
    assert page.events[1:] == tuple(events[1:])
    accepted = page.events[0].event
    assert isinstance(accepted, TurnAccepted)
    assert (accepted.user_message, accepted.version, accepted.position) == (begun.user_message, 2, 2)


async def test_events_after_a_cursor_come_in_order(store: Store) -> None:
    await store.begin_turn(begin(1))
    for first in (1, 4, 7):
        await store.append_events("s_1", _deltas(first, first + 2), now=150.0)
    page = await store.read_events("s_1", after=4, limit=99)
    assert (_numbers(page.events), page.first_seq, page.last_seq) == ([5, 6, 7, 8, 9], 1, 9)
    assert (await store.read_events("s_1", after=9, limit=99)).events == ()
    assert (await store.read_events("s_1", after=99, limit=99)).last_seq == 9


async def test_long_log_is_read_page_by_page(store: Store) -> None:
    await store.begin_turn(begin(1))
    for first in range(1, 100, 3):
        await store.append_events("s_1", _deltas(first, first + 2), now=150.0)
    numbers, cursor, pages = [], 0, 0
    while events := (await store.read_events("s_1", after=cursor, limit=10)).events:
        assert len(events) < 13
        numbers += _numbers(events)
        cursor, pages = events[-1].seq, pages + 1
    assert numbers == list(range(1, 100))
    assert pages == 9


@pytest.mark.parametrize("first", [1, 2, 4])
async def test_words_in_one_piece_are_read_as_the_events_they_are(store: Store, first: int) -> None:
    await store.begin_turn(begin(1))
    await store.append_events("s_1", [_words(1, 3)], now=150.0)
    await store.append_events("s_1", [_words(first, 5)], now=151.0)
    assert (await store.read_events("s_1", after=1, limit=99)).events == tuple(_deltas(2, 5))
    assert (await store.get_session(OWNER, "s_1")).last_seq == 5
    committed = commit(1, answer("a_1"), done_seq=8, events=(_words(first, 7),))
    done = NumberedEvent(8, "t_1", (await store.commit_turn(committed)).done)
    page = await store.read_events("s_1", after=2, limit=99)
    assert (page.events, page.first_seq, page.last_seq) == ((*_deltas(3, 7), done), 1, 8)


async def test_words_numbered_beyond_the_end_of_a_turn_are_not_stored_with_it(store: Store) -> None:
    await store.begin_turn(begin(1))
    committed = await store.commit_turn(commit(1, answer("a_1"), done_seq=4, events=(_words(1, 9),)))
    page = await store.read_events("s_1", after=0, limit=99)
    assert page.events == (*_deltas(1, 3), NumberedEvent(4, "t_1", committed.done))


async def test_numbers_that_are_stored_already_are_ignored(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.append_events("s_1", _deltas(1, 3), now=150.0)
    await store.append_events("s_1", _deltas(1, 3), now=151.0)
    await store.append_events("s_1", [NumberedEvent(3, "t_1", Delta("late")), *_deltas(4, 5)], now=152.0)
    await store.append_events("s_1", [], now=153.0)
    page = await store.read_events("s_1", after=0, limit=99)
    assert page.events == tuple(_deltas(1, 5))


async def test_session_tells_the_last_number_stored(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.append_events("s_1", _deltas(1, 3), now=150.0)
    session = await store.get_session(OWNER, "s_1")
    assert (session.last_seq, session.version) == (3, 2)


async def test_turn_tells_where_its_events_begin_and_end(store: Store) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2))
    events = opening_events(begun, 2, "he", "llo")
    await store.append_events("s_1", events[:2], now=150.0)
    assert (await store.get_turn(OWNER, "t_2")).turn.first_seq == 2
    await store.append_events("s_1", events[2:3], now=150.0)
    await store.commit_turn(commit(2, done_seq=6, events=tuple(events[3:])))
    turn = (await store.get_turn(OWNER, "t_2")).turn
    assert (turn.first_seq, turn.done_seq) == (2, 6)


async def test_events_of_one_session_say_nothing_of_turns_of_another(store: Store) -> None:
    await store.begin_turn(begin(1))
    await store.create_session(new_session("s_2"), now=5.0)
    await store.append_events("s_2", _deltas(1, 2, "t_1"), now=150.0)
    assert (await store.get_turn(OWNER, "t_1")).turn.first_seq is None


async def test_turn_whose_events_all_come_with_its_commit_knows_the_first(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    committed = await store.commit_turn(commit(1, done_seq=5, events=tuple(opening_events(begun, 1, "a", "b"))))
    assert (committed.turn.first_seq, committed.turn.done_seq) == (1, 5)


async def test_events_given_to_the_commit_twice_are_stored_once(store: Store) -> None:
    begun = await store.begin_turn(begin(1))
    events = opening_events(begun, 1, "a", "b")
    await store.append_events("s_1", events, now=150.0)
    await store.commit_turn(commit(1, done_seq=5, events=tuple(events)))
    assert _numbers((await store.read_events("s_1", after=0, limit=99)).events) == [1, 2, 3, 4, 5]


async def test_purged_log_tells_what_is_retained(store: Store) -> None:
    await run_turn(store, 1)
    await run_turn(store, 2)
    purged = await store.purge(Purge(now=900.0, events_before=202.0, files_before=0.0))
    assert purged.segments == 1
    page = await store.read_events("s_1", after=0, limit=99)
    assert (_numbers(page.events), page.first_seq, page.last_seq) == ([2], 2, 2)
    await store.purge(Purge(now=900.0, events_before=900.0, files_before=0.0))
    page = await store.read_events("s_1", after=0, limit=99)
    assert (page.events, page.first_seq, page.last_seq) == ((), 3, 2)


async def test_log_of_an_open_turn_is_never_purged(store: Store) -> None:
    await run_turn(store, 1)
    begun = await store.begin_turn(begin(2))
    await store.append_events("s_1", opening_events(begun, 2, "a"), now=150.0)
    purged = await store.purge(Purge(now=900.0, events_before=900.0, files_before=0.0))
    assert purged.segments == 1
    page = await store.read_events("s_1", after=0, limit=99)
    assert (_numbers(page.events), page.first_seq) == ([2, 3, 4], 2)


async def test_clock_that_was_set_back_leaves_no_hole_in_the_log(store: Store) -> None:
    await store.begin_turn(begin(1))
    for first, now in ((1, 500.0), (2, 100.0), (3, 500.0)):
        await store.append_events("s_1", _deltas(first, first), now=now)
    await store.commit_turn(commit(1, done_seq=4, now=500.0))
    await store.purge(Purge(now=900.0, events_before=300.0, files_before=0.0))
    page = await store.read_events("s_1", after=0, limit=99)
    assert _numbers(page.events) == list(range(page.first_seq, 5))
