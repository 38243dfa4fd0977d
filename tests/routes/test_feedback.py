"""Feedback over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from tests.routes.service import history, problem, say, serving


async def test_feedback_is_kept_with_the_message_and_replaced_by_the_next(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        turn = await say(client, "hi")
        path = f"/messages/{turn['messages'][0]['message_id']}/feedback"
        given = await client.post(path, json={"value": "like", "comment": "nice"})
        assert given.json()["feedback"] == {"value": "like", "comment": "nice"}
        assert given.headers["etag"] == '"4"'
        assert (await client.post(path, json={"value": "dislike"})).json()["feedback"] == {"value": "dislike"}
        items = await history(client, turn["session_id"], format="messages")
        assert [item.get("feedback") for item in items] == [None, {"value": "dislike"}]


@pytest.mark.parametrize(
    "body", [{"value": "1"}, {"value": ""}, {}, {"value": 1}, {"value": "like", "comment": "x" * 10_001}]
)
async def test_value_the_chat_does_not_declare_is_refused(tmp_path: Path, store: str, body: dict[str, Any]) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        turn = await say(client, "hi")
        refused = await client.post(f"/messages/{turn['messages'][0]['message_id']}/feedback", json=body)
        assert problem(refused) == (422, "inputs_invalid")
        assert (await client.get(f"/sessions/{turn['session_id']}")).json()["version"] == 3


async def test_values_are_those_of_the_chat_that_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        turn = await say(client, "hi", chat="tuples_echo")
        path = f"/messages/{turn['messages'][0]['message_id']}/feedback"
        assert (await client.post(path, json={"value": "1"})).status_code == 200
        assert problem(await client.post(path, json={"value": "like"})) == (422, "inputs_invalid")


async def test_seeded_message_takes_the_values_of_any_chat(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = (await client.post("/sessions", json={"history": [["a", "b"]]})).json()["session_id"]
        items = await history(client, session_id, format="messages")
        path = f"/messages/{items[1]['message_id']}/feedback"
        for value in ("like", "2"):
            assert (await client.post(path, json={"value": value})).status_code == 200
        assert problem(await client.post(path, json={"value": "3"})) == (422, "inputs_invalid")


async def test_users_own_message_takes_no_feedback(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        turn = await say(client, "hi")
        (user, _) = await history(client, turn["session_id"], format="messages")
        refused = await client.post(f"/messages/{user['message_id']}/feedback", json={"value": "like"})
        assert problem(refused) == (404, "message_unknown")
