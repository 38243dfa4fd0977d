"""A long history behaves as a list of its own, and what is done to it never reaches what is kept."""

import copy
import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.engine.sessions.long_history import LongHistory
from chatserve.formats.history import HISTORY_FORMATS


def kept(count: int = 6) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": str(number)}]} for number in range(count)]


def long_history(entries: list[Any]) -> LongHistory:
    return LongHistory(entries, HISTORY_FORMATS["messages"].copy)


LET_OUT: dict[str, Callable[[Any], Any]] = {
    "index": lambda h: [h[0]],
    "negative index": lambda h: [h[-1]],
    "slice": lambda h: h[1:4],
    "step": lambda h: h[::2],
    "iterate": lambda h: iterated(h),
    "list": list,
    "tuple": tuple,
    "unpack": lambda h: [*h],
    "star target": lambda h: (lambda first, *rest: [first, *rest])(*h),
    "plus": lambda h: operator.add(h, [{"role": "user", "content": "new"}]),
    "plus from the left": lambda h: operator.add([{"role": "system", "content": "first"}], h),
    "in-place plus": lambda h: extended(h),
    "times": lambda h: h * 2,
    "pop": lambda h: [h.pop(), h.pop(0)],
    "copy": lambda h: h.copy(),
    "copy.copy": copy.copy,
    "reversed": lambda h: list(reversed(h)),
    "sorted": lambda h: sorted(h, key=str),
    "sort": lambda h: sorted_in_place(h),
    "filter": lambda h: list(filter(None, h)),
    "zip": lambda h: [pair[0] for pair in zip(h, h, strict=True)],
    "after append": lambda h: [h.append({"role": "user", "content": "new"}), *h][1:],
    "after insert": lambda h: [h.insert(0, {"role": "user", "content": "new"}), h[1]][1:],
    "after delete": lambda h: [h.__delitem__(0), h[0]][1:],
    "after an index and an iteration": lambda h: [h[2], *h],
}


def extended(history: LongHistory) -> list[Any]:
    messages: list[Any] = []
    messages += history
    messages.extend(history)
    return messages


def sorted_in_place(history: LongHistory) -> list[Any]:
    history.sort(key=str)
    return iterated(history)


def iterated(history: list[Any]) -> list[Any]:
    entries = []
    for entry in history:
        entries.append(entry)
    return entries


@pytest.mark.parametrize("way", LET_OUT)
def test_an_entry_that_got_out_is_a_copy(way: str) -> None:
    entries = kept()
    for entry in LET_OUT[way](long_history(entries)):
        entry["role"] = "changed"
        if isinstance(entry["content"], list):
            entry["content"][0]["text"] = "changed"
    assert entries == kept()


@pytest.mark.parametrize("way", LET_OUT)
def test_it_gives_what_a_list_gives(way: str) -> None:
    assert LET_OUT[way](long_history(kept())) == LET_OUT[way](kept())


def test_an_entry_stays_the_same_object_once_it_was_touched() -> None:
    history = long_history(kept())
    history[1]["content"] = "changed"
    assert history[1]["content"] == "changed"
    assert [entry["content"] for entry in history][1] == "changed"
    assert history[1] is history[1]


def test_code_that_reads_without_asking_sees_every_entry() -> None:
    history = long_history(kept())
    assert json.loads(json.dumps(history)) == kept()
    assert history == kept()
    assert len(history) == 6
    assert isinstance(history, list)


def test_a_deep_copy_is_a_plain_list() -> None:
    copied = copy.deepcopy(long_history(kept()))
    assert type(copied) is list
    assert copied == kept()


def test_an_index_out_of_range_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        long_history(kept())[6]


Operation = tuple[str, int]


@given(
    st.lists(st.tuples(st.sampled_from(["get", "set", "del", "pop", "insert", "append", "slice"]), st.integers(-8, 8)))
)
def test_any_sequence_of_operations_does_what_it_does_to_a_list(operations: list[Operation]) -> None:
    entries = kept()
    history, plain = long_history(entries), kept()
    for name, number in operations:
        assert operate(history, name, number) == operate(plain, name, number)
        assert list.__eq__(history, plain)
    assert entries == kept()


def operate(target: list[Any], name: str, number: int) -> Any:
    try:
        match name:
            case "get":
                target[number]["role"] = f"changed {number}"
            case "set":
                target[number] = {"role": "user", "content": "set"}
            case "del":
                del target[number]
            case "pop":
                return target.pop(number)
            case "insert":
                target.insert(number, {"role": "user", "content": "inserted"})
            case "append":
                target.append({"role": "user", "content": "appended"})
            case "slice":
                return [entry.update(role="sliced") or entry for entry in target[number:]]
    except IndexError as error:
        return type(error)
    return None
