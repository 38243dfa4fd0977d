"""A greeting is the assistant's first message of a new session, stored and given to the function like any other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatserve import ChatError, ChatMessage, ChatServer

GREETING = ["Hi!", {"content": "Ask me", "options": [{"value": "now"}]}]


def tell(message: str, history: list[Any]) -> str | None:
    if message == "fail":
        raise ChatError("no")
    return "|".join(entry["content"] for entry in history)


@asynccontextmanager
async def greeted(tmp_path: Path, store: str = "memory://", **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    app = ChatServer(store=store, files_dir=str(tmp_path / "files"), debug=True)
    app.chat(**({"greeting": GREETING} | options))(tell)
    app.chat(name="other", greeting=ChatMessage("Ahoy"))(tell)
    await app.start()
    transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50000))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client
    finally:
        await app.stop()


async def say(client: httpx2.AsyncClient, message: str, chat: str = "tell", **body: Any) -> Any:
    return (await client.post(f"/chat/{chat}", json={"message": message, **body})).json()


async def texts(client: httpx2.AsyncClient, session_id: str) -> list[str]:
    items = (await client.get(f"/sessions/{session_id}/messages")).json()["items"]
    return [f"{item['role'][0]}:{item['content']}" for item in items]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'chats.db'}"


async def test_session_made_by_its_first_turn_begins_with_the_greeting(tmp_path: Path, store: str) -> None:
    async with greeted(tmp_path, store) as client:
        answer = await say(client, "a")
        assert answer["text"] == "Hi!|Ask me"
        assert await texts(client, answer["session_id"]) == ["a:Hi!", "a:Ask me", "u:a", "a:Hi!|Ask me"]
        again = await say(client, "b", session_id=answer["session_id"])
        assert again["text"] == "Hi!|Ask me|a|Hi!|Ask me"


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        ({}, ["a:Hi!", "a:Ask me"]),
        ({"chat": "other"}, ["a:Ahoy"]),
        ({"history": []}, []),
        ({"history": [{"role": "user", "content": "x"}]}, ["u:x"]),
    ],
    ids=["first chat", "named chat", "empty history", "history"],
)
async def test_session_is_created_with_a_greeting_or_a_history(
    tmp_path: Path, body: dict[str, Any], begins: list[str]
) -> None:
    async with greeted(tmp_path) as client:
        created = (await client.post("/sessions", json=body)).json()
        assert await texts(client, created["session_id"]) == begins


async def test_greeting_stays_where_history_is_undone_and_cleared(tmp_path: Path, store: str) -> None:
    async with greeted(tmp_path, store) as client:
        session_id = (await say(client, "a"))["session_id"]
        greeting = (await client.get(f"/sessions/{session_id}/messages")).json()["items"][:2]
        await client.post(f"/sessions/{session_id}/undo", json={})
        assert await texts(client, session_id) == ["a:Hi!", "a:Ask me"]
        assert (await client.post(f"/sessions/{session_id}/undo", json={})).status_code == 409
        await say(client, "b", session_id=session_id)
        await client.delete(f"/sessions/{session_id}/messages")
        left = (await client.get(f"/sessions/{session_id}/messages")).json()["items"]
        assert left == greeting
        assert (await say(client, "c", session_id=session_id))["text"] == "Hi!|Ask me"


async def test_history_that_a_client_brought_is_cleared_whole(tmp_path: Path, store: str) -> None:
    async with greeted(tmp_path, store) as client:
        session_id = (await client.post("/sessions", json={"history": [["x", "y"]]})).json()["session_id"]
        await client.delete(f"/sessions/{session_id}/messages")
        assert await texts(client, session_id) == []


async def test_fork_and_first_edit_keep_the_greeting(tmp_path: Path, store: str) -> None:
    async with greeted(tmp_path, store) as client:
        answer = await say(client, "a")
        fork = (await client.post(f"/sessions/{answer['session_id']}/fork", json={})).json()
        assert (await texts(client, fork["session_id"]))[:2] == ["a:Hi!", "a:Ask me"]
        asked = (await client.get(f"/sessions/{answer['session_id']}/messages")).json()["items"][2]["message_id"]
        edit = {"message_id": asked, "message": "b"}
        edited = (await client.post(f"/sessions/{answer['session_id']}/edit", json=edit)).json()
        assert edited["text"] == "Hi!|Ask me"


async def test_clients_that_bring_their_history_are_not_greeted(tmp_path: Path) -> None:
    async with greeted(tmp_path) as client:
        assert (await say(client, "a", history=[]))["text"] == ""
        asked = {"model": "tell", "messages": [{"role": "user", "content": "a"}]}
        answer = (await client.post("/v1/chat/completions", json=asked)).json()
        assert answer["choices"][0]["message"]["content"] == ""
        response = await client.post("/v1/responses", json={"model": "tell", "input": "a"})
        assert response.status_code == 200
        assert "Hi!" not in response.text


async def test_sessions_of_gradios_clients_are_greeted(tmp_path: Path) -> None:
    async with greeted(tmp_path) as client:
        call = {"data": ["a"], "session_hash": "abc"}
        event = (await client.post("/gradio_api/call/tell", json=call)).json()["event_id"]
        told = (await client.get(f"/gradio_api/call/tell/{event}")).text
        assert '["Hi!|Ask me"]' in told


async def test_description_has_the_greeting(tmp_path: Path) -> None:
    async with greeted(tmp_path) as client:
        first, other = (await client.get("/")).json()["chats"]
        assert first["greeting"] == [
            {"role": "assistant", "content": "Hi!"},
            {"role": "assistant", "content": "Ask me"},
        ]
        assert other["greeting"] == [{"role": "assistant", "content": "Ahoy"}]


# --- what history leaves out, in sessions ------------------------------------------------------------------------


async def test_turn_that_failed_before_its_first_word_is_listed_and_not_told(tmp_path: Path, store: str) -> None:
    async with greeted(tmp_path, store, greeting=None) as client:
        session_id = (await say(client, "a"))["session_id"]
        for _ in range(2):
            await say(client, "fail", session_id=session_id)
        assert (await say(client, "b", session_id=session_id))["text"] == "a|"
        assert await texts(client, session_id) == ["u:a", "a:", "u:fail", "u:fail", "u:b", "a:a|"]
        fork = (await client.post(f"/sessions/{session_id}/fork", json={})).json()["session_id"]
        assert (await say(client, "c", session_id=fork))["text"] == "a||b|a|"


async def test_all_of_a_session_is_told_on_demand(tmp_path: Path) -> None:
    async with greeted(tmp_path, greeting=None, history_includes="all") as client:
        session_id = (await say(client, "a"))["session_id"]
        await say(client, "fail", session_id=session_id)
        assert (await say(client, "b", session_id=session_id))["text"] == "a||fail"


async def test_failed_turns_do_not_count_for_the_limit(tmp_path: Path) -> None:
    async with greeted(tmp_path, greeting=None, history_limit=2) as client:
        session_id = (await say(client, "a"))["session_id"]
        await say(client, "fail", session_id=session_id)
        assert (await say(client, "b", session_id=session_id))["text"] == "a|"
