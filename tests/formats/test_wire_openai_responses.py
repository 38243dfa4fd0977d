"""Responses: how a turn is told, streamed, whole, live, replayed and late; every status; items and pages of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserve.answers.draft import MessageDraft
from chatserve.contracts.formats import (
    AnswerSnapshot,
    Output,
    ParsedMessage,
    PartAppended,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
    ToolCallOpened,
)
from chatserve.contracts.turns import TurnRecord
from chatserve.core.errors import AnswerInvalid
from chatserve.core.events import (
    Done,
    Event,
    Failed,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    Replaced,
    Snapshot,
    TurnAccepted,
)
from chatserve.core.types import (
    DataPart,
    FilePart,
    FinalStatus,
    Message,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
    Usage,
)
from chatserve.formats.wire.openai_responses.documents import output_of, response_json, response_object
from chatserve.formats.wire.openai_responses.encode import ResponseEncoder
from chatserve.formats.wire.openai_responses.lists import items_of, page, without_item
from tests.formats.response_grammar import DONE, StrictReader, read_frames, read_stream
from tests.formats.scenarios import SCENARIOS, Scenario
from tests.support.engine import open_engine, until

BASE = "http://localhost"
TURN = Turn("t_abc", "s_1", "plain", "running", "m_0", 1000.5)
WHERE = ("client", "server")
UNSAYS = (Replaced, Snapshot, PartDelta, MetadataChanged)
"""Events that change what was told already, so that what is stored is not what was streamed."""


@dataclass(frozen=True)
class Told:
    """A turn as its log has it, and as it is stored."""

    events: Sequence[NumberedEvent]
    record: TurnRecord


def encode(events: Sequence[NumberedEvent], starting_after: int | None = None) -> bytes:
    encoder = ResponseEncoder(BASE, starting_after)
    return b"".join(map(encoder.encode, events))


def numbered(*events: Event) -> list[NumberedEvent]:
    return [NumberedEvent(seq, "t_abc", event) for seq, event in enumerate(events, 1)]


def late(record: TurnRecord) -> list[NumberedEvent]:
    return numbered(*record.as_events())


async def tell(scenario: Scenario, folder: Path) -> Told:
    """Let a scenario's turn run to its end."""
    async with open_engine(scenario.answer, folder=folder, settings=scenario.settings) as engine:
        turn = await engine.start()
        if scenario.ends != "itself":
            await until(lambda: bool(turn.run.draft and turn.run.draft.messages()))
            ending = engine.turns.drain(0) if scenario.ends == "shutdown" else engine.turns.stop_turn("", turn.turn_id)
            await ending
        record = await engine.end_of(turn)
        assert turn.room.log is not None
        return Told(
            [
                each
                for each in turn.room.log.numbered(turn.room.log.base, turn.room.log.last_seq)
                if each.turn_id == turn.turn_id
            ],
            record,
        )


# --- every answer there can be -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_stream_obeys_the_protocol_live_and_late(scenario: Scenario, tmp_path: Path) -> None:
    told = await tell(scenario, tmp_path)
    live, after = read_stream(encode(told.events)), read_stream(encode(late(told.record)))
    assert encode(told.events) == encode(told.events)
    assert live.response["status"] == after.response["status"] == response_json(told.record, BASE)["status"]
    assert after.response["output"] == output_of(told.record, BASE)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_document_has_the_items_of_the_stream_unless_words_were_taken_back(
    scenario: Scenario, tmp_path: Path
) -> None:
    told = await tell(scenario, tmp_path)
    streamed = read_stream(encode(told.events)).response["output"]
    if any(isinstance(each.event, Replaced | Snapshot) for each in told.events):
        assert [item["id"] for item in output_of(told.record, BASE)][:1] == [item["id"] for item in streamed][:1]
    else:
        assert output_of(told.record, BASE) == streamed


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_resumed_stream_is_the_rest_without_gap_or_repeat(scenario: Scenario, tmp_path: Path) -> None:
    told = await tell(scenario, tmp_path)
    whole = read_frames(encode(told.events))
    for after in range(len(whole) - 1):
        resumed = encode(told.events, after)
        assert resumed.endswith(DONE)
        assert read_frames(resumed) == whole[after + 1 :]


@pytest.mark.parametrize("after", [0, 3, 5, 100, 10**9])
async def test_late_reader_gets_an_end_beyond_what_it_has(after: int, tmp_path: Path) -> None:
    told = await tell(SCENARIOS[0], tmp_path)
    events = read_frames(encode(late(told.record), after))
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > after
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"] == output_of(told.record, BASE)


@pytest.mark.parametrize("after", [7, 8, 50])
async def test_reader_that_has_all_of_a_stream_is_given_its_end_again(after: int, tmp_path: Path) -> None:
    told = await tell(SCENARIOS[0], tmp_path)
    last = len(read_frames(encode(told.events))) - 1
    (event,) = read_frames(encode(told.events, last + after))
    assert (event["type"], event["sequence_number"]) == ("response.completed", last + after + 1)


TEXTS = st.text(max_size=6)
CALL_IDS = st.sampled_from(["c1", "c2", "c3"])
OUTPUTS = st.lists(
    st.one_of(
        st.builds(TextAppended, TEXTS),
        st.builds(ReasoningAppended, TEXTS),
        st.builds(ToolCallOpened, st.builds(ToolCallPart, CALL_IDS, st.just("f"), TEXTS, st.sampled_from(WHERE))),
        st.builds(ToolArgumentsAppended, CALL_IDS, TEXTS),
        st.builds(PartAppended, st.builds(ToolResultPart, CALL_IDS, TEXTS, st.booleans())),
        st.builds(PartAppended, st.builds(SourcePart, st.just("https://a.example"), TEXTS)),
        st.builds(PartAppended, st.builds(DataPart, st.integers(0, 9))),
        st.builds(PartAppended, st.just(FilePart("f_1", "a.txt", "text/plain", 1))),
        st.builds(
            AnswerSnapshot,
            st.lists(
                st.builds(
                    ParsedMessage,
                    st.sampled_from(["assistant", "assistant", "system"]),
                    st.tuples(st.builds(TextPart, TEXTS)),
                    st.sampled_from([None, {"title": "Thinking"}]),
                ),
                max_size=3,
            ).map(tuple),
        ),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(OUTPUTS, st.booleans())
def test_any_answer_makes_a_stream_that_obeys_the_protocol(outputs: list[Output], ends_well: bool) -> None:
    ids = (f"m_{number}" for number in count(1))
    draft = MessageDraft(TURN, new_message_id=lambda: next(ids), clock=lambda: 1001.0, max_bytes=1_000_000)
    events: list[Event] = [TurnAccepted(TURN, None, 1)]
    for output in outputs:
        with suppress(AnswerInvalid):
            events += draft.apply(output)
    events += draft.close()
    status: FinalStatus = "completed" if ends_well else "stopped"
    live = read_stream(encode(numbered(*events, Done("t_abc", status, "stop", draft.messages()))))
    assert live.response["status"] == ("completed" if ends_well else "cancelled")
    record = TurnRecord(replace(TURN, status=status, finish_reason="stop"), None, draft.messages())
    assert read_stream(encode(late(record))).response["output"] == output_of(record, BASE)
    if not any(isinstance(event, UNSAYS) for event in events):
        assert live.response["output"] == output_of(record, BASE)


# --- what stands where -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "finish_reason", "last", "expected", "details"),
    [
        ("completed", "stop", "response.completed", "completed", None),
        ("completed", "tool_calls", "response.completed", "completed", None),
        ("completed", "length", "response.incomplete", "incomplete", {"reason": "max_output_tokens"}),
        ("completed", "content_filter", "response.incomplete", "incomplete", {"reason": "content_filter"}),
        ("stopped", "stopped", "response.incomplete", "cancelled", None),
        ("interrupted", "shutdown", "response.failed", "failed", None),
        ("failed", "error", "response.failed", "failed", None),
    ],
)
def test_every_end_has_its_status_and_its_event(
    status: Any, finish_reason: str, last: str, expected: str, details: Any
) -> None:
    error = TurnError("closed", "The library is closed.", "e_1", status_code=409) if status == "failed" else None
    failed = [Failed(error)] if error else []
    log = numbered(TurnAccepted(TURN, None, 1), *failed, Done("t_abc", status, finish_reason, (), Usage(3, 4)))
    stream = encode(log)
    response = read_stream(stream).response
    assert read_frames(stream)[-1]["type"] == last
    assert (response["status"], response["incomplete_details"]) == (expected, details)
    assert (response["error"] or {}).get("code") == {"failed": "closed", "interrupted": "interrupted"}.get(status)
    assert response["usage"]["total_tokens"] == 7
    assert (response["store"], response_object(replace(TURN, session_id=""), [])["store"]) == (True, False)
    stored = replace(
        TURN, status=status, finish_reason=finish_reason, usage=Usage(3, 4), error=error, finished_at=1002.9
    )
    document = response_json(TurnRecord(stored, None, ()), BASE)
    assert document | {"completed_at": None} == response
    assert document["completed_at"] == (1002 if expected == "completed" else None)


def test_turn_that_waits_says_so_and_then_that_it_runs() -> None:
    queued = replace(TURN, status="queued")
    log = numbered(
        TurnAccepted(queued, None, 1, 2), TurnAccepted(TURN, None, 1), Done("t_abc", "completed", "stop", ())
    )
    kinds = [event["type"].removeprefix("response.") for event in read_frames(encode(log))]
    assert kinds == ["created", "queued", "in_progress", "completed"]


def test_turn_stopped_while_it_waited_ends_well_formed() -> None:
    queued = replace(TURN, status="queued")
    log = numbered(TurnAccepted(queued, None, 1, 2), Done("t_abc", "stopped", "stopped", ()))
    events = read_frames(encode(log))
    assert [event["type"].removeprefix("response.") for event in events] == ["created", "queued", "incomplete"]
    assert events[-1]["response"]["status"] == "cancelled"


def test_response_that_is_open_shows_what_it_has_so_far() -> None:
    message = Message("m_1", "assistant", (TextPart("So far"), ToolCallPart("c", "f", "{")), 1001)
    response = response_json(TurnRecord(TURN, None, (message,)), BASE)
    assert (response["status"], response["usage"], response["completed_at"]) == ("in_progress", None, None)
    assert [item["status"] for item in response["output"]] == ["completed", "in_progress"]


def test_every_part_of_an_answer_has_its_item() -> None:
    content = (
        ReasoningPart("Hm."),
        TextPart("Look: "),
        FilePart("f_1", "a [b].png", "image/png", 3),
        TextPart("There."),
        ToolCallPart("c1", "now", "{}", "server"),
        ToolResultPart("c1", {"hour": 3}),
        ToolCallPart("c2", "bad", "{}", "server"),
        ToolResultPart("c2", "no such city", is_error=True),
        TextPart("Ask: "),
        ToolCallPart("c3", "weather", '{"city":"Paris"}'),
    )
    record = TurnRecord(replace(TURN, status="completed"), None, (Message("m_1", "assistant", content, 1001),))
    reasoning, words, now, bad, more, weather = output_of(record, BASE)
    assert reasoning == {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    link = r"![a \[b\].png](http://localhost/files/f_1)"
    assert (words["id"], words["content"][0]["text"]) == ("msg_1", f"Look: \n\n{link}\n\nThere.")
    assert (now["type"], now["name"], now["output"], now["error"]) == ("mcp_call", "now", '{"hour":3}', None)
    assert (bad["status"], bad["output"], bad["error"]["content"][0]["text"]) == ("failed", None, "no such city")
    assert (more["id"], more["content"][0]["text"]) == ("msg_1.1", "Ask: ")
    assert (weather["id"], weather["call_id"], weather["arguments"]) == ("fc_1", "c3", '{"city":"Paris"}')


def test_arguments_that_come_after_a_call_was_closed_are_not_told() -> None:
    call = ToolCallPart("c1", "f", "", "server")
    opened: list[Event] = [
        MessageOpened("m_1", "assistant"),
        PartAdded("m_1", "p1", call),
        MessageOpened("m_2", "assistant"),
    ]
    again: list[Event] = [PartAdded("m_2", "p2", call), PartDelta("p2", "{}"), Done("t_abc", "completed", "stop", ())]
    (item,) = read_stream(encode(numbered(TurnAccepted(TURN, None, 1), *opened, *again))).response["output"]
    assert item["arguments"] == ""


def test_stream_that_is_left_says_so_under_the_number_before() -> None:
    encoder = ResponseEncoder(BASE)
    encoder.encode(*numbered(TurnAccepted(TURN, None, 1)))
    (event,) = read_frames(encoder.farewell())
    assert (event["type"], event["sequence_number"], event["code"]) == ("error", 1, "shutting_down")
    assert event["error"]["message"] == event["message"]


def test_strict_reader_notices_what_is_out_of_order() -> None:
    log = numbered(TurnAccepted(TURN, None, 1), Done("t_abc", "completed", "stop", ()))
    events = read_frames(encode(log))
    with pytest.raises(AssertionError):
        StrictReader().read(events[-1] | {"type": "response.in_progress"})
    with pytest.raises(AssertionError):
        read_stream(encode(log).removesuffix(DONE))


# --- items and pages ---------------------------------------------------------------------------------------------

USER = Message("m_u", "user", (TextPart("Weather?"), FilePart("f_1", "a.png", "image/png", 1)), 1)
ANSWER = Message(
    "m_a", "assistant", (TextPart("I ask."), ToolCallPart("c1", "f", "{}"), ToolCallPart("c2", "f", "{}")), 2
)
RESULTS = Message("m_t", "tool", (ToolResultPart("c1", "sun"), ToolResultPart("c2", {"rain": 1})), 3)
BRANCH = (USER, ANSWER, RESULTS, Message("m_b", "assistant", (ReasoningPart("Hm."), TextPart("Sun.")), 4))


def test_messages_become_items_in_order() -> None:
    items = items_of(BRANCH, BASE)
    assert [item["id"] for item in items] == ["msg_u", "msg_a", "fc_a", "fc_a.1", "fco_t", "fco_t.1", "rs_b", "msg_b"]
    assert items[0]["content"][1]["image_url"] == "http://localhost/files/f_1"
    assert [items[4]["output"], items[5]["output"]] == ["sun", '{"rain":1}']


def test_result_of_a_tool_on_the_server_belongs_to_its_call() -> None:
    call = Message("m_a", "assistant", (ToolCallPart("c1", "f", "{}", "server"),), 2)
    (item,) = items_of((call, Message("m_t", "tool", (ToolResultPart("c1", "sun"),), 3)), BASE)
    assert (item["type"], item["output"]) == ("mcp_call", "sun")


@pytest.mark.parametrize(
    ("message", "item_id", "left"),
    [
        (BRANCH[3], "rs_b", (TextPart("Sun."),)),
        (BRANCH[3], "msg_b", (ReasoningPart("Hm."),)),
        (ANSWER, "fc_a.1", ANSWER.content[:2]),
        (RESULTS, "fco_t", RESULTS.content[1:]),
        (USER, "msg_u", None),
    ],
)
def test_removing_an_item_leaves_the_rest_of_its_message(message: Message, item_id: str, left: Any) -> None:
    changed = without_item(message, item_id)
    assert (None if changed is None else changed.content) == left


def test_removing_data_that_stands_for_words_removes_its_message() -> None:
    message = Message("m_d", "assistant", (DataPart({"a": 1}), DataPart(2)), 1)
    (item,) = items_of((message,), BASE)
    assert item["content"][0]["text"] == '{"a":1}\n2'
    assert without_item(message, item["id"]) is None


def test_pages_are_newest_first_and_lead_from_one_to_the_next() -> None:
    items = items_of(BRANCH, BASE)
    first = page(items, {"limit": "5"})
    assert [first["first_id"], first["last_id"], first["has_more"]] == ["msg_b", "fc_a.1", True]
    rest = page(items, {"limit": "5", "after": first["last_id"]})
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (["fc_a", "msg_a", "msg_u"], False)
    assert page(items, {"order": "asc"})["data"] == items
    assert page((), {}) == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}
