"""The openai package for Python, unmodified, over a real socket: Chat Completions and Models."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.clients.openai_deeds import PIXEL
from tests.support.libraries import require
from tests.support.server import Server, serve

openai = require("openai")

POLLS = 500
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=2) as made:
        yield made


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def ask(client: Any, content: Any, *before: dict[str, Any], **options: Any) -> str:
    """Ask in one piece and return the words of the answer."""
    options.setdefault("model", "assistant")
    completion = client.chat.completions.create(messages=[*before, user(content)], **options)
    words: str = completion.choices[0].message.content
    return words


def runs(server: Server, message: str) -> dict[str, int]:
    """Return how often a message was answered, and how often its answer was stopped."""
    counted: dict[str, int] = json.loads(server.ask(f"runs {message}")["text"])
    return counted


# --- models ----------------------------------------------------------------------------------------------------------


def test_models_are_the_chats(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["assistant", "pictures", "narrow"]
    assert client.models.retrieve("pictures").object == "model"


def test_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as listed:
        client.models.retrieve("gpt-none")
    with pytest.raises(openai.NotFoundError) as asked:
        ask(client, "say hi", model="gpt-none")
    assert [(error.value.code, error.value.param) for error in (listed, asked)] == [("model_not_found", "model")] * 2


def test_other_prefix_is_served_too(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/openai", api_key="any") as client:
        assert ask(client, "say hi") == "hi "
        assert client.models.retrieve("assistant").owned_by == "chatserve"


# --- text ------------------------------------------------------------------------------------------------------------


def test_answer_comes_in_one_piece(client: Any) -> None:
    completion = client.chat.completions.create(model="assistant", messages=[user("say héllo wörld")])
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "héllo wörld ", "stop")
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "assistant"
    assert completion._request_id.startswith("req_")
    assert completion.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }


def test_answer_is_streamed_word_by_word(client: Any) -> None:
    stream = client.chat.completions.create(
        model="assistant", messages=[user("say one two")], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks[:-1]] == ["", "one ", "two ", None]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1].usage.total_tokens == 5


def test_stream_helper_tells_the_same_answer(client: Any) -> None:
    with client.chat.completions.stream(
        model="assistant", messages=[user("say one two")], stream_options={"include_usage": True}
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        completion = stream.get_final_completion()
    assert "".join(deltas) == completion.choices[0].message.content == "one two "
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens == 2


async def test_async_client_streams(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        stream = await client.chat.completions.create(model="assistant", messages=[user("say one two")], stream=True)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["", "one ", "two ", None]


def test_cut_answer_says_so(client: Any) -> None:
    completion = client.chat.completions.create(model="assistant", messages=[user("cut here")])
    assert completion.choices[0].finish_reason == "length"


def test_model_of_ones_own_is_parsed_from_data(client: Any) -> None:
    class Verdict(BaseModel):
        verdict: str
        weight: int

    completion = client.chat.completions.parse(model="assistant", messages=[user("weigh tea")], response_format=Verdict)
    assert completion.choices[0].message.parsed == Verdict(verdict="tea", weight=3)


def test_sources_are_annotations(client: Any) -> None:
    completion = client.chat.completions.create(model="assistant", messages=[user("cite this")])
    (annotation,) = completion.choices[0].message.annotations
    assert (annotation.url_citation.url, annotation.url_citation.title) == ("https://example.com/a", "A")


def test_reasoning_is_apart_from_the_words(client: Any) -> None:
    messages = [user("think so")]
    message = client.chat.completions.create(model="assistant", messages=messages).choices[0].message
    assert (message.content, message.reasoning_content, message.reasoning) == ("so", "Hm, so.", "Hm, so.")
    with client.chat.completions.stream(model="assistant", messages=messages) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert (streamed.content, streamed.reasoning_content, streamed.reasoning) == ("so", "Hm, so.", "Hm, so.")


def test_steps_are_reasoning(client: Any) -> None:
    message = client.chat.completions.create(model="assistant", messages=[user("step done")]).choices[0].message
    assert (message.content, message.reasoning_content) == ("done", "Searching\nin the index")


def test_picture_of_an_answer_can_be_fetched_where_it_points(client: Any, server: Server) -> None:
    words = ask(client, "draw")
    address = words.partition("![dot.png](")[2].removesuffix(")")
    assert server.get(address.removeprefix(server.url)).content == PIXEL


# --- conversations ---------------------------------------------------------------------------------------------------


def test_history_is_what_the_client_sends_and_nothing_is_kept(client: Any, server: Server) -> None:
    before = [{"role": "system", "content": "be brief"}, user("say hi"), {"role": "assistant", "content": "hi "}]
    sessions = len(server.get("/sessions").json()["items"])
    raw = client.chat.completions.with_raw_response.create(model="assistant", messages=[*before, user("history")])
    told = json.loads(raw.parse().choices[0].message.content)
    assert told == [["system", "be brief"], ["user", "say hi"], ["assistant", "hi "]]
    assert "x-session-id" not in raw.headers
    assert len(server.get("/sessions").json()["items"]) == sessions


def test_conversation_with_a_key_is_kept_and_an_edit_replaces_its_end(client: Any, server: Server) -> None:
    key = {"X-Conversation-Id": "conversation 1"}
    raw = client.chat.completions.with_raw_response.create(
        model="assistant", messages=[user("say one")], extra_headers=key
    )
    session_id = raw.headers["x-session-id"]
    first = [user("say one"), {"role": "assistant", "content": raw.parse().choices[0].message.content}]
    ask(client, "say two", *first, extra_headers=key)
    assert stored(server, session_id) == ["say one", "one ", "say two", "two "]
    ask(client, "say three", *first, extra_headers=key)
    assert stored(server, session_id) == ["say one", "one ", "say three", "three "]
    ask(client, "say four", extra_headers=key)
    assert stored(server, session_id) == ["say four", "four "]


def stored(server: Server, session_id: str) -> list[str]:
    return [item["content"] for item in server.get(f"/sessions/{session_id}/messages").json()["items"]]


def test_what_comes_back_unchanged_is_stored_once(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    options = {"extra_body": {"session_id": session_id}, "tools": [WEATHER]}
    messages = [user("call Oslo Rome")]
    called = client.chat.completions.create(model="assistant", messages=messages, **options).choices[0].message
    messages += [called, *({"role": "tool", "tool_call_id": each.id, "content": "21"} for each in called.tool_calls)]
    client.chat.completions.create(model="assistant", messages=messages, **options)
    first = ids(server, session_id)
    ask(client, "say hi", *messages, {"role": "assistant", "content": "The tools said: 21, 21"}, **options)
    assert ids(server, session_id)[: len(first)] == first
    assert len(first) == 4


def ids(server: Server, session_id: str) -> list[str]:
    return [item["message_id"] for item in server.get(f"/sessions/{session_id}/messages").json()["items"]]


def test_one_session_goes_on_with_other_clients(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {"title": "Shared"}).json()["session_id"]
    key = {"X-Session-Id": session_id}
    assert ask(client, "say one", extra_headers=key) == "one "
    assert json.loads(server.ask("history", session_id)["text"]) == [["user", "say one"], ["assistant", "one "]]
    kept = server.get(f"/sessions/{session_id}/messages", params={"format": "openai"}).json()["items"]
    assert json.loads(ask(client, "history", *kept, extra_headers=key)) == [
        [entry["role"], entry["content"]] for entry in kept
    ]
    assert len(stored(server, session_id)) == 6


def test_session_that_is_not_there_is_not_found(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        ask(client, "say hi", extra_headers={"X-Session-Id": "s_unknown"})
    assert error.value.code == "session_unknown"


def test_what_a_front_end_asks_for_itself_leaves_the_session_alone(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    headers = {"X-OpenWebUI-Chat-Id": session_id}
    ask(client, "say one", extra_headers=headers)
    ask(client, "### Task:\nGenerate a title", extra_headers=headers)
    ask(client, "say tags", extra_headers=headers | {"X-OpenWebUI-Task": "tags_generation"})
    assert stored(server, session_id) == ["say one", "one "]


def test_repeated_request_with_its_key_gets_the_answer_of_the_first(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    headers = {"X-Session-Id": session_id, "Idempotency-Key": "once"}
    asked = {"model": "assistant", "messages": [user("say it once")], "extra_headers": headers, "stream": True}
    first = list(client.chat.completions.create(**asked))
    again = list(client.chat.completions.create(**asked))
    assert {chunk.id for chunk in first} == {chunk.id for chunk in again}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in again) == "it once "
    assert runs(server, "say it once")["runs"] == 1
    with pytest.raises(openai.UnprocessableEntityError) as error:
        client.chat.completions.create(**asked | {"stream": False})
    assert error.value.code == "idempotency_conflict"


# --- inputs, params and files ----------------------------------------------------------------------------------------


def test_fields_fill_inputs_and_all_others_are_params(client: Any) -> None:
    told = json.loads(
        ask(client, "settings", temperature=1.5, max_completion_tokens=7, n=2, extra_body={"style": {"tone": "dry"}})
    )
    assert told == {
        "temperature": 1.5,
        "max_tokens": 7,
        "max_completion_tokens": 7,
        "n": 2,
        "style": {"tone": "dry"},
    }


def test_wrong_input_is_a_bad_request_that_names_it(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "settings", extra_body={"temperature": "warm"})
    assert (error.value.param, error.value.type) == ("temperature", "invalid_request_error")


def test_files_reach_the_function_now_and_as_history(client: Any, server: Server) -> None:
    data = base64.b64encode(PIXEL).decode()
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    document = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain,hello"}}
    audio = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    uploaded = server.post("/files", content=b"uploaded", params={"name": "b.txt"}).json()["id"]
    known = {"type": "file", "file": {"file_id": uploaded}}
    content = [{"type": "text", "text": "see"}, picture, document, audio, known]
    sizes = f"image.png:{len(PIXEL)} a.txt:5 audio.wav:{len(PIXEL)} b.txt:8"
    assert ask(client, content, model="pictures") == f"see {sizes}"
    answer = {"role": "assistant", "content": "nice"}
    assert ask(client, "again", user(content), answer, model="pictures") == f"again {sizes}"


def test_file_that_is_not_there_is_not_found(client: Any) -> None:
    unknown = [{"type": "file", "file": {"file_id": "f_unknown"}}]
    with pytest.raises(openai.NotFoundError):
        ask(client, unknown, model="pictures")
    with pytest.raises(openai.NotFoundError):
        ask(client, "again", user(unknown), {"role": "assistant", "content": "nice"}, model="pictures")


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a"}}], "messages[0].content[0].image_url.url"),
        ([{"type": "video", "video": {}}], "messages[0].content[0].type"),
    ],
)
def test_content_that_cannot_be_had_is_a_bad_request(client: Any, content: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, content, model="pictures")
    assert error.value.param == param


# --- tools -----------------------------------------------------------------------------------------------------------


def test_tools_run_in_the_client_and_their_results_come_back(client: Any) -> None:
    messages = [user("call Oslo Rome")]
    completion = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])
    (choice,) = completion.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    called = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert called == [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]
    messages.append(choice.message)
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": f"{index} degrees"}
        for index, call in enumerate(choice.message.tool_calls)
    ]
    final = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])
    assert final.choices[0].message.content == "The tools said: 0 degrees, 1 degrees"
    assert final.choices[0].finish_reason == "stop"


def test_streamed_calls_are_put_together_by_the_helper(client: Any) -> None:
    class Weather(BaseModel):
        city: str

    tool = openai.pydantic_function_tool(Weather, name="weather")
    with client.chat.completions.stream(model="assistant", messages=[user("call Oslo Rome")], tools=[tool]) as stream:
        pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        message = stream.get_final_completion().choices[0].message
    assert len(pieces) > len(message.tool_calls)
    assert [call.function.parsed_arguments for call in message.tool_calls] == [
        Weather(city="Oslo"),
        Weather(city="Rome"),
    ]
    assert [call.id for call in message.tool_calls] == ["call_0", "call_1"]


def test_tools_of_the_server_are_not_given_to_the_client(client: Any) -> None:
    messages = [user("lookup Oslo")]
    completion = client.chat.completions.create(model="assistant", messages=messages)
    assert (completion.choices[0].message.tool_calls, completion.choices[0].finish_reason) == (None, "stop")
    chunks = list(client.chat.completions.create(model="assistant", messages=messages, stream=True))
    assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)


# --- errors and the end ----------------------------------------------------------------------------------------------


def test_function_that_fails_is_run_once_and_its_words_stay_on_the_server(client: Any, server: Server) -> None:
    with pytest.raises(openai.InternalServerError) as error:
        ask(client, "fail at once")
    assert error.value.code == "chat_function_failed"
    assert "secret" not in str(error.value)
    assert "fail" in server.wait_for_log(error.value.body["error_id"])
    assert runs(server, "fail at once")["runs"] == 1


def test_error_of_the_function_is_shown(client: Any, server: Server) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="not today") as error:
        ask(client, "refuse")
    assert error.value.code == "closed"
    assert runs(server, "refuse")["runs"] == 1


@pytest.mark.parametrize("message", ["fail before a word", "fail later on"])
def test_function_that_fails_in_mid_stream_is_run_once(client: Any, server: Server, message: str) -> None:
    words: list[str] = []
    stream = client.chat.completions.create(model="assistant", messages=[user(message)], stream=True)
    with pytest.raises(openai.APIError) as error:
        words.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(words) == ("So far so good" if "later" in message else "")
    assert error.value.code == "chat_function_failed"
    assert runs(server, message)["runs"] == 1


def test_stream_helper_raises_what_happens_in_mid_stream(client: Any, server: Server) -> None:
    with (
        pytest.raises(openai.APIError, match="the chat function failed"),
        client.chat.completions.stream(model="assistant", messages=[user("fail later too")]) as stream,
    ):
        stream.until_done()
    assert runs(server, "fail later too")["runs"] == 1


def test_refusal_of_a_busy_server_says_when_to_try_again(client: Any) -> None:
    asked = {"model": "narrow", "messages": [user("wait")], "stream": True}
    with client.chat.completions.create(**asked) as stream:
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
        with pytest.raises(openai.RateLimitError) as error:
            client.with_options(max_retries=0).chat.completions.create(**asked)
    assert error.value.code == "queue_full"
    assert error.value.response.headers["retry-after"] == "1"
    assert "x-should-retry" not in error.value.response.headers


def test_closing_the_stream_stops_the_function_and_keeps_what_was_said(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    with client.chat.completions.create(
        model="assistant",
        messages=[user("wait for me")],
        stream=True,
        extra_headers={"X-Session-Id": session_id},
    ) as stream:
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content).choices[0].delta.content == "waiting"
    assert until_stopped(server, "wait for me") == {"runs": 1, "stopped": 1}
    assert stored(server, session_id) == ["wait for me", "waiting"]


def test_leaving_a_waiting_request_stops_the_function(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, timeout=1) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        ask(client, "wait in vain")
    assert until_stopped(server, "wait in vain") == {"runs": 1, "stopped": 1}


def until_stopped(server: Server, message: str) -> dict[str, int]:
    counted = runs(server, message)
    for _ in range(POLLS):
        if counted["stopped"]:
            break
        counted = runs(server, message)
    return counted


def test_stopped_turn_ends_its_stream_as_any_other(client: Any, server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    stream = client.chat.completions.create(
        model="assistant",
        messages=[user("wait to be stopped")],
        stream=True,
        extra_headers={"X-Session-Id": session_id},
    )
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    server.post(f"/sessions/{session_id}/stop")
    *_, last = stream
    assert last.choices[0].finish_reason == "stop"


# --- custom tools ----------------------------------------------------------------------------------------------------

FORMS = ["dict", "item", "message", "chunks", "events"]
SQL: dict[str, Any] = {"type": "custom", "custom": {"name": "sql", "description": "Ask the database"}}


@pytest.mark.parametrize("form", FORMS)
def test_custom_tool_is_called_with_its_text_and_answered(client: Any, form: str) -> None:
    asked = user(f"custom {form} select 1; {{")
    options: dict[str, Any] = {"model": "assistant", "messages": [asked], "tools": [SQL]}
    choice = client.chat.completions.create(**options).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.type, call.id) == ("tool_calls", "custom", "call_1")
    assert (call.custom.name, call.custom.input) == ("sql", "select 1; {")
    answered = {"role": "tool", "tool_call_id": call.id, "content": "one"}
    before = [asked, choice.message.model_dump(exclude_none=True)]
    after = client.chat.completions.create(model="assistant", messages=[*before, answered], tools=[SQL])
    assert after.choices[0].message.content == "The tools said: one"
    chunks = [chunk.choices[0].delta for chunk in client.chat.completions.create(**options, stream=True)]
    pieces = [piece.model_dump(exclude_none=True) for delta in chunks for piece in delta.tool_calls or ()]
    assert (pieces[0]["id"], pieces[0]["type"], pieces[0]["custom"]["name"]) == ("call_1", "custom", "sql")
    assert "".join(piece["custom"]["input"] for piece in pieces) == "select 1; {"


# --- the older endpoint ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v1", "/openai"])
def test_prompt_is_answered_whole_and_streamed(server: Server, prefix: str) -> None:
    with openai.OpenAI(base_url=server.url + prefix, api_key="any", max_retries=0) as client:
        whole = client.completions.create(model="assistant", prompt="say one two")
        assert (whole.object, whole.id[:5], whole.choices[0].text) == ("text_completion", "cmpl-", "one two ")
        assert (whole.choices[0].finish_reason, whole.usage.total_tokens) == ("stop", 5)
        usage = {"include_usage": True}
        prompt = ["say one two"]
        stream = client.completions.create(model="assistant", prompt=prompt, stream=True, stream_options=usage)
        chunks = list(stream)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "one two "
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 5


@pytest.mark.parametrize("prompt", [["a", "b"], [], [1, 2], [[1]], 7])
def test_anything_but_one_prompt_is_refused(client: Any, prompt: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="prompt"):
        client.completions.create(model="assistant", prompt=prompt)


def test_failed_prompt_is_an_error_whole_and_streamed(client: Any) -> None:
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model="assistant", prompt="fail")
    with pytest.raises(openai.APIError):
        list(client.completions.create(model="assistant", prompt="fail later", stream=True))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_limit_of_tokens_has_three_names(client: Any, name: str) -> None:
    assert json.loads(ask(client, "settings", extra_body={name: 7}))["max_tokens"] == 7
