"""What a chat function is told of a branch can be handed to a model as it is."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatserve.core.types import (
    FinalStatus,
    HistoryIncludes,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.engine.sessions.histories import HistoryShape
from chatserve.formats.history import HISTORY_FORMATS
from tests.formats.conversations import IMAGE, TEXT_ONLY, assistant, message, user

C1, C2 = ToolCallPart("c1", "add", '{"a":1}', "client"), ToolCallPart("c2", "add", "{}", "server")
HALF = ToolCallPart("c1", "add", '{"a":', "server")
R1, R2 = ToolResultPart("c1", "one"), ToolResultPart("c2", "two")
HM, THOUGHT = ReasoningPart("hm"), {"title": "Search"}
STOPPED: FinalStatus = "stopped"


def shape(name: str = "messages", limit: int | None = None, includes: HistoryIncludes = "answered") -> HistoryShape:
    return HistoryShape(name, HISTORY_FORMATS[name], TEXT_ONLY, limit, includes)


def results(*parts: Part, turn_id: str | None = "t_2", **fields: Any) -> Message:
    return message("tool", *parts, turn_id=turn_id, **fields)


def short(entries: Sequence[Any]) -> list[str]:
    """Write entries short: `u:` a user's text, `a:` the assistant's and [its calls], `t:` the id of a result."""
    return [
        f"t:{entry['tool_call_id']}"
        if entry["role"] == "tool"
        else f"{entry['role'][0]}:{entry['content']}"
        + "".join(f"[{call['id']}]" for call in entry.get("tool_calls", ()))
        for entry in entries
    ]


TOLD: dict[str, tuple[list[Message], list[str]]] = {
    "completed": ([user("x"), assistant("y")], ["u:x", "a:y"]),
    "completed in silence": ([user("x")], ["u:x"]),
    "completed with an empty answer": ([user("x"), assistant("")], ["u:x", "a:"]),
    "failed before the first word": ([user("x", status="failed"), user("y"), assistant("z")], ["u:y", "a:z"]),
    "stopped before the first word": ([user("x", status="stopped")], []),
    "interrupted after some words": ([user("x"), assistant("y", status="interrupted")], ["u:x", "a:y"]),
    "stopped with an empty answer": ([user("x"), assistant("", status=STOPPED)], []),
    "stopped while reasoning": ([user("x"), assistant(HM, status=STOPPED)], []),
    "stopped after a thought": ([user("x"), assistant("hm", metadata=THOUGHT, status=STOPPED)], []),
    "stopped after a file": ([user("x"), assistant(IMAGE, status=STOPPED)], ["u:x", "a:cat.png"]),
    "failed, then retried": ([user("x", status="failed"), assistant("y", turn_id="t_2")], ["u:x", "a:y"]),
    "a client's own history": ([user("x", turn_id=None), user("y", turn_id=None)], ["u:x", "u:y"]),
    "a greeting": ([assistant("hi", turn_id=None), user("x", status="failed")], ["a:hi"]),
    "stopped in mid-arguments": ([user("x"), assistant(HALF, status=STOPPED), user("y")], ["u:y"]),
    "stopped in mid-arguments after words": ([user("x"), assistant("y", HALF, status=STOPPED)], ["u:x", "a:y"]),
    "half arguments with a result": ([user("x"), assistant(HALF, R1, "y")], ["u:x", "a:y"]),
    "no arguments": ([assistant(ToolCallPart("c1", "now", "", "server"), R1)], ["a:[c1]", "t:c1"]),
    "a custom tool's text": ([assistant(ToolCallPart("c1", "run", "ls", "server", "custom"), R1)], ["a:[c1]", "t:c1"]),
    "a server's tool": ([user("x"), assistant("a", C2, R2, "b")], ["u:x", "a:a[c2]", "t:c2", "a:b"]),
    "a call nobody answered": ([user("x"), assistant(C1), user("y")], ["u:x", "u:y"]),
    "a call answered by the next turn": ([user("x"), assistant(C1), results(R1), assistant("z")],
                                         ["u:x", "a:[c1]", "t:c1", "a:z"]),
    "results without an answer": ([user("x"), assistant(C1), results(R1, status="failed"), user("y")],
                                  ["u:x", "a:[c1]", "t:c1", "u:y"]),
    "one of two answered": ([user("x"), assistant(C1, C2), results(R2)], ["u:x", "a:[c2]", "t:c2"]),
    "answered too late": ([user("x"), assistant(C1), user("y"), assistant("z"), results(R1)], ["u:x", "u:y", "a:z"]),
    "a result without a call": ([results(R1), assistant("z")], ["a:z"]),
    "a tool's words without an id": ([user("x"), message("tool", "words"), assistant("z")], ["u:x", "a:z"]),
    "an id a second time": ([assistant(C1, R1, C1, R1)], ["a:[c1]", "t:c1", "a:[c1]", "t:c1"]),
    "a result twice": ([assistant(C1, R1, R1, "y")], ["a:[c1]", "t:c1", "a:y"]),
    "a result after words": ([assistant(C1, C2), results(R1), assistant("y", turn_id="t_1"), results(R2)],
                             ["a:[c1]", "t:c1", "a:y"]),
    "a result after words of its turn": ([assistant(C1, C2, R1, "y", R2)], ["a:[c1][c2]", "t:c1", "t:c2", "a:y"]),
    "a thought between call and result": (
        [user("x"), assistant(C2), assistant("hm", metadata=THOUGHT), assistant(R2, "y")],
        ["u:x", "a:[c2]", "t:c2", "a:hm", "a:y"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("branch", "told"), TOLD.values(), ids=TOLD.keys())
def test_function_is_told_what_a_model_can_take(branch: list[Message], told: list[str]):
    assert short(shape().render(branch)) == told


def test_all_of_a_branch_is_told_on_demand():
    branch = [user("x", status="failed"), user("y"), assistant(HALF, status=STOPPED), results(R2)]
    assert short(shape(includes="all").render(branch)) == ["u:x", "u:y", "a:[c1]", "t:c2"]


LIMITED = {0: [], 1: ["a:z"], 2: ["a:z"], 3: ["a:[c1]", "t:c1", "a:z"], 9: ["u:x", "a:[c1]", "t:c1", "a:z"]}


@pytest.mark.parametrize(("limit", "told"), LIMITED.items(), ids=map(str, LIMITED))
def test_limit_leaves_no_result_without_its_call(limit: int, told: list[str]):
    limited = shape(limit=limit)
    branch = [user("w", status="failed"), user("x"), assistant(C1), results(R1), assistant("z")]
    assert short(limited.last(limited.render(branch))) == told


PROPERTY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- any branch --------------------------------------------------------------------------------------------------

_PARTS: Any = st.sampled_from(
    [TextPart("a"), TextPart(""), HM, IMAGE, C1, C2, HALF, R1, R2, ToolCallPart("c3", "now", "", "server")]
)
_STATUS: Any = st.sampled_from([None, None, "failed", "stopped", "interrupted"])


@st.composite
def branches(draw: st.DrawFn, turns: str = "t") -> list[Message]:
    branch: list[Message] = []
    for number in range(draw(st.integers(0, 4))):
        turn_id, status = draw(st.sampled_from([f"{turns}_{number}", None])), draw(_STATUS)
        answer = draw(
            st.lists(st.tuples(st.sampled_from(["assistant", "assistant", "tool"]), st.lists(_PARTS)), max_size=3)
        )
        prompt: Role = draw(st.sampled_from(["user", "user", "tool"]))
        words = [draw(st.sampled_from([R1, R2]))] if prompt == "tool" else ["x"]
        branch.append(message(prompt, *words, turn_id=turn_id, status=None if answer else status))
        branch += [
            message(role, *parts, turn_id=turn_id, status=status, metadata=draw(st.sampled_from([None, None, THOUGHT])))
            for role, parts in answer
        ]
    return branch


def check_messages(entries: Sequence[Any]) -> None:
    """Check messages by the rules of OpenAI's Chat Completions and their strict followers."""
    awaited: set[str] = set()
    for entry in entries:
        role, calls = entry["role"], entry.get("tool_calls", [])
        assert role in ("user", "assistant", "system", "tool")
        assert isinstance(entry["content"], str)
        if role == "tool":
            assert entry["tool_call_id"] in awaited, "a result without a call"
            awaited.discard(entry["tool_call_id"])
            continue
        assert not awaited, "a call without a result"
        assert "tool_calls" not in entry or (role == "assistant" and calls)
        for call in calls:
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
        awaited = {call["id"] for call in calls}
        assert len(awaited) == len(calls), "an id twice in one message"
    assert not awaited, "a call without a result"


def as_messages(name: str, entries: Sequence[Any]) -> list[Any]:
    """Make messages for a model of a history, as the guides of each format do."""
    match name:
        case "tuples":
            sides = [zip(("user", "assistant"), pair, strict=True) for pair in entries]
            return [{"role": role, "content": side} for pair in sides for role, side in pair if side is not None]
        case "gradio5":
            return [
                {"role": entry["role"], "content": entry["content"]}
                for entry in entries
                if type(entry["content"]) is str
            ]
        case "gradio6":
            texts = [[part["text"] for part in entry["content"] if part["type"] == "text"] for entry in entries]
            return [
                {"role": entry["role"], "content": "".join(text)} for entry, text in zip(entries, texts, strict=True)
            ]
        case _:
            return list(entries)


@pytest.mark.parametrize("name", HISTORY_FORMATS)
@PROPERTY
@given(branch=branches())
def test_any_branch_is_told_as_a_model_can_take_it(name: str, branch: list[Message]):
    check_messages(as_messages(name, shape(name).render(branch)))


@pytest.mark.parametrize("name", HISTORY_FORMATS)
@PROPERTY
@given(branch=branches(), more=branches("u"))
def test_what_is_settled_is_told_the_same_whatever_follows(name: str, branch: list[Message], more: list[Message]):
    form = shape(name)
    count = form.settled(branch)
    assert form.render(branch[:count]) + form.render([*branch[count:], *more]) == form.render([*branch, *more])
