"""What answers can be: a chat function for every event of the grammar, and for every way a turn can end.

The table of the golden transcripts (`tests.formats.golden`). A function lets the loop turn after each thing it says, so
that what it says is what the log has, event by event.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from chatserve import ChatContext, ChatError, ChatMessage, File

PNG = bytes.fromhex("89504e470d0a1a0a")
WEATHER = {"type": "tool_call", "tool_call_id": "call_1", "name": "weather"}


@dataclass(frozen=True)
class Scenario:
    """One answer. `says` is what a reader of its transcript should see; `ends`, what ends it, once it is begun."""

    name: str
    says: str
    answer: Callable[..., Any]
    ends: Literal["itself", "stop", "shutdown", "farewell"] = "itself"
    settings: dict[str, Any] = field(default_factory=dict)


def yields(*values: Any) -> Callable[..., AsyncIterator[Any]]:
    """Return a chat function that yields these values, and raises those that are errors."""

    async def answer(message: str, history: list[Any]) -> AsyncIterator[Any]:
        for value in values:
            if isinstance(value, Exception):
                raise value
            yield copy.deepcopy(value)
            await asyncio.sleep(0)

    return answer


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return a piece of an answer as a model's API streams it."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}


def call_piece(index: int, arguments: str, **head: str) -> dict[str, Any]:
    """Return a piece of a tool call in such an answer."""
    function = {"name": head["name"], "arguments": arguments} if "name" in head else {"arguments": arguments}
    return chunk(tool_calls=[{"index": index, "id": head.get("id"), "type": "function", "function": function}])


async def reports(message: str, history: list[Any], context: ChatContext) -> AsyncIterator[str]:
    context.status("searching")
    context.progress(1, 3, "reading")
    await asyncio.sleep(0)
    yield "Found it."
    context.usage(input_tokens=12, output_tokens=3)


async def waits(message: str, history: list[Any]) -> AsyncIterator[str]:
    yield "So far"
    await asyncio.Event().wait()


async def waits_in_a_call(message: str, history: list[Any]) -> AsyncIterator[dict[str, Any]]:
    yield call_piece(0, '{"city": "Par', id="call_1", name="weather")
    await asyncio.Event().wait()


def says_nothing(message: str, history: list[Any]) -> None:
    return None


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def thought(content: str, status: str = "pending") -> ChatMessage:
    return ChatMessage(content, metadata={"title": "Weighing", "id": "1", "status": status})


def parts(*content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content), **more}


SCENARIOS = (
    Scenario("deltas", "text that grows", yields("Hel", "Hello, ", "Hello, world.")),
    Scenario("replaced", "text that is replaced by another", yields("Tea?", "Tea? Yes.", "Coffee?")),
    Scenario(
        "reasoning",
        "reasoning, then the answer",
        yields(chunk(reasoning_content="Let me "), chunk(reasoning_content="think."), chunk(content="42")),
    ),
    Scenario(
        "reasoning_resumed",
        "reasoning between words",
        yields(chunk(content="First. "), chunk(reasoning_content="Hm."), chunk(content="Second.")),
    ),
    Scenario(
        "thought",
        "a thought with a title that grows, and then the answer",
        yields(
            [thought("On the one hand")],
            [thought("On the one hand, and on the other", "done")],
            [thought("On the one hand, and on the other", "done"), "Both."],
        ),
    ),
    Scenario("messages", "an answer of several messages", yields(["One."], ["One.", "Two."], ["One.", "Two. Three."])),
    Scenario(
        "earlier_replaced",
        "the first of two messages changes while the second is open",
        yields(["One.", "Two."], ["One and a half.", "Two."], ["One and a half.", "Two. Three."]),
    ),
    Scenario(
        "taken_back",
        "a message that was said is taken back: a snapshot in the midst of a turn",
        yields(["One.", "Two."], ["One."], ["One. Only."]),
    ),
    Scenario(
        "metadata",
        "options to choose from, and metadata that changes",
        yields(
            ChatMessage("Shall I?", metadata={"mood": "open"}),
            ChatMessage("Shall I?", metadata={"mood": "done"}, options=[{"value": "yes", "label": "Yes!"}]),
        ),
    ),
    Scenario("status", "reports of progress and usage beside the answer", reports),
    Scenario(
        "files",
        "a picture and a text beside words",
        yields(
            [
                "Look:",
                File(PNG, name="a [b].png", media_type="image/png"),
                File(b"notes", name="notes.txt", media_type="text/plain"),
                "There.",
            ]
        ),
    ),
    Scenario("data", "a value that is no text", yields({"celsius": 21, "sky": ["clear", None]})),
    Scenario(
        "sources",
        "an answer that tells its sources",
        yields(parts(text("It rains."), {"type": "source", "url": "https://a.example/rain", "title": "Rain"})),
    ),
    Scenario(
        "server_tool",
        "a tool that ran on the server, and its result, between words",
        yields(
            parts(text("Let me look. ")),
            parts(
                text("Let me look. "),
                WEATHER | {"arguments": '{"city": "Paris"}', "where": "server"},
                {"type": "tool_result", "tool_call_id": "call_1", "output": {"celsius": 21}},
                text("21 degrees."),
            ),
        ),
    ),
    Scenario(
        "client_tool",
        "a call of the client's tool whose arguments stream",
        yields(
            chunk(content="I ask."),
            call_piece(0, "", id="call_1", name="weather"),
            call_piece(0, '{"city": '),
            call_piece(0, '"Paris"}'),
            chunk("tool_calls"),
        ),
    ),
    Scenario(
        "parallel_tools",
        "two calls of the client's tools whose arguments come in turns",
        yields(
            call_piece(0, '{"city": ', id="call_1", name="weather"),
            call_piece(1, '{"zone": ', id="call_2", name="time"),
            call_piece(0, '"Paris"}'),
            call_piece(1, '"CET"}'),
            chunk("tool_calls"),
        ),
    ),
    Scenario(
        "tool_without_arguments",
        "a call without arguments",
        yields(call_piece(0, "", id="call_1", name="now"), chunk("tool_calls")),
    ),
    Scenario(
        "other_roles", "a message that is not the assistant's", yields([ChatMessage("Rules.", "system"), "Fine."])
    ),
    Scenario("too_long", "an answer cut at its longest", yields(chunk(content="And so"), chunk("length"))),
    Scenario("filtered", "an answer a filter ended", yields(chunk(content="I"), chunk("content_filter"))),
    Scenario("empty", "no answer at all", says_nothing),
    Scenario(
        "line_ends",
        "characters that some take for line ends, an emoji, half a character",
        yields(
            "a\u2028b",
            "a\u2028b\u2029c\u0085d\u2028",
            "a\u2028b\u2029c\u0085d\u2028\r\ne \N{GRINNING FACE} data: \ud83d",
        ),
    ),
    Scenario("failed_at_once", "a function that fails before it says anything", yields(ZeroDivisionError("secret"))),
    Scenario("failed", "a function that fails after some words", yields("So far", ZeroDivisionError("secret"))),
    Scenario(
        "chat_error",
        "an error for the client to see",
        yields("So far", ChatError("The library is closed.", code="closed", status_code=409)),
    ),
    Scenario("stopped", "a turn that somebody stops", waits, "stop"),
    Scenario("stopped_in_a_call", "a turn that is stopped within a call's arguments", waits_in_a_call, "stop"),
    Scenario("timed_out", "a turn that takes too long", waits, settings={"turn_timeout_s": 0.02}),
    Scenario("interrupted", "a turn that the server's end interrupts", waits, "shutdown"),
    Scenario("farewell", "a stream that the server leaves while its turn goes on", waits, "farewell"),
)
