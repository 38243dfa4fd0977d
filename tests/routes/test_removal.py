"""What is removed without a request: what is past its time, and all of an owner's."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from chatserve.engine import Pace
from tests.routes.service import WAIT_S, Service, history, problem, say, say_later, serving


def later(service: Service, seconds: float) -> None:
    """Let the janitor's clock be ahead."""
    clock = service.engine.clock
    service.engine.sessions._clock = lambda: clock() + seconds


async def test_upload_that_was_never_sent_goes_after_a_day(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        loose = (await client.post("/files", content=b"x")).json()
        sent = (await client.post("/files", content=b"y")).json()
        await say(client, {"text": "", "files": [sent["id"]]}, chat="multi")
        later(service, Pace().loose_files_kept_s - 60)
        await service.engine.sessions.purge()
        assert (await client.get(loose["url"])).status_code == 200
        later(service, Pace().loose_files_kept_s + 60)
        await service.engine.sessions.purge()
        assert (await client.get(loose["url"])).status_code == 404
        assert await service.stored_files() == [sent["id"]]


def leave(folder: Path, seconds_ago: float = 0.0) -> None:
    """Leave a file in a folder as a crash does."""
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"x")
    moment = folder.stat().st_mtime - seconds_ago
    for path in (folder, folder / "a.txt"):
        os.utime(path, (moment, moment))


async def test_bytes_without_a_record_go_after_an_hour_and_all_others_stay(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        kept = (await client.post("/files", content=b"x")).json()
        for left in ("or/f_orphan", ".incoming-left"):
            await asyncio.to_thread(leave, service.files / left)
        later(service, Pace().orphans_kept_s - 60)
        await service.engine.sessions.sweep_files()
        assert await service.stored_files() == sorted([kept["id"], "f_orphan", ".incoming-left"])
        later(service, Pace().orphans_kept_s + 60)
        await service.engine.sessions.sweep_files()
        assert await service.stored_files() == [kept["id"]]
        assert (await client.get(kept["url"])).content == b"x"


async def test_bytes_that_a_crash_left_go_when_the_server_starts(tmp_path: Path, store: str) -> None:
    await asyncio.to_thread(leave, tmp_path / "files/or/f_orphan", Pace().orphans_kept_s + 60)
    async with serving(tmp_path, store) as service, asyncio.timeout(WAIT_S):
        while await service.stored_files():
            await asyncio.sleep(0)


async def test_session_goes_its_time_after_its_last_change(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store, session_ttl_s=1000) as service, service.client() as client:
        file_id = (await client.post("/files", content=b"y")).json()["id"]
        session_id = (await say(client, {"text": "", "files": [file_id]}, chat="multi"))["session_id"]
        later(service, 900)
        await service.engine.sessions.purge()
        assert len(await history(client, session_id)) == 2
        later(service, 1100)
        await service.engine.sessions.purge()
        assert (await client.get(f"/sessions/{session_id}")).status_code == 404
        assert await service.stored_files() == []


async def test_sessions_stay_for_ever_without_a_time_to_live(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await say(client, "hi"))["session_id"]
        later(service, 1e9)
        await service.engine.sessions.purge()
        assert len(await history(client, session_id)) == 2


async def test_session_with_a_running_turn_outlives_its_time(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store, session_ttl_s=1000) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        turn_id = await say_later(client, "wait", session_id)
        later(service, 5000)
        await service.engine.sessions.purge()
        service.gate.opened.set()
        assert (await client.post(f"/turns/{turn_id}/stop")).status_code == 200
        assert (await client.get(f"/sessions/{session_id}")).status_code == 200


async def test_events_go_after_their_retention_and_leave_a_snapshot(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store, log_retention_s=900) as service, service.client() as client:
        turn = await say(client, "hi")
        later(service, 1000)
        await service.engine.sessions.purge()
        page = await service.engine.store.read_events(turn["session_id"], after=0, limit=10)
        assert page.events == ()
        assert len(await history(client, turn["session_id"])) == 2


async def test_streams_of_an_expired_session_end(tmp_path: Path) -> None:
    async with serving(tmp_path, session_ttl_s=1000) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        following = asyncio.create_task(client.get(f"/sessions/{session_id}/events"))
        async with asyncio.timeout(WAIT_S):
            await service.until_readers(1)
            later(service, 5000)
            await service.engine.sessions.purge()
            assert (await following).status_code == 200


async def test_erased_owner_leaves_nothing_and_others_lose_nothing(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("bob") as bob:
        loose = (await ann.post("/files", content=b"loose")).json()
        sent = (await ann.post("/files", content=b"sent")).json()
        turn = await say(ann, {"text": "", "files": [sent["id"]]}, chat="multi")
        stateless = (await ann.post("/chat", json={"message": "hi", "history": []})).json()
        await ann.post("/sessions", headers={"idempotency-key": "k"})
        kept_file = (await bob.post("/files", content=b"kept")).json()
        kept = await say(bob, "hi")
        assert turn["session_id"] in service.engine.histories._branches
        await service.app.erase("ann")
        assert list(service.engine.histories._branches) == [kept["session_id"]]
        assert (await ann.get("/sessions")).json()["items"] == []
        for gone in (
            f"/sessions/{turn['session_id']}", f"/turns/{turn['turn_id']}", f"/turns/{stateless['turn_id']}",
            loose["url"], sent["url"],
        ):  # fmt: skip
            assert (await ann.get(gone)).status_code == 404
        assert await service.stored_files() == [kept_file["id"]]
        assert (await say(bob, "again", kept["session_id"]))["text"] == "2:again"
        made = await ann.post("/sessions", headers={"idempotency-key": "k"})
        assert "idempotency-replayed" not in made.headers


async def test_erasing_an_owner_stops_his_turns_first(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        session_id = (await ann.post("/sessions")).json()["session_id"]
        turn_id = await say_later(ann, "wait", session_id)
        await asyncio.wait_for(service.app.erase("ann"), WAIT_S)
        assert problem(await ann.get(f"/turns/{turn_id}")) == (404, "turn_unknown")
        assert service.engine.open_turns == []


@pytest.mark.parametrize("path", ["/sessions/{}", "/sessions/{}/undo"])
async def test_room_of_who_asks_for_a_strangers_session_is_not_kept(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as service, service.client("ann") as ann, service.client("eve") as eve:
        session_id = (await ann.post("/sessions")).json()["session_id"]
        method = "POST" if path.endswith("undo") else "DELETE"
        assert (await eve.request(method, path.format(session_id))).status_code == 404
        assert len(service.engine.rooms) == 0
        assert (await say(ann, "hi", session_id))["text"] == "0:hi"
        assert (await eve.request(method, path.format(session_id))).status_code == 404
        assert len(service.engine.rooms) == 1


async def test_expiry_of_an_imported_session_is_kept(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await say(client, "hi"))["session_id"]
        record = await service.engine.store.export_session("", session_id)
        await client.delete(f"/sessions/{session_id}")
        session = replace(record.session, expires_at=service.engine.clock() + 500)
        await service.engine.store.import_session(replace(record, session=session))
        document = (await client.get(f"/sessions/{session_id}/export")).json()
        await client.delete(f"/sessions/{session_id}")
        assert (await client.post("/sessions/import", json=document)).json()["expires_at"]
        later(service, 600)
        await service.engine.sessions.purge()
        assert (await client.get(f"/sessions/{session_id}")).status_code == 404
