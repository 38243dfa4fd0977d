"""Anthropic Messages without a server: answers as blocks, one after the other."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import (
    Delta,
    Done,
    Event,
    MessageOpened,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    TurnAccepted,
)
from chatserve.core.types import FilePart, Message, TextPart, ToolCallPart, ToolResultPart, Turn
from chatserve.formats.wire.anthropic.replies import Heading, MessageEncoder, message_document
from tests.support.sse import read_events

HEADING = Heading("t_1", "chat", "req_1", "http://localhost")
TURN = Turn("t_1", "s_1", "chat", "running", "m_0", 1000.0)


def stream_of(*events: Event, finish_reason: str = "stop") -> list[tuple[str, Any]]:
    """Return the events of a turn's stream as a client reads them."""
    done = Done("t_1", "completed", finish_reason, ())
    log = [TurnAccepted(TURN, None, 1), MessageOpened("m_1", "assistant"), *events, done]
    encoder = MessageEncoder(HEADING)
    told = b"".join(encoder.encode(NumberedEvent(seq, "t_1", event)) for seq, event in enumerate(log, 1))
    return [(event.event, event.json) for event in read_events(told.decode().split("\n")[:-1])]


def blocks_of(stream: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Put a stream's blocks together. Raises AssertionError where they are not one after the other."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for name, event in stream:
        assert event["type"] == name
        if name == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "pieces": []})
            is_open = True
        elif name == "content_block_delta":
            assert is_open
            assert event["index"] == len(blocks) - 1
            blocks[-1]["pieces"].append(next(value for key, value in event["delta"].items() if key != "type"))
        elif name == "content_block_stop":
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = False
    assert not is_open
    return blocks


def call_part(number: int, arguments: str = "", where: str = "client") -> PartAdded:
    return PartAdded("m_1", f"p{number}", ToolCallPart(f"c{number}", f"tool{number}", arguments, where))  # type: ignore[arg-type]


def summary(stream: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(block.get("id", block["type"]), "".join(block["pieces"])) for block in blocks_of(stream)]


def test_text_beside_a_call_waits_for_its_arguments() -> None:
    stream = stream_of(
        call_part(1), PartDelta("p1", '{"a":'), Delta("words"), Delta(" more"), PartDelta("p1", "1}"), Delta(".")
    )
    assert summary(stream) == [("c1", '{"a":1}'), ("text", "words more.")]
    assert [name for name, _ in stream][-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_brace_within_a_text_is_no_end_of_arguments() -> None:
    stream = stream_of(call_part(1), PartDelta("p1", '{"a":"}'), Delta("words"), PartDelta("p1", '"}'))
    assert summary(stream) == [("c1", '{"a":"}"}'), ("text", "words")]


def test_nothing_waits_longer_than_for_whole_arguments() -> None:
    events: list[Event] = [call_part(1), PartDelta("p1", '{"a":'), Delta("one"), PartDelta("p1", "1}"), Delta("two")]
    encoder = MessageEncoder(HEADING)
    encoder.encode(NumberedEvent(1, "t_1", MessageOpened("m_1", "assistant")))
    frames = [encoder.encode(NumberedEvent(seq, "t_1", event)) for seq, event in enumerate(events, 2)]
    assert [b"one" in frame for frame in frames] == [False, False, False, True, False]
    assert b"two" in frames[4]


def test_three_calls_side_by_side_come_one_after_the_other() -> None:
    stream = stream_of(
        *(call_part(number) for number in (1, 2, 3)),
        *(PartDelta(f"p{number}", piece) for piece in ('{"a"', ":1", "}") for number in (3, 1, 2)),
        finish_reason="tool_calls",
    )
    assert summary(stream) == [("c3", '{"a":1}'), ("c1", '{"a":1}'), ("c2", '{"a":1}')]
    assert stream[-2][1]["delta"]["stop_reason"] == "tool_use"


def test_calls_whose_arguments_never_become_whole_end_with_the_answer() -> None:
    stream = stream_of(call_part(1), call_part(2), PartDelta("p1", '{"a'), PartDelta("p2", '{"b'))
    assert summary(stream) == [("c1", '{"a'), ("c2", '{"b')]


def test_call_the_function_answered_itself_is_not_told() -> None:
    stream = stream_of(call_part(1, '{"a":1}'), PartAdded("m_1", "p2", ToolResultPart("c1", "ok")), Delta("done"))
    assert summary(stream) == [("text", "done")]


def test_tools_of_the_server_are_not_told() -> None:
    stream = stream_of(Delta("a"), call_part(1, "{", "server"), PartDelta("p1", "}"), Delta("b"))
    assert summary(stream) == [("text", "ab")]


@given(st.lists(st.sampled_from(["text", "think", "open", "message", "result", "file", *"123456"]), max_size=30))
def test_blocks_never_overlap_and_nothing_that_was_said_is_lost(moves: list[str]) -> None:
    events: list[Event] = []
    calls: set[str] = set()
    words = thoughts = 0
    for number, move in enumerate(moves):
        match move:
            case "text":
                events.append(Delta("w"))
                words += 1
            case "think":
                events.append(ReasoningDelta("r"))
                thoughts += 1
            case "open":
                calls.add(str(len(calls) + 1))
                events.append(call_part(len(calls)))
            case "message":
                events.append(MessageOpened(f"m_{number + 2}", "assistant"))
            case "result":
                events.append(PartAdded("m_1", f"r{number}", ToolResultPart("elsewhere", "ok")))
            case "file":
                events.append(PartAdded("m_1", f"f{number}", FilePart("f_1", "ff", "image/png", 1)))
            case digit if digit in calls:
                events.append(PartDelta(f"p{digit}", "{}" if number % 2 else '{"a'))
            case _:
                pass
    told = blocks_of(stream_of(*events))
    said = {kind: "".join(p for b in told if b["type"] == kind for p in b["pieces"]) for kind in ("text", "thinking")}
    assert (said["text"].count("w"), said["thinking"].replace("unsigned", "").count("r")) == (words, thoughts)
    assert {block["id"] for block in told if block["type"] == "tool_use"} == {f"c{number}" for number in calls}


def test_document_says_what_the_stream_says() -> None:
    arguments = '{"city": "Paris"}'
    message = Message("m_1", "assistant", (TextPart("I look."), ToolCallPart("c1", "weather", arguments)), 1000.0)
    turn = Turn("t_1", "s_1", "chat", "completed", "m_0", 1000.0, finish_reason="tool_calls")
    document = message_document(TurnRecord(turn, None, (message,)), HEADING)
    assert document["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
    ]
    assert (document["id"], document["stop_reason"]) == ("msg_1", "tool_use")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("", {}), ("[1]", {"arguments": [1]}), ('{"a', {"arguments": '{"a'}), ("null", {"arguments": None})],
)
def test_arguments_that_are_no_object_become_one(arguments: str, told: dict[str, Any]) -> None:
    message = Message("m_1", "assistant", (ToolCallPart("c1", "f", arguments),), 1000.0)
    turn = Turn("t_1", "s_1", "chat", "completed", "m_0", 1000.0, finish_reason="tool_calls")
    document = message_document(TurnRecord(turn, None, (message,)), HEADING)
    assert document["content"][0]["input"] == told


def test_queued_turn_begins_its_message_once() -> None:
    encoder = MessageEncoder(HEADING)
    told = b"".join(encoder.encode(NumberedEvent(seq, "t_1", TurnAccepted(TURN, None, 1))) for seq in (1, 2))
    assert told.count(b"event: message_start\n") == 1
