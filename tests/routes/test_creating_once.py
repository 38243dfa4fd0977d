"""Idempotency keys of requests that create something other than a turn."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.routes.service import problem, say, serving

KEY = {"idempotency-key": "k-1"}


async def exported(client: Any) -> bytes:
    """Return the export of a session that is there no more."""
    session_id = (await say(client, "hi"))["session_id"]
    document: bytes = (await client.get(f"/sessions/{session_id}/export")).content
    await client.delete(f"/sessions/{session_id}")
    return document


async def creation(kind: str, client: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the path of a request that creates, its options, and options of another request."""
    json_type = {"content-type": "application/json"}
    match kind:
        case "session":
            return "/sessions", {"json": {"title": "A"}}, {"json": {"title": "B"}}
        case "chosen":
            return "/sessions", {"json": {"session_id": "mine"}}, {"json": {"session_id": "other"}}
        case "fork":
            turn = await say(client, "hi")
            answer_id = turn["messages"][0]["message_id"]
            return f"/sessions/{turn['session_id']}/fork", {"json": {}}, {"json": {"message_id": answer_id}}
        case "upload":
            return "/files?name=a", {"content": b"one"}, {"content": b"two"}
        case "multipart":
            return "/files", {"files": {"file": ("a", b"one")}}, {"files": {"file": ("b", b"one")}}
        case "import":
            document = await exported(client)
            other = document.replace(b'"title":null', b'"title":"other"')
            return "/sessions/import", {"content": document, "headers": json_type}, {"content": other}
        case _:
            document = await exported(client)
            other = document.replace(b'"title":null', b'"title":"other"')
            path = "/sessions/import?new_ids=true"
            return path, {"content": document, "headers": json_type}, {"content": other}


KINDS = ["session", "chosen", "fork", "upload", "multipart", "import", "import with new ids"]


async def post(client: Any, path: str, options: dict[str, Any]) -> Any:
    headers = KEY | options.get("headers", {"content-type": "application/json"} if "content" in options else {})
    return await client.post(path, **options | {"headers": headers})


@pytest.mark.parametrize("kind", KINDS)
async def test_same_key_and_body_create_once(tmp_path: Path, store: str, kind: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        path, options, other = await creation(kind, ann)
        first = await post(ann, path, options)
        assert first.status_code == 201
        assert "idempotency-replayed" not in first.headers
        again = await post(ann, path, options)
        assert again.status_code == 201
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()
        assert again.headers["location"] == first.headers["location"]
        assert problem(await post(ann, path, other)) == (422, "idempotency_conflict")


@pytest.mark.parametrize("kind", KINDS)
async def test_copies_of_one_request_at_once_create_once(tmp_path: Path, store: str, kind: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        path, options, _ = await creation(kind, ann)
        before = len((await ann.get("/sessions")).json()["items"])
        answers = await asyncio.gather(*(post(ann, path, options) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.headers["location"] for answer in answers}) == 1
        made = len((await ann.get("/sessions")).json()["items"]) - before
        assert made == (0 if kind in {"upload", "multipart"} else 1)
        assert (await ann.get(answers[0].headers["location"])).status_code == 200


async def test_replay_shows_what_was_created_as_it_is_now(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        made = await client.post("/sessions", json={"title": "A"}, headers=KEY)
        await client.patch(made.headers["location"], json={"title": "B"})
        again = await client.post("/sessions", json={"title": "A"}, headers=KEY)
        assert (again.json()["title"], again.headers["etag"]) == ("B", '"2"')


async def test_keys_of_two_owners_do_not_meet(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("bob") as bob:
        first = await ann.post("/sessions", json={"title": "A"}, headers=KEY)
        other = await bob.post("/sessions", json={"title": "B"}, headers=KEY)
        assert other.status_code == 201
        assert other.json()["session_id"] != first.json()["session_id"]


async def test_key_of_a_creation_is_no_key_for_a_turn_nor_the_other_way(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        await client.post("/sessions", headers=KEY)
        turn = await client.post("/chat", json={"message": "hi"}, headers=KEY)
        assert problem(turn) == (422, "idempotency_conflict")
        other = {"idempotency-key": "k-2"}
        assert (await client.post("/chat", json={"message": "hi"}, headers=other)).status_code == 200
        assert problem(await client.post("/sessions", headers=other)) == (422, "idempotency_conflict")


async def test_key_of_one_fork_is_no_key_for_another_sessions(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        one, two = [(await say(client, "hi"))["session_id"] for _ in range(2)]
        assert (await client.post(f"/sessions/{one}/fork", headers=KEY)).status_code == 201
        assert problem(await client.post(f"/sessions/{two}/fork", headers=KEY)) == (422, "idempotency_conflict")


async def test_key_that_was_claimed_before_a_crash_creates_at_the_next_try(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        create, crashed = service.engine.store.create_session, []

        async def crash(*args: Any, **kwargs: Any) -> Any:
            crashed.append(args)
            raise ConnectionAbortedError

        service.engine.store.create_session = crash  # type: ignore[method-assign]
        with pytest.raises(ConnectionAbortedError):
            await client.post("/sessions", json={"title": "A"}, headers=KEY)
        service.engine.store.create_session = create  # type: ignore[method-assign]
        again = await client.post("/sessions", json={"title": "A"}, headers=KEY)
        assert again.status_code == 201
        assert again.json()["session_id"] == crashed[0][0].session_id


async def test_session_that_was_there_before_the_key_is_no_replay(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        await ann.post("/sessions", json={"session_id": "mine"})
        for _ in range(2):
            refused = await ann.post("/sessions", json={"session_id": "mine"}, headers=KEY)
            assert problem(refused) == (409, "session_exists")


@pytest.mark.parametrize("key", ["", "with space", "x" * 256])
async def test_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert problem(await client.post("/sessions", headers={"idempotency-key": key})) == (400, "body_invalid")
