"""Sessions over HTTP: create, list, read, rename, delete."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.routes.service import WAIT_S, history, problem, say, say_later, serving


async def test_created_session_is_read_back_under_its_location(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        made = await ann.post("/sessions", json={"title": "Plans", "metadata": {"lang": "de"}})
        assert made.status_code == 201
        assert made.headers["etag"] == '"1"'
        read = await ann.get(made.headers["location"])
        assert read.json() == made.json()
        assert read.headers["etag"] == '"1"'
        assert set(read.json()) == {
            "session_id", "title", "metadata", "version", "last_seq", "created_at", "updated_at",
        }  # fmt: skip
        assert read.json()["title"] == "Plans"
        assert read.json()["metadata"] == {"lang": "de"}


async def test_session_is_created_without_a_body(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        made = await client.post("/sessions")
        assert made.status_code == 201
        assert made.json()["title"] is None


@pytest.mark.parametrize(
    "given",
    [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        [["hi", "ho"]],
    ],
    ids=["messages", "tuples"],
)
async def test_history_given_at_the_creation_is_what_the_function_sees(
    tmp_path: Path, store: str, given: list[object]
) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions", json={"history": given})).json()["session_id"]
        assert await history(client, session_id) == [("user", "hi"), ("assistant", "ho")]
        assert (await say(client, "now", session_id))["text"] == "2:now"
        assert (await say(client, "now", session_id, chat="tuples_echo"))["text"].startswith("[['hi', 'ho']")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": 5}, "title"),
        ({"title": "x" * 1001}, "title"),
        ({"metadata": []}, "metadata"),
        ({"color": "red"}, "color"),
        ({"history": "hi"}, "history"),
    ],
)
async def test_body_of_another_shape_is_refused_by_field(tmp_path: Path, body: object, field: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.post("/sessions", json=body)
        assert problem(refused) == (422, "inputs_invalid")
        assert refused.json()["errors"][0]["field"] == field
        assert (await client.get("/sessions")).json()["items"] == []


async def test_history_with_an_unknown_role_creates_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.post("/sessions", json={"history": [{"role": "boss", "content": "hi"}]})
        assert problem(refused) == (422, "inputs_invalid")
        assert (await client.get("/sessions")).json()["items"] == []


async def test_body_that_is_not_json_is_unsupported(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert problem(await client.post("/sessions", content=b"title=x")) == (415, "media_type_unsupported")


async def test_body_without_history_has_the_smaller_limit(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"max_body_bytes": 100, "max_history_body_bytes": 1000}
    async with serving(tmp_path, **limits) as service, service.client() as client:
        metadata = {"x": "y" * 200}
        assert problem(await client.post("/sessions", json={"metadata": metadata})) == (413, "body_too_large")
        given = [["x" * 200, None]]
        assert (await client.post("/sessions", json={"history": given})).status_code == 201


async def test_session_id_chosen_by_an_owner_is_taken(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        made = await ann.post("/sessions", json={"session_id": "my.chat-1"})
        assert made.json()["session_id"] == "my.chat-1"
        assert (await say(ann, "hi", "my.chat-1"))["session_id"] == "my.chat-1"
        again = await ann.post("/sessions", json={"session_id": "my.chat-1"})
        assert problem(again) == (409, "session_exists")


@pytest.mark.parametrize(
    ("session_id", "expected"),
    [
        ("main", (404, "session_unknown")),
        ("s_1234567890123456789012", (404, "session_unknown")),
        ("s_ not an id", (404, "session_unknown")),
        ("../x", (422, "inputs_invalid")),
        ("", (422, "inputs_invalid")),
        ("x" * 65, (422, "inputs_invalid")),
    ],
)
async def test_session_id_that_cannot_be_chosen_is_refused_as_post_chat_does(
    tmp_path: Path, session_id: str, expected: tuple[int, str]
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert problem(await client.post("/sessions", json={"session_id": session_id})) == expected
        assert problem(await client.post("/chat", json={"message": "hi", "session_id": session_id})) == expected


async def test_sessions_are_listed_newest_first_in_pages(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        made = [(await ann.post("/sessions", json={"title": str(n)})).json()["session_id"] for n in range(5)]
        listed, after = [], None
        for size in (2, 2, 1):
            page = (await ann.get("/sessions", params={"limit": 2} | ({"after": after} if after else {}))).json()
            assert len(page["items"]) == size
            listed += [item["session_id"] for item in page["items"]]
            after = page["next"]
        assert after is None
        assert listed == made[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("limit=0", 400), ("limit=1001", 400), ("limit=x", 400), ("after=s_none", 404)],
)
async def test_bad_page_is_refused(tmp_path: Path, query: str, expected: int) -> None:
    async with serving(tmp_path) as service, service.client("ann") as ann:
        assert problem(await ann.get(f"/sessions?{query}"))[0] == expected


async def test_sessions_of_others_are_not_listed(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("bob") as bob:
        await ann.post("/sessions")
        assert (await bob.get("/sessions")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("testclient", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}, 403),
        ("127.0.0.1", {"forwarded": "for=192.0.2.7"}, 403),
    ],
)
async def test_without_an_owner_only_this_machine_may_list(
    tmp_path: Path, host: str, headers: dict[str, str], status: int
) -> None:
    async with serving(tmp_path) as service, service.client("", (host, 1)) as client:
        assert (await client.get("/sessions", headers=headers)).status_code == status


async def test_owner_may_list_from_anywhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client("ann", ("192.0.2.7", 1)) as ann:
        assert (await ann.get("/sessions")).status_code == 200


async def test_rename_changes_the_title_alone(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        path = (await client.post("/sessions", json={"title": "A", "metadata": {"k": 1}})).headers["location"]
        changed = await client.patch(path, json={"title": "B"})
        assert (changed.json()["title"], changed.json()["metadata"]) == ("B", {"k": 1})
        assert changed.headers["etag"] == '"2"'
        changed = await client.patch(path, json={"metadata": {"j": 2}})
        assert (changed.json()["title"], changed.json()["metadata"]) == ("B", {"j": 2})
        assert (await client.patch(path, json={"title": None})).json()["title"] is None
        assert (await client.get(path)).json()["version"] == 4


async def test_change_of_a_stale_version_is_refused_with_the_current_one(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        path = (await client.post("/sessions")).headers["location"]
        assert (await client.patch(path, json={"title": "B"}, headers={"if-match": '"1"'})).status_code == 200
        for method in ("PATCH", "DELETE"):
            stale = await client.request(
                method, path, headers={"if-match": '"1"'}, json={"title": "C"} if method == "PATCH" else None
            )
            assert problem(stale) == (412, "version_conflict")
            assert stale.headers["etag"] == '"2"'
        assert (await client.get(path)).json()["title"] == "B"
        assert (await client.delete(path, headers={"if-match": '"2"'})).status_code == 204


async def test_if_match_that_is_no_version_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        path = (await client.post("/sessions")).headers["location"]
        assert problem(await client.patch(path, json={}, headers={"if-match": "1"})) == (400, "body_invalid")


async def test_last_seq_counts_what_a_running_turn_has_shown(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        await say_later(client, "wait", session_id)
        await asyncio.wait_for(service.gate.reached.wait(), WAIT_S)
        assert (await client.get(f"/sessions/{session_id}")).json()["last_seq"] == 1
        assert (await client.get("/sessions")).json()["items"][0]["last_seq"] == 1


async def test_deleted_session_is_gone_with_all_that_belonged_to_it(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        turn = await say(client, {"text": "", "files": [file_id]}, chat="multi")
        session_id = turn["session_id"]
        assert await service.stored_files() == [file_id]
        assert (await client.delete(f"/sessions/{session_id}")).status_code == 204
        for gone in (f"/sessions/{session_id}", f"/turns/{turn['turn_id']}", f"/files/{file_id}"):
            assert (await client.get(gone)).status_code == 404
        assert await service.stored_files() == []


async def test_session_in_which_a_turn_runs_is_not_deleted(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        turn_id = await say_later(client, "wait", session_id)
        refused = await client.delete(f"/sessions/{session_id}")
        assert problem(refused) == (409, "session_busy")
        assert refused.headers["location"] == f"/turns/{turn_id}"
        assert refused.json()["turn_id"] == turn_id
        service.gate.opened.set()
        await client.post(f"/turns/{turn_id}/stop")
        assert (await client.delete(f"/sessions/{session_id}")).status_code == 204


async def test_streams_of_a_deleted_session_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        following = asyncio.create_task(client.get(f"/sessions/{session_id}/events"))
        async with asyncio.timeout(WAIT_S):
            await service.until_readers(1)
            assert (await client.delete(f"/sessions/{session_id}")).status_code == 204
            assert (await following).status_code == 200


async def test_session_made_anew_under_a_deleted_id_has_no_history(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        assert (await say(ann, "one", "mine"))["text"] == "0:one"
        assert (await ann.delete("/sessions/mine")).status_code == 204
        assert (await say(ann, "two", "mine"))["text"] == "0:two"


FOREIGN = [
    ("GET", "/sessions/{session_id}", None),
    ("PATCH", "/sessions/{session_id}", {"title": "mine"}),
    ("DELETE", "/sessions/{session_id}", None),
    ("GET", "/sessions/{session_id}/messages", None),
    ("GET", "/sessions/{session_id}/messages?format=tuples", None),
    ("DELETE", "/sessions/{session_id}/messages", None),
    ("POST", "/sessions/{session_id}/undo", {}),
    ("POST", "/sessions/{session_id}/retry", {}),
    ("POST", "/sessions/{session_id}/edit", {"message_id": "{message_id}", "message": "x"}),
    ("POST", "/sessions/{session_id}/fork", {}),
    ("GET", "/sessions/{session_id}/export", None),
    ("POST", "/messages/{message_id}/feedback", {"value": "like"}),
    ("POST", "/files?session_id={session_id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN, ids=[f"{m} {p}" for m, p, _ in FOREIGN])
async def test_foreign_session_is_an_unknown_one(
    tmp_path: Path, store: str, method: str, path: str, body: dict[str, str] | None
) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("bob") as bob:
        turn = await say(ann, "hi")
        ids = {"session_id": turn["session_id"], "message_id": turn["messages"][0]["message_id"]}
        unknown = {"session_id": "s_unknown", "message_id": "m_unknown"}

        async def ask(names: dict[str, str]) -> tuple[int, str]:
            given = None if body is None else {key: value.format(**names) for key, value in body.items()}
            return problem(await bob.request(method, path.format(**names), json=given))

        assert await ask(ids) == await ask(unknown)
        assert (await ask(ids))[0] == 404
        before = (await ann.get(f"/sessions/{turn['session_id']}")).json()
        assert before["version"] == turn["version"]
        assert (await say(ann, "still mine", turn["session_id"]))["text"] == "2:still mine"
