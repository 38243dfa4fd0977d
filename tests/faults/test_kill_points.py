"""Kill -9 at every named point, before and after each commit: all of a change or nothing, and one more try heals it.

Each scene is a request that passes the point, what can be seen of its change, and what is seen after the restart
when the process ended before and after the commit. The request is then sent again, as a client does that was not
answered.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatserve.stores.sqlite.writer import KILL_VARIABLE
from tests.faults.audit import Audit
from tests.faults.server import CrashableServer, crashable
from tests.faults.told import Move, Told
from tests.support.http import Cut, Response
from tests.support.server import ServerFailed

KILLED = 137
WORDS = "p1 40 5"
LONG = "p1 20000 0"


@dataclass
class Stage:
    """A server, and a session with two turns on it. `kept` is what the clients of a scene remember."""

    server: CrashableServer
    session_id: str
    other_id: str
    document: dict[str, Any]
    version: int = 5
    kept: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return await self.server.ask("POST", path, body, **headers)

    async def get(self, path: str) -> Any:
        return (await self.server.ask("GET", path)).json

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.get(f"/sessions/{self.session_id}/messages?branches=true"))["items"]
        return found

    async def sessions(self) -> int:
        return len((await self.get("/sessions"))["items"])


Request = Callable[[Stage], Awaitable[Response]]
Sight = Callable[[Stage], Awaitable[Any]]


# --- requests ------------------------------------------------------------------------------------------------------


async def send(stage: Stage) -> Response:
    body = {"message": WORDS, "session_id": stage.session_id}
    return await stage.post("/chat/deltas", body, Idempotency_Key="k")


async def send_long(stage: Stage) -> Response:
    body = {"message": LONG, "session_id": stage.session_id}
    return await stage.post("/chat/told", body, Idempotency_Key="k")


async def send_file(stage: Stage) -> Response:
    if "file" not in stage.kept:
        stage.kept["file"] = (await upload(stage)).json["id"]
    message = {"text": WORDS, "files": [stage.kept["file"]]}
    return await stage.post("/chat/files", {"message": message, "session_id": stage.session_id}, Idempotency_Key="k")


async def send_after_another(stage: Stage) -> Response:
    """Queue a message behind a turn that is then stopped."""
    body = {"session_id": stage.session_id, "when_busy": "queue"}
    await stage.post("/chat/deltas", {"message": "hold 3 0", **body}, Idempotency_Key="h", Prefer="respond-async")
    queued = await stage.post("/chat/deltas", {"message": WORDS, **body}, Idempotency_Key="k", Prefer="respond-async")
    await stage.post(f"/sessions/{stage.session_id}/stop")
    return queued


async def start_after_another(stage: Stage) -> Response:
    """Queue a message behind a turn, and stop that turn alone."""
    body = {"session_id": stage.session_id, "when_busy": "queue"}
    held = await stage.post(
        "/chat/deltas", {"message": "hold 3 0", **body}, Idempotency_Key="h", Prefer="respond-async"
    )
    await stage.post("/chat/deltas", {"message": WORDS, **body}, Idempotency_Key="k", Prefer="respond-async")
    await stage.post(f"/turns/{held.json['turn_id']}/stop")
    return await stage.post("/chat/deltas", {"message": WORDS, **body}, Idempotency_Key="k")


async def retry(stage: Stage) -> Response:
    return await stage.post(f"/sessions/{stage.session_id}/retry", {}, Idempotency_Key="k")


async def edit(stage: Stage) -> Response:
    body = {"message_id": stage.document["messages"][0]["message_id"], "message": WORDS}
    return await stage.post(f"/sessions/{stage.session_id}/edit", body, Idempotency_Key="k")


async def undo(stage: Stage) -> Response:
    return await stage.post(f"/sessions/{stage.session_id}/undo", If_Match=f'"{stage.version}"')


async def clear(stage: Stage) -> Response:
    path = f"/sessions/{stage.session_id}/messages"
    return await stage.server.ask("DELETE", path, If_Match=f'"{stage.version}"')


async def rename(stage: Stage) -> Response:
    return await stage.server.ask("PATCH", f"/sessions/{stage.session_id}", {"title": "new"}, If_Match='"5"')


async def like(stage: Stage) -> Response:
    path = f"/messages/{stage.document['messages'][-1]['message_id']}/feedback"
    return await stage.post(path, {"value": "like"}, If_Match='"5"')


async def create(stage: Stage) -> Response:
    return await stage.post("/sessions", {"title": "new"}, Idempotency_Key="k")


async def fork(stage: Stage) -> Response:
    return await stage.post(f"/sessions/{stage.session_id}/fork", {}, Idempotency_Key="k")


async def import_copy(stage: Stage) -> Response:
    return await stage.post("/sessions/import?new_ids=true", stage.document, Idempotency_Key="k")


async def delete(stage: Stage) -> Response:
    return await stage.server.ask("DELETE", f"/sessions/{stage.other_id}")


async def upload(stage: Stage) -> Response:
    return await stage.post("/files?name=a.json", {"a": 1}, Idempotency_Key="f")


# --- sights --------------------------------------------------------------------------------------------------------


async def times_asked(stage: Stage) -> int:
    return sum(_text(message) in {WORDS, LONG} for message in await stage.messages() if message["role"] == "user")


async def answers(stage: Stage) -> list[str]:
    """Tell of the answers after the first two how they ended."""
    return [message.get("status", "completed") for message in await stage.messages() if message["role"] == "assistant"][
        2:
    ]


async def has_words(stage: Stage) -> bool:
    return any(_text(message) for message in await stage.messages() if message["role"] == "assistant")


async def branch(stage: Stage) -> int:
    return len((await stage.get(f"/sessions/{stage.session_id}/messages"))["items"])


async def title(stage: Stage) -> str | None:
    found: str | None = (await stage.get(f"/sessions/{stage.session_id}"))["title"]
    return found


async def feedback(stage: Stage) -> Any:
    return (await stage.messages())[3].get("feedback")


async def sessions(stage: Stage) -> int:
    return await stage.sessions()


async def turns(stage: Stage) -> int:
    return len((await stage.get(f"/sessions/{stage.session_id}/export"))["turns"])


async def files_of_session(stage: Stage) -> int:
    return len((await stage.get(f"/sessions/{stage.session_id}/export"))["files"])


async def nothing(stage: Stage) -> None:
    """See nothing: what is changed shows only in what comes of it."""


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@dataclass(frozen=True)
class Scene:
    """A request at a point; `before` and `after` the commit is what `sight` shows, `healed` after one more try.

    `again` are the statuses that try may have.
    """

    point: str
    request: Request
    sight: Sight
    before: Any
    after: Any
    healed: Any
    again: tuple[int, ...] = (200,)


SCENES = [
    Scene("begin_turn", send, times_asked, 0, 1, 1),
    Scene("begin_turn", retry, turns, 2, 3, 3),
    Scene("begin_turn", edit, times_asked, 0, 1, 1),
    Scene("begin_turn", send_file, files_of_session, 0, 1, 1),
    Scene("commit_turn", send, answers, ["interrupted"], ["completed"], None),
    Scene("commit_turn", retry, turns, 3, 3, 3),
    Scene("journal_events", send, answers, [], ["interrupted"], None),
    Scene("append_events", send_long, answers, ["interrupted"], ["interrupted"], None),
    Scene("start_turn", start_after_another, times_asked, 1, 1, 1),
    Scene("move_history", undo, branch, 4, 2, 2, (200, 412)),
    Scene("move_history", clear, branch, 4, 0, 0, (200, 412)),
    Scene("update_session", rename, title, None, "new", "new", (200, 412)),
    Scene("set_feedback", like, feedback, None, {"value": "like"}, {"value": "like"}, (200, 412)),
    Scene("create_session", create, sessions, 2, 3, 3, (201,)),
    Scene("claim_key", create, sessions, 2, 2, 3, (201,)),
    Scene("fork_session", fork, sessions, 2, 3, 3, (201,)),
    Scene("claim_key", fork, sessions, 2, 2, 3, (201,)),
    Scene("import_session", import_copy, sessions, 2, 3, 3, (201,)),
    Scene("claim_key", import_copy, sessions, 2, 2, 3, (201,)),
    Scene("delete_session", delete, sessions, 2, 1, 1, (204, 404)),
    Scene("add_file", upload, nothing, None, None, None, (201,)),
]


@pytest.fixture(scope="module")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a store: a session of two turns, and one to be deleted."""
    folder = tmp_path_factory.mktemp("prepared")
    async with crashable(folder) as server:
        first = (await server.ask("POST", "/chat/whole", {"message": "a 3 0"})).json
        await server.ask("POST", "/chat/whole", {"message": "b 3 0", "session_id": first["session_id"]})
        other = (await server.ask("POST", "/chat/whole", {"message": "c 3 0"})).json
        document = (await server.ask("GET", f"/sessions/{first['session_id']}/export")).json
        await server.terminate()
    return folder, {"session_id": first["session_id"], "other_id": other["session_id"], "document": document}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.point}-{scene.request.__name__}")
async def test_a_change_that_a_crash_hits_is_whole_or_absent_and_one_more_try_heals_it(
    scene: Scene, moment: str, prepared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    async with crashable(tmp_path, env={KILL_VARIABLE: f"{scene.point}:{moment}"}) as server:
        stage = Stage(server, **prepared[1])
        with pytest.raises(Cut):
            await scene.request(stage)
        assert await asyncio.wait_for(server.wait(), 20) == KILLED
        server.check_file()
        await server.start()
        await _audit(stage, scene)
        assert await scene.sight(stage) == (scene.before if moment == "before" else scene.after)
        first = await scene.request(stage)
        assert first.status in scene.again, first
        if scene.healed is not None:
            assert await scene.sight(stage) == scene.healed
        await _check_repeated(scene, stage, first)
        await _audit(stage, scene)


async def _check_repeated(scene: Scene, stage: Stage, first: Response) -> None:
    """The same key stands for what it made, however often it is sent."""
    again = await scene.request(stage)
    if scene.again in {(200,), (201,)} and scene.request is not upload:
        named = "turn_id" if "turn_id" in first.json else "session_id"
        assert (again.headers["idempotency-replayed"], again.json[named]) == ("true", first.json[named])
    if scene.healed is not None:
        assert await scene.sight(stage) == scene.healed


async def _audit(stage: Stage, scene: Scene | None = None) -> None:
    told = Told()
    if scene is not None and 412 in scene.again:
        told.moves[stage.session_id] = [Move(scene.point)]
    told.sessions = {stage.session_id}
    stage.server.killed_at = 0.0
    await Audit(stage.server, told, margin_s=0.0).check()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_crash_in_recovery_leaves_it_to_the_next_start(
    moment: str, prepared: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(prepared[0], tmp_path, dirs_exist_ok=True)
    async with crashable(tmp_path, env={KILL_VARIABLE: "journal_events:after:2"}) as server:
        stage = Stage(server, **prepared[1])
        with pytest.raises(Cut):
            await send(stage)
        await server.wait()
        with pytest.raises(ServerFailed):
            await server.start({KILL_VARIABLE: f"recover:{moment}"})
        server.check_file()
        await server.start()
        await _audit(stage)
        assert await answers(stage) == ["interrupted"]
        assert await has_words(stage)
