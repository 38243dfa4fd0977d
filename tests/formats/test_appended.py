"""Answers told by appending only: nothing is lost, nothing is said twice, calls are closed once."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import (
    Delta,
    Done,
    Event,
    Failed,
    MessageOpened,
    MetadataChanged,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
)
from chatserve.core.types import (
    DataPart,
    FilePart,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
)
from chatserve.formats.shared.appended import (
    BREAK,
    AppendedAnswer,
    ArgumentsAdded,
    CallClosed,
    CallOpened,
    Ended,
    MessageBegun,
    PartShown,
    ReasoningAdded,
    ResultAdded,
    Said,
    TextAdded,
    tell_whole,
)

OPENED = MessageOpened("m_1", "assistant")
DONE = Done("t_1", "completed", "stop", ())
CALL = ToolCallPart("c1", "search", "")


def told(*events: Event) -> list[Said]:
    answer = AppendedAnswer()
    return [said for event in events for said in answer.take(event)]


def text_of(said: Sequence[Said]) -> str:
    return "".join(each.text for each in said if isinstance(each, TextAdded))


def message(*parts: Part, message_id: str = "m_1", title: str | None = None, role: str = "assistant") -> Message:
    metadata = None if title is None else {"title": title}
    return Message(message_id, role, parts, 0.0, metadata=metadata)  # type: ignore[arg-type]


def test_deltas_are_told_as_they_are() -> None:
    assert told(OPENED, Delta("He"), Delta("llo"), DONE) == [
        MessageBegun("m_1", is_thought=False),
        TextAdded("He"),
        TextAdded("llo"),
        Ended(DONE, None),
    ]


def test_short_way_says_whether_a_delta_is_the_answers_words() -> None:
    answer = AppendedAnswer()
    assert not answer.take_text("before any message")
    answer.take(OPENED)
    assert answer.take_text("words")
    answer.take(MessageOpened("m_2", "assistant", {"title": "Thinking"}))
    assert not answer.take_text("a thought")


def test_what_went_the_short_way_counts_when_the_text_is_replaced() -> None:
    answer = AppendedAnswer()
    answer.take(OPENED)
    answer.take_text("Hello")
    assert list(answer.take(Replaced("Hello, world"))) == [TextAdded(", world")]


def test_replaced_text_that_says_something_else_is_told_whole_after_a_break() -> None:
    assert told(OPENED, Delta("Tea?"), Replaced("Coffee?"))[-1] == TextAdded(BREAK + "Coffee?")


TWO_MESSAGES = (OPENED, Delta("one"), MessageOpened("m_2", "assistant"), Delta("two"))


def test_text_that_grows_behind_another_message_is_told_whole() -> None:
    assert told(*TWO_MESSAGES, Replaced("one more", "m_1"))[-1] == TextAdded(BREAK + "one more")


def test_open_message_goes_on_whole_after_another_was_told_again() -> None:
    said = told(*TWO_MESSAGES, Replaced("one more", "m_1"), Delta(" too"), Delta("."))
    assert said[-2:] == [TextAdded(BREAK + "two too"), TextAdded(".")]


def test_message_that_goes_on_when_a_later_one_was_taken_back_is_told_whole() -> None:
    said = told(*TWO_MESSAGES, Snapshot(None, (message(TextPart("one")),)), Delta(" only"))
    assert said[-1] == TextAdded(BREAK + "one only")


def test_thought_that_grows_behind_another_is_told_whole() -> None:
    thoughts = [MessageOpened(f"m_{number}", "assistant", {"title": f"T{number}"}) for number in (1, 2)]
    said = told(thoughts[0], Delta("a"), thoughts[1], Delta("b"), Replaced("a+", "m_1"), Delta("."))
    assert said[-2:] == [ReasoningAdded(BREAK + "a+"), ReasoningAdded(BREAK + "b.")]


def test_thought_is_reasoning_that_begins_with_its_title() -> None:
    said = told(MessageOpened("m_1", "assistant", {"title": "Weighing"}), Delta("on the one hand"))
    assert said == [
        MessageBegun("m_1", is_thought=True),
        ReasoningAdded("Weighing\n"),
        ReasoningAdded("on the one hand"),
    ]


def test_words_of_other_roles_are_not_told() -> None:
    assert told(MessageOpened("m_1", "system"), Delta("secret"), ReasoningDelta("hm"), Replaced("other")) == []


def test_arguments_reach_the_closed_call_whole() -> None:
    said = told(OPENED, PartAdded("m_1", "p1", CALL), PartDelta("p1", '{"q":'), PartDelta("p1", "1}"), DONE)
    assert said[1:] == [
        CallOpened(CALL),
        ArgumentsAdded("c1", '{"q":'),
        ArgumentsAdded("c1", "1}"),
        CallClosed(ToolCallPart("c1", "search", '{"q":1}')),
        Ended(DONE, None),
    ]


def test_result_closes_its_own_call_and_leaves_the_others_open() -> None:
    other = ToolCallPart("c2", "fetch", "{}", "server")
    said = told(
        OPENED,
        PartAdded("m_1", "p1", CALL),
        PartAdded("m_1", "p2", other),
        PartAdded("m_1", "p3", ToolResultPart("c2", "ok")),
        DONE,
    )
    assert said[3:5] == [CallClosed(other), ResultAdded(ToolResultPart("c2", "ok"))]
    assert said[5] == CallClosed(CALL)


def test_arguments_of_a_closed_call_are_not_told() -> None:
    said = told(OPENED, PartAdded("m_1", "p1", CALL), MessageOpened("m_2", "assistant"), PartDelta("p1", "late"))
    assert not any(isinstance(each, ArgumentsAdded) for each in said)


@pytest.mark.parametrize(
    "part", [FilePart("f_1", "a.png", "image/png", 3), DataPart({"a": 1}), SourcePart("https://a")]
)
def test_other_parts_are_shown(part: FilePart | DataPart | SourcePart) -> None:
    assert told(OPENED, PartAdded("m_1", "p1", part))[-1] == PartShown("m_1", part)


def test_status_and_metadata_are_not_of_the_answer() -> None:
    assert told(OPENED, StatusReported("searching"), MetadataChanged("m_1", {"log": "x"}))[1:] == []


def test_failure_is_told_at_the_end() -> None:
    error = TurnError("boom", "it broke", "e_1")
    failed = Done("t_1", "failed", "error", ())
    assert told(OPENED, Failed(error), failed)[-1] == Ended(failed, error)


# snapshots


def test_snapshot_in_mid_turn_tells_only_what_is_new() -> None:
    snapshot = Snapshot(None, (message(TextPart("Hello, you")),))
    assert told(OPENED, Delta("Hello"), snapshot)[-1] == TextAdded(", you")


def test_after_a_snapshot_deltas_belong_to_its_last_message() -> None:
    snapshot = Snapshot(None, (message(TextPart("a")), message(TextPart("b"), message_id="m_2")))
    said = told(OPENED, Delta("a"), snapshot, Delta("c"), Replaced("bcd"))
    assert said[1:] == [
        TextAdded("a"),
        MessageBegun("m_2", is_thought=False),
        TextAdded("b"),
        TextAdded("c"),
        TextAdded("d"),
    ]


def test_parts_that_were_told_are_not_told_again_by_a_snapshot() -> None:
    file = FilePart("f_1", "a.png", "image/png", 3)
    snapshot = Snapshot(None, (message(TextPart("a"), file, ToolCallPart("c1", "search", "{}")),))
    said = told(OPENED, PartAdded("m_1", "p1", file), snapshot, PartDelta("p2", " "), DONE)
    assert [type(each) for each in said] == [
        MessageBegun,
        PartShown,
        TextAdded,
        CallOpened,
        ArgumentsAdded,
        CallClosed,
        Ended,
    ]


def test_late_reader_is_told_everything_from_the_record() -> None:
    turn = Turn("t_1", "s_1", "echo", "failed", "m_0", 0.0, error=TurnError("boom", "it broke", "e_1"))
    answer = (
        message(TextPart("hm"), message_id="m_1", title="Thinking"),
        message(ReasoningPart("because"), TextPart("42"), message_id="m_2"),
    )
    said = tell_whole(TurnRecord(turn, None, answer))
    assert said[:-1] == [
        MessageBegun("m_1", is_thought=True),
        ReasoningAdded("Thinking\n"),
        ReasoningAdded("hm"),
        MessageBegun("m_2", is_thought=False),
        ReasoningAdded("because"),
        TextAdded("42"),
    ]
    assert isinstance(said[-1], Ended)
    assert said[-1].error == turn.error


@given(st.lists(st.text(max_size=8), min_size=1, max_size=12))
def test_snapshots_that_extend_one_another_are_told_without_a_word_twice(pieces: list[str]) -> None:
    texts = ["".join(pieces[: end + 1]) for end in range(len(pieces))]
    said = told(OPENED, *[Snapshot(None, (message(TextPart(text)),)) for text in texts])
    assert text_of(said) == texts[-1]
