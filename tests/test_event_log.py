"""Events as the stores keep them: what is read is what was written, and words in a row are one entry."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.codec import decode_events, encode_events, last_number, numbered_json
from chatserve.core.events import Delta, Event, MessageOpened, NumberedEvent, ReasoningDelta, last_seq_of, spelled_out
from chatserve.engine import Pace
from chatserve.engine.log.log import SessionLog

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Delta, st.text(max_size=3)),
    st.builds(Delta, st.text(max_size=3)),
    st.builds(ReasoningDelta, st.text(max_size=3)),
    st.just(MessageOpened("m_1", "assistant")),
)
STEPS = st.lists(st.tuples(st.sampled_from([1, 1, 1, 10_000]), st.sampled_from(["t_1", "t_1", "t_2", None]), EVENTS))


def _numbered(steps: list[tuple[int, str | None, Event]]) -> list[NumberedEvent]:
    seq, events = 0, []
    for step, turn_id, event in steps:
        seq += step
        events.append(NumberedEvent(seq, turn_id, event))
    return events


@given(STEPS)
def test_events_are_read_as_they_were_written(steps: list[tuple[int, str | None, Event]]) -> None:
    events = _numbered(steps)
    assert decode_events(encode_events(events)) == events
    if events:
        assert last_number(numbered_json(events)) == events[-1].seq


@given(STEPS, st.integers(0, 8))
def test_what_a_log_hands_to_stores_is_what_it_keeps(steps: list[tuple[int, str | None, Event]], stored: int) -> None:
    log = SessionLog("s_1", 5, Pace())
    for _, turn_id, event in steps:
        log.append(turn_id, [event])
    log.journaled_seq = log.filed_seq = min(5 + stored, log.last_seq)
    expected = log.numbered(log.filed_seq, log.last_seq)
    for entries in (log.unjournaled(), log.unfiled()):
        assert list(spelled_out(entries)) == expected
        assert decode_events(encode_events(entries)) == expected
        assert [last_seq_of(entry) for entry in entries[-1:]] == [event.seq for event in expected[-1:]]
    assert [(each.turn_id, each.event) for each in expected] == [step[1:] for step in steps[log.filed_seq - 5 :]]


def test_words_of_a_turn_that_follow_one_another_are_one_entry() -> None:
    words = [(1, "t_1", Delta(text)) for text in "abc"]
    events = _numbered([*words, (1, "t_2", Delta("x")), (2, "t_2", Delta("y")), (1, "t_2", Delta("z"))])
    assert json.loads(encode_events(events)) == [
        [1, "t_1", "deltas", ["a", "b", "c"]],
        [4, "t_2", "deltas", ["x"]],
        [6, "t_2", "deltas", ["y", "z"]],
    ]


def test_single_words_are_read_in_either_form() -> None:
    expected = [NumberedEvent(7, "t_1", Delta("a")), NumberedEvent(8, "t_1", Delta("b"))]
    assert decode_events(b'[[7,"t_1","delta","a"],[8,"t_1","deltas",["b"]]]') == expected


@pytest.mark.parametrize("entry", [[1, "t_1", "deltas", "ab"], [1, "t_1", "words", "ab"], [1, "t_1", "deltas"]])
def test_entry_that_is_not_the_stores_own_is_no_event(entry: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode_events(json.dumps([entry]))  # type: ignore[arg-type]
