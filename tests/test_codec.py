"""Values in JSON: as they were always written, read back as they were, whatever is declared anew."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve import codec
from chatserve.codec import event_json
from chatserve.codec.shapes import shape_of
from chatserve.core.events import EVENT_NAMES, Bye, Delta, Event, Failed, NumberedEvent, TurnAccepted, Words
from chatserve.core.types import PART_NAMES, DataPart, Message, Part, Session, StoredFile, TextPart, Turn, TurnError
from chatserve.formats.wire.native import NativeEncoder
from tests.support.values import EVENTS, FILE, MESSAGE, PARTS, RICH_MESSAGE, RICH_SESSION, RICH_TURN, SESSION, TURN

WRITTEN = Path(__file__).parent / "support" / "values.txt"
ENCODERS: dict[type, Callable[[Any], Any]] = {
    Message: codec.message_json,
    Turn: codec.turn_json,
    Session: codec.session_json,
    StoredFile: codec.file_json,
}
RECORDS = [MESSAGE, RICH_MESSAGE, TURN, RICH_TURN, SESSION, RICH_SESSION, FILE]
NARROWED = (TurnAccepted, Failed)
"""Events whose JSON leaves out members of the value they hold."""


def written() -> list[str]:
    """Return a line for every sample, as the file has them."""
    events = [(EVENT_NAMES[type(event)], codec.encode_payload(event)) for pair in EVENTS for event in pair]
    parts = [(type(part).__name__, codec.dumps(codec.part_json(part))) for pair in PARTS for part in pair]
    records = [(type(each).__name__, codec.dumps(ENCODERS[type(each)](each))) for each in RECORDS]
    return [f"{name} {data.decode()}" for name, data in (*events, *parts, *records)]


def test_values_are_written_byte_by_byte_as_in_the_file() -> None:
    assert written() == WRITTEN.read_text(encoding="utf-8").splitlines()


# --- events ------------------------------------------------------------------------------------------------------


def test_every_event_has_a_name() -> None:
    assert set(EVENT_NAMES) == {*get_args(Event), Bye}
    assert len(set(EVENT_NAMES.values())) == len(EVENT_NAMES)


def test_no_match_over_events_has_a_case_for_the_rest() -> None:
    """Such a case would hide a new event from the type checker."""
    for path in (Path(codec.__file__).parents[1]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Match) and isinstance(node.subject, ast.Name) and node.subject.id == "event":
                rest = [
                    case for case in node.cases if isinstance(case.pattern, ast.MatchAs) and not case.pattern.pattern
                ]
                assert rest == [], path


@pytest.mark.parametrize("cls", get_args(Event), ids=lambda cls: cls.__name__)
def test_every_event_of_the_union_is_read_as_it_was_written(cls: type) -> None:
    samples = [event for pair in EVENTS for event in pair if type(event) is cls and not isinstance(event, Bye)]
    assert samples
    for event in samples:
        data = codec.encode_events([NumberedEvent(7, "t_1", event)])
        (read,) = codec.decode_events(data)
        assert codec.encode_events([read]) == data
        assert read == NumberedEvent(7, "t_1", event) or isinstance(event, NARROWED)
        assert type(read.event) is cls


def test_turn_that_was_accepted_has_the_id_of_its_message_again() -> None:
    accepted = TurnAccepted(Turn("t_1", "s_1", "c", "running", "m_1", 1.5), MESSAGE, 3)
    assert codec.decode_events(codec.encode_events([NumberedEvent(1, "t_1", accepted)]))[0].event == accepted


@given(st.text())
def test_delta_that_is_spelled_by_hand_is_as_the_declaration_says(text: str) -> None:
    delta = Delta(text)
    data = codec.dumps_line(event_json(delta))
    assert codec.encode_payload(delta) == data
    assert NativeEncoder().encode(NumberedEvent(7, "t_1", delta)) == b"id: 7\nevent: delta\ndata: %b\n\n" % data
    assert shape_of(Delta).decode(codec.loads(data)) == delta


@given(st.lists(st.text(), min_size=1))
def test_deltas_in_one_entry_are_read_as_deltas_one_by_one(texts: list[str]) -> None:
    single = [NumberedEvent(seq, "t_1", Delta(text)) for seq, text in enumerate(texts, 4)]
    entry = codec.encode_events([Words(4, "t_1", texts)])
    assert codec.decode_events(entry) == single
    assert codec.decode_events(codec.encode_events(single)) == single


# --- parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", get_args(Part), ids=lambda cls: cls.__name__)
def test_every_part_of_the_union_is_read_as_it_was_written(cls: type) -> None:
    assert cls in PART_NAMES
    samples = [part for pair in PARTS for part in pair if type(part) is cls]
    assert samples
    for part in samples:
        assert codec.decode_stored_content(codec.encode_content([part])) == (part,)


@pytest.mark.parametrize("value", [{}, {"type": "exec"}, {"type": "text"}, {"type": ["text"]}, {"type": "source"}])
def test_what_is_no_part_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a message part"):
        codec.decode_part(value)


def test_content_that_is_text_only_is_a_string() -> None:
    words = Message("m_1", "user", (TextPart("a"), TextPart("b")), 1.0)
    assert codec.message_json(words)["content"] == "ab"
    assert codec.message_json(Message("m_1", "user", (), 1.0))["content"] == ""
    mixed = Message("m_1", "user", (TextPart("a"), DataPart(None)), 1.0)
    assert codec.message_json(mixed)["content"] == [{"type": "text", "text": "a"}, {"type": "data", "data": None}]


# --- records -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [MESSAGE, RICH_MESSAGE], ids=["least", "most"])
def test_message_is_read_as_it_was_written(message: Message) -> None:
    assert codec.decode_message(codec.message_json(message)) == message


@pytest.mark.parametrize("turn", [TURN, RICH_TURN], ids=["least", "most"])
def test_turn_is_read_as_it_was_written(turn: Turn) -> None:
    assert codec.decode_turn(codec.turn_json(turn)) == turn


def test_what_an_export_has_of_a_session_and_its_files_is_read_back() -> None:
    assert codec.EXPORTED_SESSION.decode(codec.EXPORTED_SESSION.encode(RICH_SESSION), owner="") == RICH_SESSION
    assert list(codec.EXPORTED_SESSION.encode(RICH_SESSION)) == [*codec.session_json(RICH_SESSION), "state", "head"]
    assert codec.decode_file(codec.file_json(FILE), owner="", session_id=None) == FILE


def test_what_older_versions_left_out_is_read_as_its_default() -> None:
    assert shape_of(TurnError).decode({"code": "c", "detail": "d", "error_id": "e", "retryable": True}) == TurnError(
        "c", "d", "e", retryable=True
    )
    call: Any = {"type": "tool_call", "tool_call_id": "c", "name": "f", "arguments": "{}"}
    assert codec.decode_part(call) == PARTS[5][0]
    assert codec.decode_part({"type": "tool_result", "tool_call_id": "c", "output": None}) == PARTS[6][0]


@pytest.mark.parametrize("missing", ["message_id", "role", "content", "created_at"])
def test_message_that_lacks_what_it_needs_is_refused(missing: str) -> None:
    value = {name: member for name, member in codec.message_json(MESSAGE).items() if name != missing}
    with pytest.raises(KeyError):
        codec.decode_message(value)
