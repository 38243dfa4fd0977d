"""Gradio's streams and values: what clients that apply the edits end up with is the answer, and every stream ends."""

import copy
import json
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserve.contracts.formats import (
    ParsedMessage,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
    ToolCallOpened,
)
from chatserve.contracts.turns import TurnRecord
from chatserve.core.events import (
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    MessageOpened,
    NumberedEvent,
    Snapshot,
    StatusReported,
    TurnAccepted,
    YieldedEvent,
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
    TurnStatus,
)
from chatserve.engine.cursors import ended_turn_frames
from chatserve.formats.wire.gradio.calls import CallEncoder
from chatserve.formats.wire.gradio.diffs import compare
from chatserve.formats.wire.gradio.frames import CLOSE_STREAM, HEARTBEAT
from chatserve.formats.wire.gradio.inboxes import HEAD_START_S, MAX_CLOSED, MAX_INBOXES, MAX_TURNS, REST_S, Inboxes
from chatserve.formats.wire.gradio.queue import JOINED, QueueDelivery, QueueEncoder
from chatserve.formats.wire.gradio.values import answer_value, downloadless
from tests.test_draft import Spoken, message, message_snapshots, snapshot, text_snapshots

BASE = "http://host"
FILE = FilePart("f_1", "a.txt", "text/plain", 3)
FILE_VALUE = {
    "path": "f_1/a.txt",
    "url": "http://host/gradio_api/file=f_1/a.txt",
    "size": 3,
    "orig_name": "a.txt",
    "mime_type": "text/plain",
    "is_stream": False,
    "meta": {"_type": "gradio.FileData"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab", max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def apply(value: Any, edits: Iterable[Any]) -> Any:
    """Apply edits as clients do."""
    value = copy.deepcopy(value)
    for operation, path, new in edits:
        if not path:
            value = {"replace": new, "append": value + new if operation == "append" else None}[operation]
            continue
        place = value
        for step in path[:-1]:
            place = place[step]
        last = path[-1]
        if operation == "delete":
            del place[last]
        elif operation == "add" and isinstance(place, list):
            place.insert(last, new)
        else:
            place[last] = place[last] + new if operation == "append" else new
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; 1, 1.0 and true are three."""
    return json.dumps(one) == json.dumps(other) or (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


class QueueClient:
    """What a client of the queue knows of its events, from the bytes alone."""

    def __init__(self, waiting: Collection[str] = ("t_1",)) -> None:
        self.encoder = QueueEncoder(waiting, BASE)
        self.messages: list[dict[str, Any]] = []
        self.values: dict[str, Any] = {}

    def take(self, *events: Event, turn_id: str | None = "t_1") -> list[str]:
        """Take events of one turn; return what they were told as. The reply ends a stream that is complete."""
        told = b"".join(self.encoder.encode(NumberedEvent(1, turn_id, event)) for event in events)
        return self.read(told + CLOSE_STREAM if told and self.encoder.is_complete else told)

    def read(self, frames: bytes) -> list[str]:
        blocks = frames.decode().split("\n\n")
        assert blocks.pop() == ""
        assert "\r" not in frames.decode()
        assert all(block.startswith("data: ") and len(block.splitlines()) == 1 for block in blocks)
        told = [json.loads(block.removeprefix("data: ")) for block in blocks]
        for each in told:
            if each["msg"] == "process_generating":
                (output,) = each["output"]["data"]
                event_id = each["event_id"]
                known = event_id in self.values
                self.values[event_id] = apply(self.values[event_id], output) if known else output
        self.messages += told
        return [each["msg"] for each in told]

    @property
    def last(self) -> dict[str, Any]:
        return next(each for each in reversed(self.messages) if each["msg"] != "close_stream")


def turn(status: TurnStatus = "running", turn_id: str = "t_1", **fields: Any) -> Turn:
    return Turn(turn_id, "s_1", "chat", status, None, 1.0, **fields)


def accepted(status: TurnStatus = "running", turn_id: str = "t_1", **fields: Any) -> TurnAccepted:
    return TurnAccepted(turn(status, turn_id), None, 1, **fields)


def stored(*content: Part, role: Any = "assistant", **fields: Any) -> Message:
    return Message("m_1", role, content, 1.0, **fields)


def done(*messages: Message, status: Any = "completed", turn_id: str = "t_1") -> Done:
    return Done(turn_id, status, "stop", messages)


SAID = (accepted(), MessageOpened("m_1", "assistant"), Delta("He"), Delta("llo"))
HELLO = stored(TextPart("Hello"))

# --- values ----------------------------------------------------------------------------------------------------------


def entry(content: Any, role: str = "assistant", **metadata: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "metadata": metadata, "options": []}


@pytest.mark.parametrize(
    ("messages", "value"),
    [
        ((), None),
        ((stored(TextPart("a"), TextPart("b")),), "ab"),
        ((stored(FILE),), FILE_VALUE),
        ((stored(DataPart({"n": 1}, "Model")),), {"n": 1}),
        ((stored(DataPart([1, 2])),), [1, 2]),
        ((stored(SourcePart("http://x/", "X")),), "[X](http://x/)"),
        ((stored(TextPart("a"), role="system"),), entry("a", "system")),
        (
            (stored(TextPart("a"), options=({"value": "y"},)),),
            entry("a") | {"options": [{"value": "y"}]},
        ),
        ((stored(TextPart("a"), metadata={"title": "T"}),), [entry("a", title="T")]),
        ((stored(TextPart("a")), stored(TextPart("b"))), [entry("a"), entry("b")]),
        (
            (stored(TextPart("see"), FILE, DataPart(1, "n")),),
            entry(
                [
                    {"type": "text", "text": "see"},
                    {"type": "file", "file": FILE_VALUE},
                    {"type": "data", "data": 1, "name": "n"},
                ]
            ),
        ),
        (
            (stored(ReasoningPart("hm"), TextPart("a")),),
            [entry("hm", title="Reasoning", status="done"), entry("a")],
        ),
        (
            (stored(ToolCallPart("c", "find", "{}", "server"), ToolResultPart("c", [1])),),
            [
                entry("{}", title="find", id="c", status="done"),
                entry("[1]", title="Result", parent_id="c", status="done"),
            ],
        ),
        (
            (stored(ToolCallPart("c", "find", "{}", "client")),),
            [entry("{}", title="find", id="c", status="pending")],
        ),
        (
            (stored(ToolResultPart("c", "no", is_error=True), role="tool"),),
            [entry("no", title="Error", parent_id="c", status="done")],
        ),
    ],
)
def test_answer_has_the_value_a_gradio_chat_would_give_it(messages: tuple[Message, ...], value: Any) -> None:
    assert answer_value(messages, BASE, is_open=False) == value


def test_reasoning_and_calls_at_the_end_of_an_open_answer_are_pending() -> None:
    parts = (ToolCallPart("c", "find", "{}", "server"), ReasoningPart("hm"))
    value = answer_value((stored(*parts),), BASE, is_open=True)
    assert [each["metadata"]["status"] for each in value] == ["pending", "pending"]


def test_data_that_looks_like_a_file_is_its_text_for_clients_would_download_it() -> None:
    data = {"a": [{"path": "/etc/passwd", "n": 1}], "path": 1}
    assert downloadless(data) == {"a": ['{"path":"/etc/passwd","n":1}'], "path": 1}
    titled = stored(TextPart("a"), metadata={"title": "T", "path": "/x", "log": {"path": "/y"}})
    assert answer_value((titled,), BASE, is_open=False) == [entry("a", title="T", log='{"path":"/y"}')]


# --- edits -----------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(JSON, JSON)
def test_edits_lead_from_any_value_to_any_other(old: Any, new: Any) -> None:
    edits = json.loads(json.dumps(compare(old, new)))
    assert same(apply(old, edits), new)
    assert bool(edits) != same(old, new)


@pytest.mark.parametrize(
    ("old", "new", "edits"),
    [
        ("ab", "abc", [("append", [], "c")]),
        ("ab", "b", [("replace", [], "b")]),
        ([1, 2, 3], [1], [("delete", [1], None), ("delete", [1], None)]),
        ([1], [1, 2], [("add", [1], 2)]),
        ([{"a": "x"}], [{"a": "xy", "b": 1}], [("append", [0, "a"], "y"), ("add", [0, "b"], 1)]),
        ({"a": 1, "b": 2}, {"b": 2}, [("delete", ["a"], None)]),
        (True, 1, [("replace", [], 1)]),
    ],
)
def test_edits_are_the_ones_gradio_makes(old: Any, new: Any, edits: list[Any]) -> None:
    assert compare(old, new) == edits


# --- the queue -------------------------------------------------------------------------------------------------------


def test_answer_is_told_whole_once_then_by_its_new_ends() -> None:
    client = QueueClient()
    told = client.take(*SAID, done(HELLO))
    generating = ["process_generating"] * 2
    assert told == ["estimation", "process_starts", *generating, "process_completed", "close_stream"]
    assert [each["output"]["data"] for each in client.messages[2:5]] == [["He"], [[["append", [], "llo"]]], ["Hello"]]
    assert client.messages[0] == {
        "msg": "estimation",
        "event_id": "t_1",
        "rank": 0,
        "queue_size": 1,
        "rank_eta": None,
    }
    assert client.last["success"] is True
    assert client.encoder.is_complete
    assert client.encoder.told == {"t_1"}


def test_turn_that_waits_tells_its_place_once() -> None:
    client = QueueClient()
    assert client.take(accepted("queued", position=3, eta_s=1.5), accepted()) == ["estimation", "process_starts"]
    assert client.messages[0] | {"msg": ""} == {
        "msg": "",
        "event_id": "t_1",
        "rank": 2,
        "queue_size": 3,
        "rank_eta": 1.5,
    }


def test_answer_that_was_never_in_pieces_is_iterated_over_too() -> None:
    client = QueueClient()
    told = client.take(accepted(), done())
    assert told[2:] == ["process_generating", "process_completed", "close_stream"]
    assert [each["output"]["data"] for each in client.messages[2:4]] == [[None], [None]]


def test_error_is_told_with_its_words_and_nothing_else_a_client_would_choke_on() -> None:
    client = QueueClient()
    error = TurnError("no_words", "no words left", "e_1")
    assert client.take(*SAID, Failed(error), done(HELLO, status="failed"))[-2:] == ["process_completed", "close_stream"]
    assert client.last["output"] == {"error": "no words left", "visible": True, "duration": 10, "title": "Error"}
    assert (client.last["success"], client.last["code"], client.last["error_id"]) == (False, "no_words", "e_1")


def test_stopped_answer_is_an_answer_and_an_interrupted_one_an_error() -> None:
    stopped, interrupted = QueueClient(), QueueClient()
    stopped.take(*SAID, done(HELLO, status="stopped"))
    assert (stopped.last["output"]["data"], stopped.last["success"]) == (["Hello"], True)
    interrupted.take(*SAID, done(HELLO, status="interrupted"))
    assert interrupted.last["output"]["error"] == "the answer was interrupted (stop)"


def test_status_is_progress() -> None:
    client = QueueClient()
    assert client.take(accepted(), StatusReported("searching", 1, 3))[-1] == "progress"
    unit = {"index": 1, "length": 3, "unit": "steps", "progress": None, "desc": "searching"}
    assert client.last["progress_data"] == [unit]


def test_stream_goes_on_until_all_that_joined_has_ended() -> None:
    waiting = ["t_1", "t_2"]
    client = QueueClient(waiting)
    assert client.take(*SAID, done(HELLO))[-1] == "process_completed"
    assert not client.encoder.is_complete
    waiting.append("t_3")
    assert client.take(accepted(turn_id="t_3"), done(turn_id="t_3"), turn_id="t_3")[-1] == "process_completed"
    assert client.take(accepted(turn_id="t_2"), done(turn_id="t_2"), turn_id="t_2")[-1] == "close_stream"
    assert client.take(accepted(turn_id="t_4"), Delta("a"), turn_id="t_4") == []
    assert client.encoder.told == {"t_1", "t_2", "t_3"}


def test_turn_that_joined_is_known_by_its_mark_before_the_inbox_knows_it() -> None:
    client = QueueClient(())
    joined = TurnAccepted(turn(echo={JOINED: True}), None, 1)
    assert client.take(joined, *SAID[1:], done(HELLO))[-1] == "close_stream"


def test_turns_of_others_in_the_session_are_not_told_of() -> None:
    client = QueueClient(["t_1"])
    others = (accepted(turn_id="t_2"), *SAID[1:], done(HELLO, turn_id="t_2"))
    assert client.take(*others, turn_id="t_2") == []
    assert client.take(HistoryChanged(2, "clear"), turn_id=None) == []
    assert client.take(*SAID, done(HELLO))[-1] == "close_stream"


def test_end_of_the_server_ends_all_that_waits() -> None:
    client = QueueClient(["t_1", "t_2"])
    client.take(*SAID)
    assert client.read(client.encoder.farewell()) == ["process_completed", "process_completed", "close_stream"]
    assert [each["event_id"] for each in client.messages[-3:]] == ["t_1", "t_2", None]
    assert client.last["success"] is False


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_turn_whose_log_is_gone_is_told_from_its_record(status: Any) -> None:
    error = TurnError("no", "no words", "e_1") if status == "failed" else None
    client = QueueClient()
    record = TurnRecord(turn(status, error=error), None, (HELLO,))
    told = client.read(ended_turn_frames(record, client.encoder, 0))
    assert told == ["process_generating", "process_completed"]
    assert client.encoder.is_complete
    assert client.last["output"].get("error") == (None if error is None else "no words")


def test_call_whose_log_is_gone_is_told_from_its_record() -> None:
    whole, failed = (CallEncoder(BASE), CallEncoder(BASE))
    told = ended_turn_frames(TurnRecord(turn("completed"), None, (HELLO,)), whole, 0)
    assert told == b'event: generating\ndata: ["Hello"]\n\nevent: complete\ndata: ["Hello"]\n\n'
    error = TurnError("no", "no words", "e_1")
    told = ended_turn_frames(TurnRecord(turn("failed", error=error), None, (HELLO,)), failed, 0)
    assert told.startswith(b'event: error\ndata: {"error":"no words"')


def test_failure_without_a_reason_is_no_answer() -> None:
    client = QueueClient()
    client.take(*SAID, done(HELLO, status="failed"))
    assert client.last["output"]["error"] == "the chat function failed"


def test_snapshot_in_the_middle_goes_on_from_there() -> None:
    client = QueueClient()
    assert client.take(Snapshot(turn("queued"), ())) == []
    assert client.take(Snapshot(turn(), (HELLO,)), Delta("!"), Snapshot(None, ())) == ["process_generating"] * 2
    assert client.values == {"t_1": "Hello!"}
    assert client.take(done(HELLO))[-1] == "close_stream"


def test_what_line_splitters_take_for_ends_is_escaped() -> None:
    client = QueueClient()
    client.take(accepted(), MessageOpened("m_1", "assistant"), Delta("a\u2028"), Delta("\u2029\x85\r\n\n"))
    assert client.values == {"t_1": "a\u2028\u2029\x85\r\n\n"}


def test_heartbeat_is_a_message_without_an_event() -> None:
    assert HEARTBEAT == b'data: {"msg":"heartbeat","event_id":null}\n\n'


# --- what waits ------------------------------------------------------------------------------------------------------


def test_inbox_goes_on_with_what_was_not_delivered() -> None:
    inbox = Inboxes().of("ann", "s")
    inbox.add("t1", 5)
    inbox.add("t2", 9)
    assert (inbox.cursor(), inbox.cursor(but={"t1"}), list(inbox)) == (4, 8, ["t1", "t2"])
    inbox.forget(["t1", "t0"])
    assert (inbox.cursor(), list(inbox), len(inbox), "t1" in inbox) == (8, ["t2"], 1, False)
    inbox.forget(["t2"])
    assert inbox.cursor() is None
    assert not inbox


def test_who_joins_right_after_a_streams_end_is_told_a_moment_later() -> None:
    inboxes = Inboxes()
    inbox = inboxes.of("ann", "s")
    inbox.add("t1", 5)
    assert inbox.rest_s(now=10.0) == 0
    inbox.close(["t1"], now=10.0)
    assert inbox.cursor() is None
    assert inbox.rest_s(now=10.0) == pytest.approx(REST_S)
    assert inbox.rest_s(now=10.0 + REST_S) == pytest.approx(0)
    assert inbox.rest_s(now=5.0) == pytest.approx(REST_S), "a clock that was set back makes nobody wait long"
    assert inboxes.of("bob", "s").rest_s(now=10.0) == 0
    for number in range(MAX_CLOSED):
        inboxes.of("", str(number)).close((), now=10.0)
    assert inbox.rest_s(now=10.0) == 0


def test_turn_that_joins_an_open_stream_speaks_after_its_join_is_answered() -> None:
    inbox = Inboxes().of("ann", "s")
    assert inbox.delay_s == 0, "no stream is open, so nothing comes too early"
    inbox.add("t1", 5)
    assert inbox.delay_s == HEAD_START_S
    inbox.close(["t1"], now=10.0)
    assert inbox.delay_s == 0


def test_inboxes_are_bounded() -> None:
    inboxes = Inboxes()
    for number in range(MAX_INBOXES + 1):
        inboxes.of("", str(number)).add("t", 1)
    assert inboxes.of("", "0").cursor() is None
    assert inboxes.of("", "1").cursor() == 0
    for number in range(MAX_TURNS + 1):
        inboxes.of("", "1").add(f"t{number}", number + 2)
    assert inboxes.of("", "1").cursor() == 2
    assert len(inboxes.of("", "1")) == MAX_TURNS


def test_refusals_wait_in_the_inbox_until_they_are_told() -> None:
    inbox = Inboxes().of("ann", "s")
    encoder = QueueEncoder(inbox, BASE)
    delivery = QueueDelivery(inbox, encoder)
    inbox.add_refusal("r1", TurnError("inputs_invalid", "no", ""), now=10.0)
    assert ("r1" in inbox, len(inbox)) == (True, 1)
    assert inbox.wait_s(now=10.0) == pytest.approx(HEAD_START_S)
    assert delivery.take(10.0) == b"", "its join may not have been answered yet"
    assert not encoder.is_complete
    assert b'"event_id":"r1","output":{"error":"no"' in delivery.take(10.0 + HEAD_START_S)
    assert (delivery.take(11.0), encoder.is_complete, list(inbox)) == (b"", True, ["r1"])
    delivery.complete(now=11.0)
    assert not inbox
    for number in range(MAX_TURNS + 1):
        inbox.add_refusal(f"r{number}", TurnError("inputs_invalid", "no", ""), now=10.0)
    assert len(inbox) == MAX_TURNS


def test_events_of_one_yield_are_one_value_and_a_list_stays_one() -> None:
    events: list[Event] = [MessageOpened("m_1", "assistant"), Delta("a"), MessageOpened("m_2", "assistant"), Delta("b")]
    last = len(events) - 1
    yielded = [
        YieldedEvent.of(place, "t_1", event, goes_on=place < last, is_list=True) for place, event in enumerate(events)
    ]
    for encoder in (QueueEncoder(("t_1",), BASE), CallEncoder(BASE)):
        encoder.encode(NumberedEvent(0, "t_1", accepted()))
        frames = [encoder.encode(event) for event in yielded]
        assert [bool(each) for each in frames] == [False, False, False, True]
    one = CallEncoder(BASE)
    told = [one.encode(YieldedEvent.of(1, "t_1", e, goes_on=not n, is_list=True)) for n, e in enumerate(events[:2])]
    assert told == [
        b"",
        b"event: generating\ndata: " + json.dumps([[entry("a")]], separators=(",", ":")).encode() + b"\n\n",
    ]


# --- whatever a function says ----------------------------------------------------------------------------------------


def check(spoken: Spoken) -> None:
    """See that both streams end with the answer, and that the edits lead there too."""
    answer = spoken.draft.messages()
    queue, call = QueueClient(), CallEncoder(BASE)
    events: list[Event] = [accepted(), *spoken.events]
    queue.take(*events)
    is_untold = isinstance(events[-1], MessageOpened) and not events[-1].metadata
    if not is_untold and answer:
        assert same(queue.values["t_1"], answer_value(answer, BASE, is_open=True))
    assert queue.take(done(*answer))[-2:] == ["process_completed", "close_stream"]
    whole = answer_value(answer, BASE, is_open=False)
    assert same(queue.last["output"]["data"], [whole])
    frames = b"".join(call.encode(NumberedEvent(1, "t_1", event)) for event in [*events, done(*answer)]).decode()
    assert frames.endswith(f"event: complete\ndata: {frames.rpartition('data: ')[2]}")
    assert same(json.loads(frames.rpartition("data: ")[2]), [whole])
    if not is_untold and answer:
        generating = [block for block in frames.split("\n\n") if block.startswith("event: generating")]
        assert same(json.loads(generating[-1].partition("data: ")[2]), [queue.values["t_1"]])


@settings(max_examples=150, deadline=None)
@given(message_snapshots())
def test_edits_lead_to_whatever_messages_a_function_yields(said: list[Any]) -> None:
    check(Spoken().say(*said).end())


@settings(max_examples=100, deadline=None)
@given(text_snapshots())
def test_edits_lead_to_whatever_text_a_function_yields(said: list[str]) -> None:
    check(Spoken().say(*said).end())


def test_answer_that_was_taken_back_whole_begins_anew() -> None:
    check(Spoken().say(snapshot("a"), snapshot(), snapshot("b")))
    check(Spoken().say(snapshot(ParsedMessage("assistant", ())), snapshot(), snapshot("b")))


def test_edits_lead_through_reasoning_calls_and_text_in_pieces() -> None:
    call = ToolCallOpened(ToolCallPart("c1", "find", "", "server"))
    reasoning = (ReasoningAppended("h"), ReasoningAppended("m"))
    check(Spoken().say(*reasoning, call, ToolArgumentsAppended("c1", "{}"), TextAppended("a"), TextAppended("b")))
    titled = ParsedMessage("assistant", (TextPart("a"),), {"title": "T", "status": "pending"})
    grown = ParsedMessage("assistant", (TextPart("a"),), {"title": "T", "status": "done"})
    check(
        Spoken().say(snapshot(titled), snapshot(grown), snapshot(grown, message("b")), snapshot(grown, message("bc")))
    )
