"""pydantic-ai's OpenAI models, unmodified, over a real socket: agents with tools, streams and typed results.

Each test has both: the one that speaks Chat Completions, and the one that speaks Responses.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.libraries import require
from tests.support.server import Server, serve

openai = require("openai")
pydantic_ai = require("pydantic_ai")
openai_models = require("pydantic_ai.models.openai")
openai_provider = require("pydantic_ai.providers.openai")


@dataclass(frozen=True)
class Protocol:
    """A protocol: what serves it, the model that speaks it, what is said there to `say one two`, and to `runs`."""

    app: str
    model: Any
    words: list[str]
    one_run: str


PROTOCOLS = {
    "completions": Protocol("openai_app", openai_models.OpenAIChatModel, ["one ", "two "], '{"runs": 1, "stopped": 0}'),
    "responses": Protocol("responses_app", openai_models.OpenAIResponsesModel, ["one", " two"], "1"),
}


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


@pytest.fixture(scope="module")
def server(protocol: Protocol) -> Iterator[Server]:
    with serve(f"tests/clients/{protocol.app}.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
async def model(protocol: Protocol, server: Server) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        yield protocol.model("assistant", provider=openai_provider.OpenAIProvider(openai_client=client))


async def test_agent_goes_on_with_the_history_it_has(protocol: Protocol, model: Any) -> None:
    said = "".join(protocol.words)
    agent = pydantic_ai.Agent(model, instructions="be brief")
    first = await agent.run("say one two")
    assert (first.output, first.usage.output_tokens) == (said, 2)
    second = await agent.run("history", message_history=first.all_messages())
    assert json.loads(second.output) == [["system", "be brief"], ["user", "say one two"], ["assistant", said]]


async def test_agent_streams_each_word(protocol: Protocol, model: Any) -> None:
    async with pydantic_ai.Agent(model).run_stream("say one two") as streamed:
        words = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
    assert words == protocol.words


async def test_agent_runs_tools_of_its_own(model: Any) -> None:
    agent = pydantic_ai.Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"fine in {city}"

    assert (await agent.run("call Oslo Rome")).output == "The tools said: fine in Oslo, fine in Rome"
    async with agent.run_stream("call Oslo Rome") as streamed:
        assert await streamed.get_output() == "The tools said: fine in Oslo, fine in Rome"


async def test_reasoning_is_a_part_of_its_own(model: Any) -> None:
    answer = (await pydantic_ai.Agent(model).run("think so")).response
    assert [(part.part_kind, part.content) for part in answer.parts] == [("thinking", "Hm, so."), ("text", "so")]


@pytest.mark.parametrize("protocol", ["responses"], indirect=True)
async def test_tools_of_the_server_are_parts_of_a_response(model: Any) -> None:
    used = (await pydantic_ai.Agent(model).run("lookup Paris")).response.parts
    assert (used[1].part_kind, used[1].content["output"], used[2].content) == (
        "builtin-tool-return",
        "21 degrees",
        "It is warm.",
    )


async def test_typed_result_is_read_from_data(model: Any) -> None:
    class Verdict(BaseModel):
        verdict: str
        weight: int

    agent = pydantic_ai.Agent(model, output_type=pydantic_ai.PromptedOutput(Verdict))
    assert (await agent.run("weigh tea")).output == Verdict(verdict="tea", weight=3)


async def test_failure_is_raised_and_the_function_was_run_once(protocol: Protocol, model: Any, server: Server) -> None:
    with pytest.raises(pydantic_ai.ModelHTTPError) as error:
        await pydantic_ai.Agent(model).run("fail at once")
    assert error.value.status_code == 500
    assert server.ask("runs fail at once")["text"] == protocol.one_run
