"""Stored messages, written short, and turns of them drawn by hypothesis."""

from typing import Any

from hypothesis import strategies as st

from chatserve.contracts.formats import RenderOptions
from chatserve.core.types import (
    DataPart,
    FilePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

TEXT_ONLY = RenderOptions(multimodal=False, path_of=lambda file: f"/files/{file.file_id}")
MULTIMODAL = RenderOptions(multimodal=True, path_of=lambda file: f"/files/{file.file_id}")

IMAGE = FilePart("f_1", "cat.png", "image/png", 3)
CALL = ToolCallPart("c1", "add", '{"a":1}', "client")
RESULT = ToolResultPart("c1", {"sum": 2})


def message(role: Role, *parts: Part | str, turn_id: str | None = "t_1", **fields: Any) -> Message:
    """Return a stored message; a str stands for a text part."""
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message("m_1", role, content, 0.0, turn_id=turn_id, **fields)


def user(*parts: Part | str, **fields: Any) -> Message:
    """Return a user's message."""
    return message("user", *parts, **fields)


def assistant(*parts: Part | str, **fields: Any) -> Message:
    """Return an assistant's message."""
    return message("assistant", *parts, **fields)


_parts: st.SearchStrategy[Part] = st.sampled_from(
    [
        TextPart("a"),
        TextPart(""),
        ReasoningPart("r"),
        IMAGE,
        DataPart([1]),
        SourcePart("https://a.example"),
        CALL,
        RESULT,
    ]
)
_contents = st.lists(_parts, max_size=4).map(tuple)
_metadata = st.none() | st.sampled_from([{"title": "thought", "log": ["x"]}, {"own": {"deep": [1]}}])
_options = st.none() | st.just(({"value": ["yes"]},))


@st.composite
def turns(draw: st.DrawFn) -> list[list[Message]]:
    """Draw a conversation as a list of turns; a turn begins with the user's message or with results of tools."""
    conversation = []
    for number in range(draw(st.integers(0, 4))):
        turn_id = f"t_{number}"
        roles: list[Role] = [draw(st.sampled_from(["user", "user", "tool"]))]
        roles += draw(st.lists(st.sampled_from(["assistant", "assistant", "tool", "system"]), max_size=4))
        conversation.append(
            [
                message(role, *draw(_contents), turn_id=turn_id, metadata=draw(_metadata), options=draw(_options))
                for role in roles
            ]
        )
    return conversation
