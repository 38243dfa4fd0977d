"""SIGTERM with many open streams of running turns: each is told of its end, and the process is gone soon after."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.app import answer_to
from tests.faults.server import CrashableServer, crashable
from tests.support.http import streaming
from tests.support.sse import SseEvent

SESSIONS = 10
DRAIN_S = 0.5
GONE_AFTER_S = 2.0
MESSAGE = "hold 20 1"


class Audience:
    """Streams of a turn and of its session, each read to its end."""

    def __init__(self, server: CrashableServer, streams: int) -> None:
        self.server = server
        self.streams = streams
        self.opened = asyncio.Semaphore(0)
        self.whole = 0

    async def read_all(self, session_id: str, turn_id: str) -> list[list[SseEvent]]:
        paths = (f"/turns/{turn_id}/events", f"/sessions/{session_id}/events")
        return await asyncio.gather(*(self._read(paths[number % 2]) for number in range(self.streams)))

    async def _read(self, path: str) -> list[SseEvent]:
        async with streaming(self.server.address, "GET", path) as stream:
            self.opened.release()
            events = [event async for event in stream.events()]
            self.whole += stream.is_whole
            return events


@pytest.mark.parametrize("streams", [100, pytest.param(500, marks=pytest.mark.storm)])
async def test_every_stream_of_a_running_turn_is_told_of_its_end_before_the_process_is_gone(
    tmp_path: Path, streams: int
) -> None:
    async with crashable(tmp_path, "--drain-timeout-s", str(DRAIN_S)) as server:
        audience = Audience(server, streams // SESSIONS)
        turns = [
            (await server.ask("POST", "/chat/deltas", {"message": MESSAGE}, Prefer="respond-async")).json
            for _ in range(SESSIONS)
        ]
        reading = [asyncio.ensure_future(audience.read_all(turn["session_id"], turn["turn_id"])) for turn in turns]
        for _ in range(streams):
            await asyncio.wait_for(audience.opened.acquire(), 20)
        began = time.monotonic()
        server.process.process.terminate()
        read = [events for each in await asyncio.wait_for(asyncio.gather(*reading), 30) for events in each]
        assert await server.wait() == 0
        took_s = time.monotonic() - began
        assert audience.whole == streams
        assert [events for events in read if not _is_told(events)] == []
        await server.start()
        for turn in turns:
            kept = (await server.ask("GET", f"/turns/{turn['turn_id']}")).json
            assert (kept["status"], kept["finish_reason"], kept["text"]) == (
                "interrupted",
                "shutdown",
                answer_to(MESSAGE),
            )
    if streams == 500:  # the number to reach, on a machine that does nothing else
        assert took_s < DRAIN_S + GONE_AFTER_S


def _is_told(events: list[SseEvent]) -> bool:
    """Whether a stream told of the end of its turn, and a session's stream, which has no end, of the server's."""
    done = [event for event in events if event.event == "done"]
    return len(done) == 1 and (events[-1].event == "bye" or events[-1] is done[0])


async def test_turns_that_wait_do_not_keep_a_server_that_goes(tmp_path: Path) -> None:
    async with crashable(tmp_path, "--drain-timeout-s", "3600") as server:
        first = (await server.ask("POST", "/chat/deltas", {"message": "a 100 5"}, Prefer="respond-async")).json
        body = {"message": "b 3 0", "session_id": first["session_id"], "when_busy": "queue", "stream": True}
        async with streaming(server.address, "POST", "/chat/deltas", body) as stream:
            events = stream.events()
            assert (await anext(events)).json["status"] == "queued"
            server.process.process.terminate()
            done = [event async for event in events][-1].json
        assert (done["status"], done["finish_reason"]) == ("interrupted", "shutdown")
        assert await server.wait() == 0
        await server.start()
        assert (await server.ask("GET", f"/turns/{first['turn_id']}")).json["text"] == answer_to("a 100 5")
