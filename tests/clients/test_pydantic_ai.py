"""pydantic-ai's OpenAI chat model, unmodified, over a real socket: agents with tools, streams and typed results."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.libraries import require
from tests.support.server import Server, serve

openai = require("openai")
pydantic_ai = require("pydantic_ai")
openai_models = require("pydantic_ai.models.openai")
openai_provider = require("pydantic_ai.providers.openai")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
async def model(server: Server) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        yield openai_models.OpenAIChatModel("assistant", provider=openai_provider.OpenAIProvider(openai_client=client))


async def test_agent_goes_on_with_the_history_it_has(model: Any) -> None:
    agent = pydantic_ai.Agent(model, instructions="be brief")
    first = await agent.run("say one two")
    assert first.output == "one two "
    assert first.usage.output_tokens == 2
    second = await agent.run("history", message_history=first.all_messages())
    assert '["user", "say one two"], ["assistant", "one two "]' in second.output
    assert '["system", "be brief"]' in second.output


async def test_agent_streams_each_word(model: Any) -> None:
    async with pydantic_ai.Agent(model).run_stream("say one two") as streamed:
        words = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
    assert words == ["one ", "two "]


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


async def test_typed_result_is_read_from_data(model: Any) -> None:
    class Verdict(BaseModel):
        verdict: str
        weight: int

    agent = pydantic_ai.Agent(model, output_type=pydantic_ai.PromptedOutput(Verdict))
    assert (await agent.run("weigh tea")).output == Verdict(verdict="tea", weight=3)


async def test_failure_is_raised_and_the_function_was_run_once(model: Any, server: Server) -> None:
    with pytest.raises(pydantic_ai.ModelHTTPError) as error:
        await pydantic_ai.Agent(model).run("fail at once")
    assert error.value.status_code == 500
    assert '"runs": 1' in server.ask("runs fail at once")["text"]
