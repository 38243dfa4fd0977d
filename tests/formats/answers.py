"""Short words for the tests of output normalizers."""

from collections.abc import Iterable
from typing import Any

from chatserve.answers.draft import MessageDraft
from chatserve.contracts.formats import (
    AnswerFinished,
    AnswerSnapshot,
    AnswerView,
    Output,
    ParsedMessage,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
    ToolCallOpened,
)
from chatserve.core.types import Message, TextPart, Turn
from chatserve.formats.output import AnswerNormalizer

SNAPSHOTS = AnswerView((), "hi", "snapshots")
DELTAS = AnswerView((), "hi", "deltas")


def normalize(value: Any, view: AnswerView = SNAPSHOTS) -> list[Output]:
    """Return what one value means."""
    return list(AnswerNormalizer().normalize(value, view))


def normalize_all(values: Iterable[Any], view: AnswerView = SNAPSHOTS) -> list[Output]:
    """Return what the values of one turn mean, one after the other."""
    normalizer = AnswerNormalizer()
    return [output for value in values for output in normalizer.normalize(value, view)]


def snapshot(*messages: ParsedMessage) -> list[Output]:
    """Return the output that says: the answer is these messages."""
    return [AnswerSnapshot(messages)]


def said(text: str) -> ParsedMessage:
    """Return an assistant's message of text."""
    return ParsedMessage("assistant", (TextPart(text),))


def text_of(outputs: Iterable[Output]) -> str:
    """Return the text the outputs append."""
    return "".join(output.text for output in outputs if isinstance(output, TextAppended))


def reasoning_of(outputs: Iterable[Output]) -> str:
    """Return the reasoning the outputs append."""
    return "".join(output.text for output in outputs if isinstance(output, ReasoningAppended))


def calls_of(outputs: Iterable[Output]) -> dict[str, tuple[str, str, str]]:
    """Return the tool calls the outputs amount to: id to name, arguments, and who runs them."""
    calls: dict[str, tuple[str, str, str]] = {}
    for output in outputs:
        if isinstance(output, ToolCallOpened):
            assert output.call.tool_call_id not in calls
            calls[output.call.tool_call_id] = (output.call.name, output.call.arguments, output.call.where)
        elif isinstance(output, ToolArgumentsAppended):
            name, arguments, where = calls[output.tool_call_id]
            calls[output.tool_call_id] = (name, arguments + output.text, where)
    return calls


def end_of(outputs: Iterable[Output]) -> tuple[str | None, Any]:
    """Return finish reason and usage as the draft keeps them: the last that is known."""
    reason, usage = None, None
    for output in outputs:
        if isinstance(output, AnswerFinished):
            reason, usage = output.finish_reason or reason, output.usage or usage
    return reason, usage


def answer_of(outputs: Iterable[Output]) -> tuple[Message, ...]:
    """Return the messages the draft makes of the outputs."""
    turn = Turn("t_1", "s_1", "chat", "running", None, 0.0)
    numbers = iter(range(1000))
    draft = MessageDraft(turn, new_message_id=lambda: f"m_{next(numbers)}", clock=lambda: 0.0, max_bytes=1 << 20)
    for output in outputs:
        draft.apply(output)
    return draft.messages()
