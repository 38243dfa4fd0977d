"""Export and import of sessions over HTTP."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.routes.service import history, message_ids, problem, say, serving

BINARY = bytes(range(256)) * 1000
"""More than one piece of base64."""

JSON = {"content-type": "application/json"}


async def lived_in_session(client: httpx2.AsyncClient) -> str:
    """Return a session with branches, files, feedback, a failed turn, title and metadata."""
    file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
    given = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": ["one ", "two", {"type": "file", "file_id": file_id}]},
        {
            "role": "assistant",
            "content": "x",
            "metadata": {"title": "T", "n": [1.5, None]},
            "options": [{"value": "v"}],
        },
        {"role": "assistant", "content": [{"type": "data", "data": {"a": {"b": "\u2028🎉"}}, "name": "D"}]},
        {"role": "assistant", "content": [{"type": "source", "url": "http://x/"}, {"type": "reasoning", "text": "r"}]},
    ]
    made = await client.post("/sessions", json={"history": given, "title": "Ünï", "metadata": {"k": {"j": [1]}}})
    session_id: str = made.json()["session_id"]
    turn = await say(client, "a", session_id)
    await client.post(f"/messages/{turn['messages'][0]['message_id']}/feedback", json={"value": "like", "comment": "c"})
    await say(client, "b", session_id)
    await client.post(f"/sessions/{session_id}/undo")
    await say(client, "c", session_id)
    await client.post(f"/sessions/{session_id}/retry")
    failed = await client.post("/chat/multi", json={"session_id": session_id, "message": {"text": "f_nothing"}})
    assert failed.status_code == 500
    await client.post(f"/files?session_id={session_id}", content=BINARY)
    return session_id


def exact(document: dict[str, Any]) -> dict[str, Any]:
    """Return what of a document must survive the way there and back."""
    return {name: value for name, value in document.items() if name != "exported_at"}


async def test_export_holds_all_that_belongs_to_a_session(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await lived_in_session(client)
        response = await client.get(f"/sessions/{session_id}/export")
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-disposition"] == f'attachment; filename="{session_id}.json"'
        document = response.json()
        session = (await client.get(f"/sessions/{session_id}")).json()
        assert response.headers["etag"] == f'"{session["version"]}"'
        assert document["session"] == session | {"state": {}, "head": (await message_ids(client, session_id))[-1]}
        everything = await client.get(f"/sessions/{session_id}/messages?branches=true")
        assert [m["message_id"] for m in document["messages"]] == [m["message_id"] for m in everything.json()["items"]]
        assert [turn["status"] for turn in document["turns"]] == ["completed"] * 4 + ["failed"]
        assert {base64.b64decode(file["data"]) for file in document["files"]} == {b"words", BINARY}
        assert str(tmp_path) not in response.text


async def test_export_imported_into_an_empty_store_exports_the_same(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path / "one", "memory://") as service, service.client("ann") as ann:
        session_id = await lived_in_session(ann)
        first = await ann.get(f"/sessions/{session_id}/export")
    async with serving(tmp_path, store) as service, service.client("bob") as bob:
        imported = await bob.post("/sessions/import", content=first.content, headers=JSON)
        assert imported.status_code == 201
        assert imported.headers["location"] == f"/sessions/{session_id}"
        assert imported.headers["etag"] == first.headers["etag"]
        second = await bob.get(f"/sessions/{session_id}/export")
        assert exact(second.json()) == exact(first.json())
        await bob.delete(f"/sessions/{session_id}")
        assert await service.stored_files() == []
        assert (await bob.post("/sessions/import", content=second.content, headers=JSON)).status_code == 201
        third = await bob.get(f"/sessions/{session_id}/export")
        assert exact(third.json()) == exact(first.json())


async def test_imported_session_goes_on_where_it_was(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await say(client, "a"))["session_id"]
        document = (await client.get(f"/sessions/{session_id}/export")).content
        before = (await client.get(f"/sessions/{session_id}")).json()
        await client.delete(f"/sessions/{session_id}")
        await client.post("/sessions/import", content=document, headers=JSON)
        turn = await say(client, "b", session_id)
        assert (turn["text"], turn["version"]) == ("2:b", before["version"] + 2)
        assert (await client.get(f"/sessions/{session_id}")).json()["last_seq"] > before["last_seq"]
        undone = await client.post(f"/sessions/{session_id}/undo")
        assert undone.json()["message"]["content"] == "b"


async def test_import_beside_the_original_is_refused(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await lived_in_session(client)
        document = (await client.get(f"/sessions/{session_id}/export")).content
        kept = await service.stored_files()
        refused = await client.post("/sessions/import", content=document, headers=JSON)
        assert problem(refused) == (409, "session_exists")
        assert await service.stored_files() == kept
        assert exact((await client.get(f"/sessions/{session_id}/export")).json()) == exact(json.loads(document))


async def test_import_with_new_ids_is_a_copy_that_shares_nothing(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await lived_in_session(client)
        document = (await client.get(f"/sessions/{session_id}/export")).json()
        made = await client.post("/sessions/import?new_ids=true", json=document)
        copy_id = made.json()["session_id"]
        assert copy_id.startswith("s_")
        assert copy_id != session_id
        second = (await client.get(f"/sessions/{copy_id}/export")).json()
        assert not ids_of(document) & ids_of(second)
        assert without_ids(second) == without_ids(document)
        await client.delete(f"/sessions/{session_id}")
        for file in second["files"]:
            assert (await client.get(f"/files/{file['id']}")).content == base64.b64decode(file["data"])


def ids_of(document: dict[str, Any]) -> set[str]:
    return {
        document["session"]["session_id"],
        *(message["message_id"] for message in document["messages"]),
        *(turn["turn_id"] for turn in document["turns"]),
        *(file["id"] for file in document["files"]),
    }


def without_ids(document: dict[str, Any]) -> Any:
    """Return a document with every id replaced by the place where it first occurs."""
    text = json.dumps(exact(document))
    numbers: dict[str, str] = {}
    for name in [
        document["session"]["session_id"],
        *(message["message_id"] for message in document["messages"]),
        *(turn["turn_id"] for turn in document["turns"]),
        *(file["id"] for file in document["files"]),
    ]:
        numbers[name] = f"#{len(numbers)}"
        text = text.replace(name, numbers[name])
    return json.loads(text)


async def test_import_of_a_foreign_session_never_touches_it(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("eve") as eve:
        session_id = await lived_in_session(ann)
        before = (await ann.get(f"/sessions/{session_id}/export")).json()
        same = await eve.post("/sessions/import", json=before)
        assert problem(same) == (409, "session_exists")
        stolen = copy.deepcopy(before)
        stolen["session"]["session_id"] = "s_" + "x" * 22
        for turn in stolen["turns"]:
            turn["session_id"] = stolen["session"]["session_id"]
        assert problem(await eve.post("/sessions/import", json=stolen)) == (409, "session_exists")
        for message in stolen["messages"]:
            message["content"] = [part for part in message["content"] if part["type"] != "file"]
        stolen |= {"turns": [], "messages": [], "session": stolen["session"] | {"head": None}}
        forged = base64.b64encode(b"evil!").decode()
        stolen["files"] = [file | {"data": forged, "size": 5} for file in before["files"]]
        assert problem(await eve.post("/sessions/import", json=stolen)) == (409, "session_exists")
        assert (await ann.get(f"/sessions/{session_id}/export")).json()["files"] == before["files"]
        assert (await eve.get("/sessions")).json()["items"] == []


async def test_file_whose_bytes_were_gone_is_exported_without_them(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        made = (await client.post(f"/files?session_id={session_id}", content=b"x")).json()
        await service.lose_bytes(made["id"])
        document = (await client.get(f"/sessions/{session_id}/export")).json()
        assert document["files"][0]["data"] is None
        await client.delete(f"/sessions/{session_id}")
        assert (await client.post("/sessions/import", json=document)).status_code == 201
        assert (await client.get(made["url"])).status_code == 404


def small_document() -> dict[str, Any]:
    """Return the smallest document with one of everything."""
    time = "2026-01-31T12:00:00.000Z"
    message = {
        "message_id": "m_1", "turn_id": "t_1", "parent_id": None, "role": "user",
        "content": [{"type": "text", "text": "hi"}, file_part()], "created_at": time,
    }  # fmt: skip
    turn = {
        "turn_id": "t_1", "session_id": "s_1", "chat": "echo", "status": "completed", "user_message_id": "m_1",
        "created_at": time, "version": 3,
    }  # fmt: skip
    session = {
        "session_id": "s_1", "title": None, "metadata": {}, "state": {"n": 1}, "version": 3, "head": "m_1",
        "last_seq": 7, "created_at": time, "updated_at": time,
    }  # fmt: skip
    file = {
        "id": "f_1234", "name": "a", "media_type": "text/plain", "size": 1, "created_at": time, "data": "eA==",
    }  # fmt: skip
    return {
        "format": "chatserve.session", "format_version": 1, "session": session, "messages": [message],
        "turns": [turn], "files": [file],
    }  # fmt: skip


def file_part() -> dict[str, Any]:
    return {"type": "file", "file_id": "f_1234", "name": "a", "media_type": "text/plain", "size": 1, "url": "/x"}


async def test_smallest_document_is_imported(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        made = await client.post("/sessions/import", json=small_document())
        assert (made.status_code, made.json()["version"], made.json()["last_seq"]) == (201, 3, 7)
        exported = (await client.get("/sessions/s_1/export")).json()
        assert exported["session"] == small_document()["session"]


async def test_what_a_message_claims_of_a_file_is_taken_from_the_file(tmp_path: Path, store: str) -> None:
    document = small_document()
    document["messages"][0]["content"] = [file_part() | {"name": "x.exe", "media_type": "text/html", "size": 9}]
    async with serving(tmp_path, store) as service, service.client() as client:
        await client.post("/sessions/import", json=document)
        assert await history(client, "s_1") == [("user", [file_part() | {"url": "/files/f_1234"}])]


BROKEN: list[tuple[list[Any], Any]] = [
    (["format"], "other"),
    (["format_version"], 2),
    (["color"], "red"),
    (["exported_at"], "yesterday"),
    (["session", "session_id"], "../../x"),
    (["session", "session_id"], "s_other"),
    (["session", "head"], "m_none"),
    (["session", "version"], 0),
    (["session", "version"], "3"),
    (["session", "last_seq"], -1),
    (["session", "last_seq"], 2**60),
    (["session", "metadata"], []),
    (["session", "state"], None),
    (["session", "owner"], "bob"),
    (["session", "created_at"], "2026-01-31T12:00:00"),
    (["session", "created_at"], "2026-13-31T12:00:00.000Z"),
    (["messages"], {}),
    (["messages", 0, "message_id"], "x"),
    (["messages", 0, "message_id"], "m_/../x"),
    (["messages", 0, "turn_id"], "t_none"),
    (["messages", 0, "parent_id"], "m_1"),
    (["messages", 0, "parent_id"], "m_none"),
    (["messages", 0, "role"], "boss"),
    (["messages", 0, "content"], "hi"),
    (["messages", 0, "content", 0], {"type": "exec", "text": "x"}),
    (["messages", 0, "content", 0], {"type": "text", "text": 5}),
    (["messages", 0, "content", 0], {"type": "file", "path": "/etc/passwd"}),
    (["messages", 0, "content", 1, "file_id"], "f_other"),
    (["messages", 0, "content", 1, "file_id"], "f_/../../x"),
    (["messages", 0, "content", 1, "size"], -1),
    (["messages", 0, "status"], "dancing"),
    (["messages", 0, "options"], [1]),
    (["messages", 0, "metadata"], "x"),
    (["turns", 0, "session_id"], "s_2"),
    (["turns", 0, "user_message_id"], "m_none"),
    (["turns", 0, "status"], "dancing"),
    (["turns", 0, "usage"], {"input_tokens": "many", "output_tokens": 1}),
    (["turns", 0, "error"], {"code": "x"}),
    (["files", 0, "id"], "f_../../../x"),
    (["files", 0, "id"], "x_1"),
    (["files", 0, "id"], ""),
    (["files", 0, "name"], ""),
    (["files", 0, "media_type"], "text/plain\r\nx: y"),
    (["files", 0, "size"], 2),
    (["files", 0, "data"], "not base64!"),
    (["files", 0, "data"], "eA==eA=="),
    (["files", 0, "data"], "\u0089\u00bb"),
    (["files", 0, "path"], "/etc/passwd"),
]


@pytest.mark.parametrize(("place", "value"), BROKEN, ids=[f"{place}={value!r:.30}" for place, value in BROKEN])
async def test_broken_document_is_refused_and_leaves_nothing(
    tmp_path: Path, store: str, place: list[Any], value: Any
) -> None:
    document: Any = small_document()
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    async with serving(tmp_path, store) as service, service.client() as client:
        refused = await client.post("/sessions/import", json=document)
        assert problem(refused) == (422, "inputs_invalid")
        assert (await client.get("/sessions")).json()["items"] == []
        assert await service.stored_files() == []


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (["messages"], "messages.0.message_id"),
        (["messages", 0, "content"], "messages.0.content.0"),
        (["messages", 0, "options"], "messages.0.options.0"),
        (["turns"], "turns.0.turn_id"),
        (["files"], "files.0.id"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else "",
)
async def test_list_is_not_read_beyond_what_is_wrong_in_it(tmp_path: Path, place: list[Any], field: str) -> None:
    document: Any = small_document()
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = [{} if place[-1] != "options" else 1] * 1000
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.post("/sessions/import", json=document)
        assert problem(refused) == (422, "inputs_invalid")
        errors = refused.json()["errors"]
        assert field in {error["field"] for error in errors}
        assert len(errors) <= 20
        assert all(error["field"].startswith(field.rpartition(".")[0]) for error in errors)


@pytest.mark.parametrize(("count", "named"), [(19, 19), (21, 20), (10_001, 1)])
async def test_answer_names_twenty_wrong_fields_at_most(tmp_path: Path, count: int, named: int) -> None:
    document = small_document() | {f"unknown{number}": 1 for number in range(count)}
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.post("/sessions/import", json=document)
        assert problem(refused) == (422, "inputs_invalid")
        assert len(refused.json()["errors"]) == named


async def test_imported_files_are_where_the_function_looks_for_them(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path / "a", store) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        turn = await say(client, {"text": "", "files": [file_id]}, chat="multi")
        document = (await client.get(f"/sessions/{turn['session_id']}/export")).json()
    document["files"][0]["name"] = "../\x00b.txt"
    async with serving(tmp_path / "b") as service, service.client() as client:
        for params in ({}, {"new_ids": "true"}):
            made = (await client.post("/sessions/import", json=document, params=params)).json()
            answer = await say(client, {"text": "", "files": []}, made["session_id"], chat="multi")
            assert answer["text"] == "words"


async def test_file_that_is_there_under_another_name_is_not_imported(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        turn = await say(client, {"text": "", "files": [file_id]}, chat="multi")
        document = (await client.get(f"/sessions/{turn['session_id']}/export")).json()
        await client.post(f"/sessions/{turn['session_id']}/fork")
        await client.delete(f"/sessions/{turn['session_id']}")
        document["files"][0]["name"] = "b.txt"
        refused = await client.post("/sessions/import", json=document)
        assert problem(refused) == (409, "session_exists")
        assert file_id in refused.json()["detail"]
        document["files"][0]["name"] = "a.txt"
        assert (await client.post("/sessions/import", json=document)).status_code == 201


@pytest.mark.parametrize("noun", ["messages", "turns", "files"])
async def test_id_that_occurs_twice_is_refused(tmp_path: Path, store: str, noun: str) -> None:
    document = small_document()
    document[noun] *= 2
    async with serving(tmp_path, store) as service, service.client() as client:
        assert problem(await client.post("/sessions/import", json=document)) == (422, "inputs_invalid")
        assert await service.stored_files() == []


async def test_document_beyond_its_limits_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, max_history_body_bytes=2000) as service, service.client() as client:
        large = json.dumps(small_document() | {"files": [{"data": "x" * 3000}]})
        refused = await client.post("/sessions/import", content=large, headers=JSON)
        assert problem(refused) == (413, "body_too_large")
        deep = "[" * 200 + "]" * 200
        refused = await client.post("/sessions/import", content=deep, headers=JSON)
        assert problem(refused) == (400, "body_invalid")
        assert problem(await client.post("/sessions/import", content=b"{", headers=JSON)) == (400, "body_invalid")
        assert problem(await client.post("/sessions/import", content=b"{}")) == (415, "media_type_unsupported")
        assert problem(await client.post("/sessions/import?new_ids=2", json=small_document())) == (400, "body_invalid")


async def test_session_id_chosen_by_a_client_is_imported_only_where_it_may_be_chosen(tmp_path: Path) -> None:
    document = small_document() | {"turns": [], "messages": [], "files": []}
    document["session"] |= {"session_id": "mine", "head": None}
    async with serving(tmp_path) as service, service.client() as anybody, service.client("ann") as ann:
        assert problem(await anybody.post("/sessions/import", json=document)) == (404, "session_unknown")
        assert (await ann.post("/sessions/import", json=document)).json()["session_id"] == "mine"


async def test_turn_that_ran_at_the_export_is_interrupted_in_the_copy(tmp_path: Path, store: str) -> None:
    document = small_document()
    document["turns"][0] |= {"status": "running"}
    async with serving(tmp_path, store) as service, service.client() as client:
        await client.post("/sessions/import", json=document)
        assert (await client.get("/turns/t_1")).json()["status"] == "interrupted"
        assert await history(client, "s_1") != []
        assert (await say(client, "next", "s_1"))["text"].endswith("next")
