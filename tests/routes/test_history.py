"""Histories over HTTP: read, undo, retry, edit, fork, clear."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.routes.service import WAIT_S, history, message_ids, problem, say, say_later, serving
from tests.support.sse import read_events


async def talk(client: httpx2.AsyncClient, *messages: str, **body: Any) -> str:
    """Take turns in a new session; return its id."""
    session_id = None
    for message in messages:
        session_id = (await say(client, message, session_id, **body))["session_id"]
    assert session_id is not None
    return session_id


# --- reading -----------------------------------------------------------------------------------------------------


async def test_messages_are_listed_in_the_format_asked_for(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        assert await history(client, session_id) == [
            ("user", "a"), ("assistant", "0:a"), ("user", "b"), ("assistant", "2:b"),
        ]  # fmt: skip
        assert await history(client, session_id, format="tuples") == [["a", "0:a"], ["b", "2:b"]]
        assert await history(client, session_id, format="openai") == [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "0:a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "2:b"},
        ]


async def test_listed_messages_carry_the_version_as_etag(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = await talk(client, "a")
        assert (await client.get(f"/sessions/{session_id}/messages")).headers["etag"] == '"3"'


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_pages_join_to_the_whole_history(tmp_path: Path, store: str, limit: int) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b", "c")
        for shape in ("messages", "tuples", "openai"):
            whole = await history(client, session_id, format=shape)
            joined: list[Any] = []
            params: dict[str, Any] = {"format": shape, "limit": limit}
            while True:
                page = (await client.get(f"/sessions/{session_id}/messages", params=params)).json()
                joined += page["items"]
                if page["next"] is None:
                    break
                params["after"] = page["next"]
            assert joined == whole


async def test_page_of_pairs_holds_whole_turns_about_as_many_as_asked_for(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b", "c")
        ids = await message_ids(client, session_id)
        for limit, first_page in ((1, [["a", "0:a"]]), (3, [["a", "0:a"]]), (5, [["a", "0:a"], ["b", "2:b"]])):
            params: dict[str, Any] = {"format": "tuples", "limit": limit}
            page = (await client.get(f"/sessions/{session_id}/messages", params=params)).json()
            assert page == {"items": first_page, "next": ids[2 * len(first_page) - 1]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("format=xml", (400, "body_invalid")),
        ("limit=0", (400, "body_invalid")),
        ("branches=maybe", (400, "body_invalid")),
        ("branches=true&format=tuples", (400, "body_invalid")),
        ("after=m_none", (404, "message_unknown")),
        ("after=m_none&format=tuples", (404, "message_unknown")),
    ],
)
async def test_bad_listing_is_refused(tmp_path: Path, query: str, expected: tuple[int, str]) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = await talk(client, "a")
        assert problem(await client.get(f"/sessions/{session_id}/messages?{query}")) == expected


async def test_files_are_named_by_id_in_every_format(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        image_id = (await client.post("/files?name=a.png", content=b"\x89PNG\r\n\x1a\n")).json()["id"]
        given = [{"role": "user", "content": ["see", {"type": "file", "file_id": file_id}]}]
        given += [{"role": "assistant", "content": [{"type": "file", "file_id": image_id}]}]
        session_id = (await client.post("/sessions", json={"history": given})).json()["session_id"]
        part = {
            "type": "file", "file_id": file_id, "name": "a.txt", "media_type": "text/plain", "size": 5,
            "url": f"/files/{file_id}",
        }  # fmt: skip
        image = {**part, "file_id": image_id, "name": "a.png", "media_type": "image/png", "size": 8}
        image["url"] = f"/files/{image_id}"
        assert await history(client, session_id) == [
            ("user", [{"type": "text", "text": "see"}, part]),
            ("assistant", [image]),
        ]
        assert await history(client, session_id, format="tuples") == [[part, None], ["see", image]]
        assert await history(client, session_id, format="openai") == [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "file", "file": {"file_id": file_id, "filename": "a.txt"}},
                ],
            },
            {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": f"/files/{image_id}"}}]},
        ]
        for shape in ("messages", "tuples", "openai"):
            assert str(tmp_path) not in str(await history(client, session_id, format=shape))


async def test_tools_and_thoughts_have_openai_shapes_or_are_left_out(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    given = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "thinking", "metadata": {"title": "Thought"}},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": [{"type": "data", "data": {"sum": 2}}]},
    ]
    async with serving(tmp_path) as service, service.client() as client:
        session_id = (await client.post("/sessions", json={"history": given})).json()["session_id"]
        assert await history(client, session_id, format="openai") == [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
            {"role": "assistant", "content": '{"sum":2}'},
        ]


async def test_history_read_in_any_format_can_be_given_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        given = [[{"type": "file", "file_id": file_id}, None], ["a", "b"]]
        session_id = (await client.post("/sessions", json={"history": given})).json()["session_id"]
        for shape in ("messages", "tuples"):
            items = await history(client, session_id, format=shape)
            copy = (await client.post("/sessions", json={"history": items})).json()["session_id"]
            assert await history(client, copy) == await history(client, session_id)


# --- undo and clear ----------------------------------------------------------------------------------------------


async def test_undo_takes_the_last_turn_back_and_answers_with_its_message(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        undone = await client.post(f"/sessions/{session_id}/undo")
        assert undone.status_code == 200
        assert undone.json()["message"]["content"] == "b"
        assert undone.headers["etag"] == f'"{undone.json()["version"]}"' == '"6"'
        assert await history(client, session_id) == [("user", "a"), ("assistant", "0:a")]
        assert (await say(client, "c", session_id))["text"] == "2:c"


async def test_what_was_undone_stays_readable_as_a_branch(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        await client.post(f"/sessions/{session_id}/undo", json={})
        await say(client, "c", session_id)
        everything = await client.get(f"/sessions/{session_id}/messages?branches=true")
        rows = {row["message_id"]: row for row in everything.json()["items"]}
        assert [row["content"] for row in rows.values()] == ["a", "0:a", "b", "2:b", "c", "2:c"]
        parents = {row["content"]: rows.get(row["parent_id"], {}).get("content") for row in rows.values()}
        assert parents == {"a": None, "0:a": "a", "b": "0:a", "2:b": "b", "c": "0:a", "2:c": "c"}


async def test_undo_of_an_empty_history_is_refused(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        path = (await client.post("/sessions")).headers["location"]
        assert problem(await client.post(f"{path}/undo")) == (409, "nothing_to_undo")
        assert (await client.get(path)).json()["version"] == 1


async def test_clear_empties_the_history_alone(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        await client.patch(f"/sessions/{session_id}", json={"title": "T"})
        cleared = await client.delete(f"/sessions/{session_id}/messages")
        assert cleared.status_code == 200
        assert cleared.json()["title"] == "T"
        assert cleared.headers["etag"] == f'"{cleared.json()["version"]}"'
        assert await history(client, session_id) == []
        assert (await say(client, "c", session_id))["text"] == "0:c"


async def test_history_operations_are_told_to_the_session_stream(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a")
        seen = (await client.get(f"/sessions/{session_id}")).json()["last_seq"]
        following = asyncio.create_task(client.get(f"/sessions/{session_id}/events?after={seen}"))
        async with asyncio.timeout(WAIT_S):
            await service.until_readers(1)
            await client.post(f"/sessions/{session_id}/undo")
            await client.delete(f"/sessions/{session_id}/messages")
            await client.delete(f"/sessions/{session_id}")  # which ends the stream
            events = list(read_events((await following).text.splitlines()))
        told = [(event.json["operation"], event.json["version"]) for event in events if event.event == "history"]
        assert told == [("undo", 4), ("clear", 5)]


# --- retry and edit ----------------------------------------------------------------------------------------------


async def test_retry_answers_the_last_message_again_beside_the_first_answer(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        before = await message_ids(client, session_id)
        retried = (await client.post(f"/sessions/{session_id}/retry", json={"inputs": {"loud": True}})).json()
        assert (retried["text"], retried["status"]) == ("2:B", "completed")
        after = await message_ids(client, session_id)
        assert after[:3] == before[:3]
        assert after[3] != before[3]
        rows = (await client.get(f"/sessions/{session_id}/messages?branches=true")).json()["items"]
        siblings = [row["content"] for row in rows if row["parent_id"] == before[2]]
        assert siblings == ["2:b", "2:B"]


@pytest.mark.parametrize("named", [0, 1], ids=["user message", "answer"])
async def test_retry_of_an_earlier_message_branches_there(tmp_path: Path, store: str, named: int) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        message_id = (await message_ids(client, session_id))[named]
        await client.post(f"/sessions/{session_id}/retry", json={"message_id": message_id, "inputs": {"loud": True}})
        assert await history(client, session_id) == [("user", "a"), ("assistant", "0:A")]


async def test_retry_is_answered_by_the_chat_that_answered_before(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", chat="tuples_echo")
        assert (await client.post(f"/sessions/{session_id}/retry")).json()["text"] == "[]"
        other = await client.post(f"/sessions/{session_id}/retry", json={"chat": "echo"})
        assert other.json()["text"] == "0:a"
        assert problem(await client.post(f"/sessions/{session_id}/retry", json={"chat": "x"})) == (404, "chat_unknown")


async def test_retry_after_undo_answers_what_is_last_now(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        await client.post(f"/sessions/{session_id}/undo")
        assert (await client.post(f"/sessions/{session_id}/retry")).json()["text"] == "0:a"


async def test_retry_in_a_seeded_history_answers_its_last_user_message(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        path = (await client.post("/sessions", json={"history": [["a", "x"], ["b", "y"]]})).headers["location"]
        assert (await client.post(f"{path}/retry")).json()["text"] == "2:b"


async def test_retry_with_files_gives_them_to_the_function_again(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        file_id = (await client.post("/files", content=b"words")).json()["id"]
        session_id = (await say(client, {"text": "", "files": [file_id]}, chat="multi"))["session_id"]
        assert (await client.post(f"/sessions/{session_id}/retry")).json()["text"] == "words"


async def test_retry_without_anything_to_answer_is_refused(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        for given in ({}, {"history": [[None, "welcome"]]}):
            path = (await client.post("/sessions", json=given)).headers["location"]
            assert problem(await client.post(f"{path}/retry")) == (409, "nothing_to_undo")


async def test_edit_replaces_a_message_and_answers_it_beside_the_old_one(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b", "c")
        ids = await message_ids(client, session_id)
        edited = await client.post(f"/sessions/{session_id}/edit", json={"message_id": ids[2], "message": "B"})
        assert edited.json()["text"] == "2:B"
        assert edited.headers["etag"] == f'"{edited.json()["version"]}"'
        assert await history(client, session_id) == [
            ("user", "a"), ("assistant", "0:a"), ("user", "B"), ("assistant", "2:B"),
        ]  # fmt: skip
        rows = (await client.get(f"/sessions/{session_id}/messages?branches=true")).json()["items"]
        assert [row["content"] for row in rows if row["parent_id"] == ids[1]] == ["b", "B"]
        assert (await say(client, "d", session_id))["text"] == "4:d"


async def test_edit_takes_files_and_the_chats_inputs(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        file_id = (await client.post("/files", content=b"words")).json()["id"]
        session_id = (await say(client, "", chat="multi"))["session_id"]
        (message_id, *_) = await message_ids(client, session_id)
        message = {"text": "", "files": [file_id]}
        edited = await client.post(f"/sessions/{session_id}/edit", json={"message_id": message_id, "message": message})
        assert edited.json()["text"] == "words"
        refused = await client.post(
            f"/sessions/{session_id}/edit", json={"message_id": message_id, "message": "x", "inputs": {"n": 1}}
        )
        assert problem(refused) == (422, "inputs_invalid")


@pytest.mark.parametrize(
    ("verb", "body", "expected"),
    [
        ("edit", {}, (422, "inputs_invalid")),
        ("edit", {"message_id": "m_none", "message": "x"}, (404, "message_unknown")),
        ("edit", {"message_id": "{answer}", "message": "x"}, (404, "message_unknown")),
        ("edit", {"message_id": "{other}", "message": "x"}, (404, "message_unknown")),
        ("edit", {"message_id": "{user}", "message": "x", "color": 1}, (422, "inputs_invalid")),
        ("edit", {"message_id": "{user}", "message": "x" * 300_000}, (413, "body_too_large")),
        ("retry", {"message_id": "m_none"}, (404, "message_unknown")),
        ("retry", {"message_id": "{other}"}, (404, "message_unknown")),
        ("retry", {"inputs": {"loud": "?"}}, (422, "inputs_invalid")),
        ("retry", {"when_busy": "panic"}, (422, "inputs_invalid")),
        ("undo", {"message_id": "{user}"}, (422, "inputs_invalid")),
        ("fork", {"message_id": "m_none"}, (404, "message_unknown")),
        ("fork", {"message_id": "{other}"}, (404, "message_unknown")),
    ],
)
async def test_bad_operation_is_refused_and_changes_nothing(
    tmp_path: Path, store: str, verb: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id, other = await talk(client, "a"), await talk(client, "b")
        (user, answer), (foreign, _) = await message_ids(client, session_id), await message_ids(client, other)
        names = {"{user}": user, "{answer}": answer, "{other}": foreign}
        given = {key: names.get(value, value) if isinstance(value, str) else value for key, value in body.items()}
        assert problem(await client.post(f"/sessions/{session_id}/{verb}", json=given)) == expected
        assert (await client.get(f"/sessions/{session_id}")).json()["version"] == 3
        assert len((await client.get("/sessions")).json()["items"]) == 2


@pytest.mark.parametrize("verb", ["retry", "edit"])
async def test_operation_answers_in_every_way_post_chat_does(tmp_path: Path, verb: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = await talk(client, "a")
        (message_id, _) = await message_ids(client, session_id)
        path = f"/sessions/{session_id}/{verb}"
        body = {"message_id": message_id} | ({"message": "a"} if verb == "edit" else {})
        streamed = await client.post(path, json=body | {"stream": True})
        events = list(read_events(streamed.text.splitlines()))
        assert (events[0].event, events[-1].event) == ("turn", "done")
        assert events[-1].json["messages"][0]["content"] == "0:a"
        words = await client.post(path, json=body, headers={"accept": "text/plain"})
        assert words.text == "0:a"
        later = await client.post(path, json=body, headers={"prefer": "respond-async"})
        assert later.status_code == 202
        assert later.headers["location"].startswith("/turns/t_")


@pytest.mark.parametrize("verb", ["undo", "retry", "edit", "fork", "clear"])
async def test_operation_is_refused_while_a_turn_runs(tmp_path: Path, store: str, verb: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a")
        (message_id, _) = await message_ids(client, session_id)
        turn_id = await say_later(client, "wait", session_id)
        body = {"message_id": message_id, "message": "x"} if verb == "edit" else {}
        path = f"/sessions/{session_id}/{verb}"
        refused = await (
            client.delete(f"/sessions/{session_id}/messages") if verb == "clear" else client.post(path, json=body)
        )
        assert problem(refused) == (409, "session_busy")
        assert refused.headers["location"] == f"/turns/{turn_id}"
        service.gate.opened.set()


async def test_retry_that_interrupts_ends_the_running_turn_first(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a")
        turn_id = await say_later(client, "wait", session_id)
        await asyncio.wait_for(service.gate.reached.wait(), WAIT_S)
        (message_id, *_) = await message_ids(client, session_id)
        body = {"message_id": message_id, "when_busy": "interrupt"}
        retried = await client.post(f"/sessions/{session_id}/retry", json=body)
        assert retried.json()["text"] == "0:a"
        assert (await client.get(f"/turns/{turn_id}")).json()["status"] == "interrupted"


@pytest.mark.parametrize("verb", ["undo", "retry", "edit", "clear", "feedback"])
async def test_operation_on_a_stale_version_is_refused_with_the_current_one(
    tmp_path: Path, store: str, verb: str
) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a")
        user, answer = await message_ids(client, session_id)

        async def operate(version: int) -> httpx2.Response:
            headers = {"if-match": f'"{version}"'}
            if verb == "clear":
                return await client.delete(f"/sessions/{session_id}/messages", headers=headers)
            if verb == "feedback":
                path = f"/messages/{answer}/feedback"
                return await client.post(path, json={"value": "like"}, headers=headers)
            body = {"message_id": user, "message": "x"} if verb == "edit" else {}
            return await client.post(f"/sessions/{session_id}/{verb}", json=body, headers=headers)

        stale = await operate(2)
        assert problem(stale) == (412, "version_conflict")
        assert stale.headers["etag"] == '"3"'
        assert (await operate(3)).status_code == 200


async def test_retry_of_a_known_key_is_the_same_turn(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a")
        path, headers = f"/sessions/{session_id}/retry", {"idempotency-key": "k"}
        first = await client.post(path, json={}, headers=headers)
        again = await client.post(path, json={}, headers=headers)
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
        other = await client.post(path, json={"inputs": {"loud": True}}, headers=headers)
        assert problem(other) == (422, "idempotency_conflict")
        assert (await client.delete(f"/sessions/{session_id}/messages")).status_code == 200
        once_more = await client.post(path, json={}, headers=headers)
        assert (once_more.status_code, once_more.json()["turn_id"]) == (200, first.json()["turn_id"])
        unknown = await client.post(path, json={}, headers={"idempotency-key": "k2"})
        assert problem(unknown) == (409, "nothing_to_undo")


# --- fork --------------------------------------------------------------------------------------------------------


async def test_fork_copies_the_history_into_a_session_of_its_own(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        await client.patch(f"/sessions/{session_id}", json={"title": "T", "metadata": {"k": 1}})
        forked = await client.post(f"/sessions/{session_id}/fork")
        assert forked.status_code == 201
        copy = forked.json()["session_id"]
        assert copy != session_id
        assert forked.headers["location"] == f"/sessions/{copy}"
        assert (forked.json()["title"], forked.json()["metadata"]) == ("T", {"k": 1})
        assert await history(client, copy) == await history(client, session_id)
        assert not set(await message_ids(client, copy)) & set(await message_ids(client, session_id))
        assert (await say(client, "c", copy))["text"] == "4:c"
        assert len(await history(client, session_id)) == 4


async def test_fork_at_a_message_ends_with_it(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = await talk(client, "a", "b")
        ids = await message_ids(client, session_id)
        forked = await client.post(f"/sessions/{session_id}/fork", json={"message_id": ids[1]})
        assert await history(client, forked.json()["session_id"]) == [("user", "a"), ("assistant", "0:a")]


async def test_files_of_a_fork_outlive_the_session_they_came_from(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        file_id = (await client.post("/files", content=b"words")).json()["id"]
        session_id = (await say(client, {"text": "", "files": [file_id]}, chat="multi"))["session_id"]
        copy = (await client.post(f"/sessions/{session_id}/fork")).json()["session_id"]
        await client.delete(f"/sessions/{session_id}")
        assert (await client.get(f"/files/{file_id}")).content == b"words"
        await client.delete(f"/sessions/{copy}")
        assert (await client.get(f"/files/{file_id}")).status_code == 404
