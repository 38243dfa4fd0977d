"""Many requests at the same time: one key is one turn, and a busy session does with messages what `when_busy` says."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.app import answer_to
from tests.faults.server import CrashableServer, crashable
from tests.support.http import Response, streaming
from tests.support.sse import SseEvent

KEYS, COPIES = 200, 5
POSTS = 100


async def sessions_of(server: CrashableServer) -> list[dict[str, Any]]:
    page = (await server.ask("GET", "/sessions?limit=1000")).json
    assert page["next"] is None
    found: list[dict[str, Any]] = page["items"]
    return found


async def test_copies_of_a_post_at_once_are_one_turn(tmp_path: Path) -> None:
    async with crashable(tmp_path) as server:

        async def post(number: int) -> Response:
            return await server.ask(
                "POST", "/chat/deltas", {"message": f"k{number} 5 1"}, Idempotency_Key=f"key-{number}"
            )

        answers = await asyncio.gather(*(post(number % KEYS) for number in range(KEYS * COPIES)))
        assert {answer.status for answer in answers} == {200}
        by_key = [answers[number::KEYS] for number in range(KEYS)]
        for number, copies in enumerate(by_key):
            assert len({copy.json["turn_id"] for copy in copies}) == 1
            assert {copy.json["text"] for copy in copies} == {answer_to(f"k{number} 5 1")}
            assert {copy.headers["x-session-id"] for copy in copies} == {copies[0].json["session_id"]}
            assert sum("idempotency-replayed" in copy.headers for copy in copies) == COPIES - 1
        sessions = await sessions_of(server)
        assert len(sessions) == KEYS
        assert {session["version"] for session in sessions} == {3}


async def test_copies_of_a_post_to_a_session_at_once_are_one_turn(tmp_path: Path) -> None:
    async with crashable(tmp_path) as server:
        session_id = (await server.ask("POST", "/sessions")).json["session_id"]
        body = {"message": "k 20 5", "session_id": session_id}
        accepts = ("application/json", "text/event-stream", "text/plain")
        answers = await asyncio.gather(
            *(server.ask("POST", "/chat/deltas", body, Idempotency_Key="k", Accept=accepts[n % 3]) for n in range(30))
        )
        assert {(answer.status, answer.headers["x-turn-id"]) for answer in answers} == {
            (200, answers[0].headers["x-turn-id"])
        }
        assert len({answer.body.partition(b"\n\n")[2] for answer in answers[1::3]}) == 1  # but for `retry:`
        assert {answer.body.decode() for answer in answers[2::3]} == {answer_to("k 20 5")}
        assert (await server.ask("GET", f"/sessions/{session_id}")).json["version"] == 3


@pytest.mark.parametrize("accept", ["text/plain", "text/event-stream", "application/json"])
async def test_replay_after_a_restart_answers_in_the_shape_asked_for(tmp_path: Path, accept: str) -> None:
    async with crashable(tmp_path) as server:
        first = await server.ask("POST", "/chat/deltas", {"message": "k 20 0"}, Idempotency_Key="k")
        await server.kill()
        await server.start()
        again = await server.ask("POST", "/chat/deltas", {"message": "k 20 0"}, Idempotency_Key="k", Accept=accept)
        assert (again.status, again.headers["idempotency-replayed"]) == (200, "true")
        assert again.headers["x-session-id"] == first.json["session_id"]
        words = again.body.decode() if accept == "text/plain" else again.body.decode().replace("\\u2028", "\u2028")
        assert answer_to("k 20 0")[:4] in words


async def test_fork_that_was_made_is_replayed_while_its_source_is_busy(tmp_path: Path) -> None:
    async with crashable(tmp_path) as server:
        session_id = (await server.ask("POST", "/chat/whole", {"message": "a 3 0"})).json["session_id"]
        first = await server.ask("POST", f"/sessions/{session_id}/fork", {}, Idempotency_Key="k")
        hold = {"message": "hold 1 0", "session_id": session_id}
        await server.ask("POST", "/chat/deltas", hold, Prefer="respond-async")
        again = await server.ask("POST", f"/sessions/{session_id}/fork", {}, Idempotency_Key="k")
        assert (again.status, again.json["session_id"]) == (201, first.json["session_id"])


# a busy session


class Crowd:
    """So many posts at once to one session, each with a message of its own; all streams are read to their ends."""

    def __init__(self, server: CrashableServer, session_id: str, when_busy: str) -> None:
        self.server = server
        self.session_id = session_id
        self.when_busy = when_busy
        self.accepted: list[tuple[int, str]] = []
        self.refused = 0

    async def post_all(self) -> list[list[SseEvent]]:
        return await asyncio.gather(*(self._post(f"p{number} 3 1") for number in range(POSTS)))

    async def _post(self, message: str) -> list[SseEvent]:
        body = {"message": message, "session_id": self.session_id, "when_busy": self.when_busy, "stream": True}
        async with streaming(self.server.address, "POST", "/chat/deltas", body) as stream:
            if stream.status == 409:
                response = await stream.response()
                assert response.json["code"] == "session_busy"
                assert response.headers["location"] == f"/turns/{response.json['turn_id']}"
                self.refused += 1
                return []
            assert stream.status == 200
            events = [event async for event in stream.events()]
        self.accepted.append((int(events[0].id), message))
        return events

    @property
    def in_order(self) -> list[str]:
        """The messages in the order in which they were accepted."""
        return [message for _, message in sorted(self.accepted)]

    async def branch(self) -> list[str]:
        """Return what the user said, on the session's branch."""
        items = (await self.server.ask("GET", f"/sessions/{self.session_id}/messages?limit=1000")).json["items"]
        return [item["content"] for item in items if item["role"] == "user"]


async def test_of_posts_at_once_one_wins_and_the_others_are_told_who(tmp_path: Path) -> None:
    async with crashable(tmp_path) as server:
        session_id = (await server.ask("POST", "/sessions")).json["session_id"]
        hold = {"message": "hold 1 0", "session_id": session_id}
        posts = [server.ask("POST", "/chat/deltas", hold, Prefer="respond-async") for _ in range(POSTS)]
        answers = await asyncio.gather(*posts)
        assert Counter(answer.status for answer in answers) == {202: 1, 409: POSTS - 1}
        (winner,) = (answer.json["turn_id"] for answer in answers if answer.status == 202)
        assert {answer.json["turn_id"] for answer in answers} == {winner}
        crowd = Crowd(server, session_id, "reject")
        await crowd.post_all()
        assert crowd.refused == POSTS
        await server.ask("POST", f"/sessions/{session_id}/stop")
        assert await crowd.branch() == ["hold 1 0"]


async def test_posts_at_once_that_queue_are_answered_first_in_first_out(tmp_path: Path) -> None:
    async with crashable(tmp_path) as server:
        crowd = Crowd(server, (await server.ask("POST", "/sessions")).json["session_id"], "queue")
        streams = await asyncio.wait_for(crowd.post_all(), 50)
        assert len(crowd.accepted) == POSTS
        assert await crowd.branch() == crowd.in_order
        assert {events[-1].json["status"] for events in streams} == {"completed"}
        begun = sorted((int(e.id), e.json) for events in streams for e in events if e.event == "turn")
        ran = [turn["user_message"]["content"] for _, turn in begun if turn["status"] == "running"]
        assert ran == crowd.in_order


@pytest.mark.parametrize("when_busy", ["interrupt", "rollback"])
async def test_of_posts_at_once_that_make_way_for_one_another_the_last_is_answered(
    tmp_path: Path, when_busy: str
) -> None:
    async with crashable(tmp_path) as server:
        crowd = Crowd(server, (await server.ask("POST", "/sessions")).json["session_id"], when_busy)
        streams = await asyncio.wait_for(crowd.post_all(), 50)
        ends = Counter(events[-1].json["status"] for events in streams)
        assert ends == {"interrupted": POSTS - 1, "completed": 1}
        (winner,) = (events for events in streams if events[-1].json["status"] == "completed")
        assert winner[0].json["user_message"]["content"] == crowd.in_order[-1]
        branch = await crowd.branch()
        assert branch == (crowd.in_order if when_busy == "interrupt" else crowd.in_order[-1:])
