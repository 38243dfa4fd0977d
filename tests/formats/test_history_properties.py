"""Laws every history format keeps."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.contracts.formats import HistoryFormat, RenderOptions
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import Message
from chatserve.formats.history import HISTORY_FORMATS
from tests.formats.conversations import MULTIMODAL, TEXT_ONLY, turns

FORMATS = pytest.mark.parametrize("form", HISTORY_FORMATS.values(), ids=HISTORY_FORMATS.keys())
OPTIONS = pytest.mark.parametrize("options", [TEXT_ONLY, MULTIMODAL], ids=["text only", "multimodal"])


def flat(conversation: list[list[Message]]) -> list[Message]:
    return [message for turn in conversation for message in turn]


@FORMATS
@OPTIONS
@given(conversation=turns(), place=st.integers(0, 4))
def test_history_rendered_in_two_pieces_is_the_history(
    form: HistoryFormat, options: RenderOptions, conversation: list[list[Message]], place: int
):
    before, after = flat(conversation[:place]), flat(conversation[place:])
    assert form.render(before, options) + form.render(after, options) == form.render(before + after, options)


@FORMATS
@OPTIONS
@given(conversation=turns())
def test_copy_is_equal_and_shares_nothing_that_can_change(
    form: HistoryFormat, options: RenderOptions, conversation: list[list[Message]]
):
    entries = form.render(flat(conversation), options)
    before = deepcopy(entries)
    copied = form.copy(entries)
    assert copied == entries
    _spoil(copied)
    assert entries == before


@FORMATS
@OPTIONS
@given(conversation=turns())
def test_rendering_leaves_what_is_stored_alone(
    form: HistoryFormat, options: RenderOptions, conversation: list[list[Message]]
):
    messages = flat(conversation)
    before = deepcopy(messages)
    _spoil(form.render(messages, options))
    assert messages == before


@pytest.mark.parametrize("form", [HISTORY_FORMATS["messages"], HISTORY_FORMATS["tuples"]], ids=["messages", "tuples"])
@given(conversation=turns())
def test_text_content_is_always_text(form: HistoryFormat, conversation: list[list[Message]]):
    for entry in form.render(flat(conversation), TEXT_ONLY):
        sides = [entry["content"]] if isinstance(entry, dict) else [side for side in entry if side is not None]
        assert all(type(side) is str for side in sides)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["user", "text", "file", "reasoning"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "file_id", "path", "metadata", "tool_calls"]), inner
        )
    ),
    max_leaves=10,
)


@FORMATS
@given(history=st.lists(json_values, max_size=3))
def test_any_json_from_outside_is_read_or_refused_and_never_another_error(form: HistoryFormat, history: Any):
    try:
        parsed = form.parse(history)
    except InputsInvalid:
        return
    assert all(isinstance(message.content, tuple) for message in parsed)


def _spoil(value: Any) -> None:
    """Change everything that can be changed, depth first."""
    if isinstance(value, dict):
        for item in value.values():
            _spoil(item)
        value["spoilt"] = True
    elif isinstance(value, list):
        for item in value:
            _spoil(item)
        value.append("spoilt")
