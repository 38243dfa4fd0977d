"""LangChain's ChatAnthropic, unmodified, talking to a served application."""

import json
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest

from tests.support.libraries import require
from tests.support.server import Server, serve

ChatAnthropic = require("langchain_anthropic").ChatAnthropic
HumanMessage = require("langchain_core.messages").HumanMessage


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/anthropic_app.py", "--store", "memory://") as server:
        yield server


@pytest.fixture
def model(server: Server) -> Any:
    return ChatAnthropic(model="assistant", base_url=server.url, api_key="unused", max_retries=2)


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sun in {city}"


def test_message_is_answered_with_its_usage(model: Any) -> None:
    message = model.invoke("say hello there")
    assert message.content == "hello there "
    assert message.usage_metadata["input_tokens"] == 12
    assert message.usage_metadata["output_tokens"] == 3
    assert message.response_metadata["stop_reason"] == "end_turn"


def test_stream_adds_up_to_the_message(model: Any) -> None:
    chunks = list(model.stream("say one two"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["one ", "two "]
    whole = reduce(add, chunks)
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (12, 3)
    assert whole.response_metadata["stop_reason"] == "end_turn"


def test_several_turns_with_instructions(model: Any) -> None:
    said = [("system", "Be brief."), ("user", "say hello"), ("assistant", "hello "), ("user", "history")]
    told = json.loads(model.invoke(said).content)
    assert told == [["system", "Be brief."], ["user", "say hello"], ["assistant", "hello "]]


@pytest.mark.parametrize("is_streamed", [True, False])
def test_tools_go_round(model: Any, is_streamed: bool) -> None:
    bound = model.bind_tools([weather])
    question = ("user", "call Paris Rome")
    asked = reduce(add, bound.stream([question])) if is_streamed else bound.invoke([question])
    calls = [(call["name"], call["args"]) for call in asked.tool_calls]
    assert calls == [("weather", {"city": "Paris"}), ("weather", {"city": "Rome"})]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": weather(**call["args"])} for call in asked.tool_calls
    ]
    answer = bound.invoke([question, asked, *results])
    assert answer.content == "The tools said: sun in Paris, sun in Rome"


@pytest.mark.parametrize("is_streamed", [True, False])
def test_thoughts_are_reasoning(server: Server, is_streamed: bool) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    model = ChatAnthropic(model="assistant", base_url=server.url, api_key="unused", thinking=thinking)
    asked = "think of three words"
    message = reduce(add, model.stream(asked)) if is_streamed else model.invoke(asked)
    reasoning, text = message.content_blocks
    assert (reasoning["reasoning"], text["text"]) == ("Counting\nso many words", "3 words")
    told = json.loads(model.invoke([("user", asked), message, ("user", "history")]).content)
    assert told == [["user", asked], ["assistant", "3 words"]]


def test_failure_is_raised_and_ran_once(model: Any) -> None:
    with pytest.raises(require("anthropic").InternalServerError, match="closed"):
        model.invoke("fail now 500")
    assert json.loads(model.invoke("runs fail now 500").content) == [1, 1]


def test_tokens_are_counted(model: Any) -> None:
    assert model.get_num_tokens_from_messages([HumanMessage("x" * 40)]) == 14
