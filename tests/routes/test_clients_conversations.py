"""Conversations that clients of the protocols send whole: begun answers, bare instructions, names, pictures, models."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatserve import ChatContext, ChatServer

Bodies = dict[str, dict[str, Any]]
USER, BEGUN = {"role": "user", "content": "Count"}, {"role": "assistant", "content": "1, 2,"}
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
PICTURE = "http://elsewhere.example/a.png"
PIXEL = b64encode(b"\x89PNG\r\n\x1a\n").decode()


def body_of(path: str, messages: list[Any], **more: Any) -> dict[str, Any]:
    return {"input" if path.endswith("responses") else "messages": messages, **more}


def words_of(path: str, document: dict[str, Any]) -> str:
    """Return the words of an answer."""
    match path.rpartition("/")[2]:
        case "completions":
            words: str = document["choices"][0]["message"]["content"]
        case "responses":
            words = "".join(part["text"] for item in document["output"] for part in item.get("content") or ())
        case _:
            words = "".join(block.get("text", "") for block in document["content"])
    return words


def streamed_words(path: str, text: str) -> str:
    """Return the words that a stream adds up to."""
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    match path.rpartition("/")[2]:
        case "completions":
            deltas = [choice["delta"].get("content") for frame in frames for choice in frame["choices"]]
        case "responses":
            deltas = [frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta"]
        case _:
            deltas = [frame["delta"].get("text") for frame in frames if frame["type"] == "content_block_delta"]
    return "".join(filter(None, deltas))


class Seen:
    """What the chat function was given last."""

    message: Any = None
    history: list[Any]
    prefill: str | None = None
    params: dict[str, Any]


@asynccontextmanager
async def serving(
    tmp_path: Path, answer: Any = None, store: str = "memory://", **options: Any
) -> AsyncIterator[tuple[httpx2.AsyncClient, Seen]]:
    """Serve one chat, `counter`, whose answer is the next number or what `answer` yields."""
    app, seen = ChatServer(store=store, files_dir=str(tmp_path / "files"), allow_client_session_ids=True), Seen()

    @app.chat(name="counter", **options)
    def counter(message: Any, history: list[Any], ctx: ChatContext) -> Any:
        seen.message, seen.history, seen.prefill, seen.params = message, history, ctx.prefill, dict(ctx.params)
        if answer is None:
            yield " 3"
            yield " 3, 4"
        else:
            yield from answer()

    await app.start()
    try:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, seen
    finally:
        await app.stop()


async def stored(client: httpx2.AsyncClient, session_id: str) -> list[tuple[str, Any]]:
    items = (await client.get(f"/sessions/{session_id}/messages")).json()["items"]
    return [(item["role"], item["content"]) for item in items]


# --- begun answers ---------------------------------------------------------------------------------------------------


def rewritten() -> Any:
    yield " 7"
    yield " 3, 4"


def in_steps() -> Any:
    yield [{"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}}]
    yield [
        {"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}},
        {"role": "assistant", "content": " 3, 4"},
    ]


def at_once() -> Any:
    yield {"role": "assistant", "content": " 3, 4"}


def whole_list() -> Any:
    yield [{"role": "assistant", "content": " 3"}]
    yield [{"role": "assistant", "content": " 3, 4"}]


def pieces() -> Any:
    yield " 3,"
    yield " 4"


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("answer", [None, rewritten, in_steps, at_once, whole_list, pieces])
async def test_begun_answer_is_continued_and_stored_as_one_message(
    tmp_path: Path, path: str, answer: Any, is_streamed: bool
) -> None:
    yields = "deltas" if answer is pieces else "snapshots"
    async with serving(tmp_path, answer, yields=yields) as (client, seen):
        body = body_of(path, [USER, BEGUN], stream=is_streamed)
        response = await client.post(path, json=body, headers={"x-session-id": "one"})
        assert response.status_code == 200, response.text
        assert (seen.message, seen.history, seen.prefill) == ("Count", [], "1, 2,")
        words = streamed_words(path, response.text) if is_streamed else words_of(path, response.json())
        assert words == (" 7\n\n 3, 4" if is_streamed and answer is rewritten and " 7" in words else " 3, 4")
        messages = await stored(client, response.headers["x-session-id"])
        assert messages[0] == ("user", "Count")
        assert messages[-1] == ("assistant", "1, 2, 3, 4")
        assert len(messages) == (3 if answer is in_steps else 2)


async def test_native_reader_of_the_turn_sees_the_whole_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        response = await client.post(PATHS[0], json={"messages": [USER, BEGUN]}, headers={"x-session-id": "one"})
        events = (await client.get(f"/turns/{response.headers['x-turn-id']}/events", params={"after": 0})).text
        deltas = [json.loads(line[6:])["text"] for line in events.splitlines() if line.startswith('data: {"text"')]
        assert "".join(deltas) == "1, 2, 3, 4"


async def test_conversation_that_comes_back_is_the_stored_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, seen):
        session = {"x-session-id": "one"}
        first = await client.post(PATHS[0], json={"messages": [USER, BEGUN]}, headers=session)
        whole = {"role": "assistant", "content": "1, 2, 3, 4"}
        await client.post(
            PATHS[0], json={"messages": [USER, whole, {"role": "user", "content": "On"}]}, headers=session
        )
        assert seen.history == [USER, whole]
        assert len(await stored(client, first.headers["x-session-id"])) == 4


async def test_retrieved_response_has_the_continuation_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        made = (await client.post(PATHS[1], json={"input": [USER, BEGUN]})).json()
        found = await client.get(f"/v1/responses/{made['id']}")
        resumed = await client.get(f"/v1/responses/{made['id']}", params={"stream": "true"})
        assert found.json()["output"] == made["output"]
        assert words_of(PATHS[1], made) == streamed_words(PATHS[1], resumed.text) == " 3, 4"


async def test_response_is_the_continuation_after_a_restart_too(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    async with serving(tmp_path, store=store) as (client, _):
        made = (await client.post(PATHS[1], json={"input": [USER, BEGUN]})).json()
    async with serving(tmp_path, store=store) as (client, _):
        resumed = await client.get(f"/v1/responses/{made['id']}", params={"stream": "true"})
        assert streamed_words(PATHS[1], resumed.text) == " 3, 4"


async def test_function_that_fails_or_says_nothing_leaves_no_begun_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, lambda: ()) as (client, _):
        response = await client.post(PATHS[0], json={"messages": [USER, BEGUN]}, headers={"x-session-id": "one"})
        assert words_of(PATHS[0], response.json()) == ""
        assert await stored(client, response.headers["x-session-id"]) == [("user", "Count")]


# --- instructions alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_instructions_alone_are_answered_as_history_of_an_empty_message(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (client, seen):
        system = {"role": "system", "content": "Choose a speaker"}
        response = await client.post(path, json=body_of(path, [system]))
        assert response.status_code == 200, response.text
        assert (seen.message, seen.history, seen.prefill) == ("", [system], None)


@pytest.mark.parametrize("given", [{}, {"input": []}, {"input": None}, {"input": ""}])
async def test_response_of_instructions_without_input_is_answered(tmp_path: Path, given: dict[str, Any]) -> None:
    async with serving(tmp_path) as (client, seen):
        response = await client.post(PATHS[1], json={"instructions": "Say hi", **given})
        assert response.status_code == 200, response.text
        assert (seen.message, seen.history) == ("", [{"role": "system", "content": "Say hi"}])


@pytest.mark.parametrize("path", PATHS)
async def test_empty_conversation_is_refused(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (client, _):
        refused = await client.post(path, json=body_of(path, []))
        assert refused.status_code == 400
        assert "at least one" in refused.json()["error"]["message"]


async def test_new_instructions_keep_the_chain_before_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, seen):
        first = (await client.post(PATHS[1], json={"input": "one"})).json()
        system = {"role": "system", "content": "now in French"}
        await client.post(PATHS[1], json={"input": [system], "previous_response_id": first["id"]})
        assert [entry["content"] for entry in seen.history] == ["one", " 3, 4", "now in French"]


# --- pictures, names, depth ------------------------------------------------------------------------------------------


def picture_in(path: str, url: str) -> dict[str, Any]:
    match path.rpartition("/")[2]:
        case "completions":
            return {"type": "image_url", "image_url": {"url": url}}
        case "responses":
            return {"type": "input_image", "image_url": url}
        case _:
            return {"type": "image", "source": {"type": "url", "url": url}}


def text_in(path: str, text: str) -> dict[str, Any]:
    return {"type": "input_text" if path.endswith("responses") else "text", "text": text}


@pytest.mark.parametrize("path", PATHS)
async def test_address_of_a_picture_is_a_link_in_the_history_and_refused_in_the_message(
    tmp_path: Path, path: str
) -> None:
    async with serving(tmp_path, multimodal=True) as (client, seen):
        looked = {"role": "user", "content": [text_in(path, "look"), picture_in(path, PICTURE)]}
        asked = [looked, {"role": "assistant", "content": "nice"}, {"role": "user", "content": "and?"}]
        assert (await client.post(path, json=body_of(path, asked))).status_code == 200
        assert seen.history[0]["content"][1]["url"] == PICTURE
        refused = await client.post(path, json=body_of(path, [looked]))
        assert (refused.status_code, "not fetched" in refused.text) == (400, True)
        begun = await client.post(path, json=body_of(path, [looked, {"role": "assistant", "content": "It"}]))
        assert begun.status_code == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("url", [f"DATA:image/png;base64,{PIXEL}", f"data:image/png;base64,{PIXEL.rstrip('=')}"])
async def test_picture_that_came_along_is_read(tmp_path: Path, path: str, url: str) -> None:
    async with serving(tmp_path, multimodal=True) as (client, seen):
        looked = {"role": "user", "content": [text_in(path, "look"), picture_in(path, url)]}
        assert (await client.post(path, json=body_of(path, [looked]))).status_code == 200
        assert len(seen.message["files"]) == 1


@pytest.mark.parametrize("path", PATHS[:2])
async def test_names_of_participants_are_in_history_and_params(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (client, seen):
        ann = {"role": "user", "content": "hi", "name": "ann"}
        bot = {"role": "assistant", "content": "yes", "name": "bot"}
        bob = {"role": "user", "content": "Count", "name": "bob"}
        session = {"x-session-id": "one"}
        first = await client.post(path, json=body_of(path, [ann, bot, bob]), headers=session)
        assert (seen.message, seen.history, seen.params["name"]) == ("Count", [ann, bot], "bob")
        answer = {"role": "assistant", "content": words_of(path, first.json())}
        await client.post(path, json=body_of(path, [ann, bot, bob, answer, ann]), headers=session)
        assert seen.history == [ann, bot, bob, answer]
        listed = f"/sessions/{first.headers['x-session-id']}/messages"
        assert (await client.get(listed, params={"format": "openai"})).json()["items"][0] == ann


async def test_picture_in_the_result_of_a_tool_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, seen):
        call = {"id": "c1", "type": "function", "function": {"name": "see", "arguments": "{}"}}
        parts = [{"type": "text", "text": "seen"}, picture_in(PATHS[0], PICTURE)]
        result = {"role": "tool", "tool_call_id": "c1", "content": parts}
        asked = [USER, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
        assert (await client.post(PATHS[0], json={"messages": asked})).status_code == 200
        assert json.loads(seen.history[-1]["content"]) == parts


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("path", [*PATHS, "/chat"])
async def test_json_may_be_as_deep_as_the_setting_says(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as (client, _):
        asked = {"message": "hi"} if path == "/chat" else body_of(path, [USER])
        for depth, statuses in ((60, {200, 422}), (64, {400})):
            response = await client.post(path, json={**asked, "metadata": nested(depth)})
            assert response.status_code in statuses, (depth, response.text)
            assert ("nested deeper than 64 levels" in response.text) == (depth == 64)


# --- aliases ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def two_chats(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    app = ChatServer(store="memory://", files_dir=str(tmp_path))
    app.chat(name="first", aliases=("gpt-*", "openai/gpt-4o"))(lambda message, history: "first")
    app.chat(name="gpt-real", aliases=("gpt-4o", "claude-*"))(lambda message, history: "second")
    await app.start()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
            yield client
    finally:
        await app.stop()


@pytest.mark.parametrize(
    ("model", "chat"),
    [
        ("first", "first"),
        ("gpt-real", "second"),
        ("gpt-4o", "second"),
        ("gpt-4o-mini", "first"),
        ("openai/gpt-4o", "first"),
        ("claude-haiku-4-5", "second"),
    ],
)
async def test_alias_is_answered_and_echoed_as_asked(tmp_path: Path, model: str, chat: str) -> None:
    async with two_chats(tmp_path) as client:
        for path in PATHS:
            asked = body_of(path, [USER], model=model)
            whole = await client.post(path, json=asked)
            assert (whole.json()["model"], words_of(path, whole.json())) == (model, chat)
            streamed = await client.post(path, json={**asked, "stream": True})
            assert f'"model":"{model}"' in streamed.text
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            found = await client.get(f"/v1/models/{model}", headers=headers)
            assert (found.status_code, found.json()["id"]) == (200, model)


async def test_only_real_names_are_listed_and_known_natively(tmp_path: Path) -> None:
    async with two_chats(tmp_path) as client:
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            listed = (await client.get("/v1/models", headers=headers)).json()["data"]
            assert [model["id"] for model in listed] == ["first", "gpt-real"]
        assert [chat["name"] for chat in (await client.get("/")).json()["chats"]] == ["first", "gpt-real"]
        assert (await client.post("/chat/gpt-4o", json={"message": "hi"})).status_code == 404
        unknown = await client.post(PATHS[0], json=body_of(PATHS[0], [USER], model="GPT-4o"))
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
