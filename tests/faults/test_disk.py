"""A disk that is full or fails: told as what it is, survived by what runs, forgotten when it is over."""

import asyncio
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.app import answer_to
from tests.faults.audit import Audit
from tests.faults.disk import FailingDisk, limit_files
from tests.faults.server import CrashableServer, crashable
from tests.faults.told import Told
from tests.support.http import Response, streaming
from tests.support.sse import SseEvent

NO_ROOM, AWAY = (507, "store_full"), (503, "store_unavailable")
RUNNING = "b 60 10"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit and LD_PRELOAD are Linux's")


class Trouble:
    """A server, a session, and a way to make the disk fail."""

    def __init__(self, server: CrashableServer, fault: str, disk: FailingDisk | None) -> None:
        self.server = server
        self.session_id = ""
        self._fault = fault
        self._disk = disk

    def begins(self) -> AbstractContextManager[None]:
        return limit_files(self.server.process.pid) if self._disk is None else self._disk.failing(self._fault)

    async def send(self, message: str, **headers: str) -> Response:
        body = {"message": message} | ({"session_id": self.session_id} if self.session_id else {})
        return await self.server.ask("POST", "/chat/deltas", body, **headers)

    async def end_of(self, turn_id: str) -> SseEvent:
        """Read a turn's stream to its end; return its last event."""
        async with streaming(self.server.address, "GET", f"/turns/{turn_id}/events", idle_s=40) as stream:
            return [event async for event in stream.events()][-1]

    async def audit(self) -> None:
        """Check the file, and after a crash what the server makes of it."""
        await self.server.kill()
        self.server.check_file()
        await self.server.start()
        told = Told()
        told.sessions = {self.session_id}
        await Audit(self.server, told, margin_s=0.0).check()


@pytest.mark.parametrize(("fault", "answers"), [("full", {NO_ROOM}), ("sync", {AWAY}), ("limit", {NO_ROOM, AWAY})])
async def test_disk_in_trouble_is_told_and_survived(tmp_path: Path, fault: str, answers: set[tuple[int, str]]) -> None:
    disk = None if fault == "limit" else FailingDisk(tmp_path)
    async with crashable(tmp_path, env=disk.env if disk else None) as server:
        trouble = Trouble(server, fault, disk)
        trouble.session_id = (await trouble.send("a 3 0")).json["session_id"]
        turn_id = (await trouble.send(RUNNING, Prefer="respond-async")).json["turn_id"]
        with trouble.begins():
            refused = await server.ask("POST", "/chat/deltas", {"message": "c 3 0"}, Idempotency_Key="c")
            assert refused.headers["content-type"] == "application/problem+json"
            assert (refused.status, refused.json["code"]) in answers
            assert refused.json["retryable"] is True
            assert int(refused.headers["retry-after"]) > 0
            uploaded = await server.ask("POST", "/files?name=a.json", {"a": "b" * 9000})
            assert uploaded.status in {503, 507}
            assert (await server.ask("GET", "/health/ready")).status == 503
            assert (await server.ask("GET", "/health/live")).status == 200
            assert len((await server.ask("GET", f"/sessions/{trouble.session_id}/messages")).json["items"]) == 3
            await asyncio.to_thread(server.process.wait_for_log, "could not be committed yet")
        done = (await trouble.end_of(turn_id)).json
        assert (done["status"], done["messages"][0]["content"]) == ("completed", answer_to(RUNNING))
        assert (await server.ask("GET", "/health/ready")).status == 200
        answered = await server.ask("POST", "/chat/deltas", {"message": "c 3 0"}, Idempotency_Key="c")
        assert (answered.status, answered.json["text"]) == (200, answer_to("c 3 0"))
        assert "idempotency-replayed" not in answered.headers
        assert (await trouble.send("d 3 0")).status == 200
        await trouble.audit()
        assert len((await server.ask("GET", "/sessions")).json["items"]) == 2


@pytest.mark.storm
@pytest.mark.timeout(120)
async def test_turn_that_ends_on_a_disk_that_stays_full_is_interrupted_and_its_session_free_again(
    tmp_path: Path,
) -> None:
    disk = FailingDisk(tmp_path)
    async with crashable(tmp_path, env=disk.env) as server:
        trouble = Trouble(server, "full", disk)
        trouble.session_id = (await trouble.send("a 3 0")).json["session_id"]
        turn_id = (await trouble.send(RUNNING, Prefer="respond-async")).json["turn_id"]
        with trouble.begins():
            done = (await trouble.end_of(turn_id)).json
            assert (done["status"], done["finish_reason"]) == ("interrupted", "store_unavailable")
            assert done["messages"][0]["content"] == answer_to(RUNNING)
        async with asyncio.timeout(30):
            while (answer := await trouble.send("d 3 0")).status != 200:
                await asyncio.sleep(0.1)
        assert answer.json["text"] == answer_to("d 3 0")
        kept = (await server.ask("GET", f"/turns/{turn_id}")).json
        assert (kept["status"], kept["text"]) == ("interrupted", answer_to(RUNNING))
        await trouble.audit()
