"""LangChain's ChatOpenAI over the Responses API, unmodified, over a real socket."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.libraries import require
from tests.support.server import Server, serve

langchain_openai = require("langchain_openai")
langchain_messages = require("langchain_core.messages")
langchain_tools = require("langchain_core.tools")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/responses_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
def model(server: Server) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key="any", model="assistant", use_responses_api=True
    )


def whole(chunks: Any) -> Any:
    added = next(chunks)
    for chunk in chunks:
        added += chunk
    return added


@langchain_tools.tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"fine in {city}"


def test_answer_comes_whole_and_streamed(model: Any) -> None:
    answer, streamed = model.invoke("say one two"), whole(model.stream("say one two"))
    assert answer.text == streamed.text == "one two"
    assert answer.usage_metadata["total_tokens"] == streamed.usage_metadata["total_tokens"] == 5
    assert answer.response_metadata["status"] == streamed.response_metadata["status"] == "completed"


def test_reasoning_sources_and_tools_of_the_server_are_blocks(model: Any) -> None:
    for question, expected in (
        ("think 42", ["reasoning", "text"]),
        ("lookup Paris", ["mcp_call", "text"]),
        ("cite rain", ["text"]),
    ):
        assert [block["type"] for block in model.invoke(question).content] == expected
        assert [block["type"] for block in whole(model.stream(question)).content] == expected


def test_model_calls_tools_and_gets_their_results(model: Any) -> None:
    question = langchain_messages.HumanMessage("call Oslo Rome")
    called = model.bind_tools([weather]).invoke([question])
    assert called.tool_calls == whole(model.bind_tools([weather]).stream([question])).tool_calls
    results = [weather.invoke(call) for call in called.tool_calls]
    answer = model.bind_tools([weather]).invoke([question, called, *results])
    assert answer.text == "The tools said: fine in Oslo, fine in Rome"


def test_conversation_goes_on_behind_the_previous_response(server: Server) -> None:
    model = langchain_openai.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key="any", model="assistant", use_previous_response_id=True
    )
    question = langchain_messages.HumanMessage("say a")
    answer = model.invoke([question])
    told = model.invoke([question, answer, langchain_messages.HumanMessage("history")])
    assert told.text == '[["user", "say a"], ["assistant", "a"]]'
