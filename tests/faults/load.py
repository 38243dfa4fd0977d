"""Clients that mix everything a session can be asked for, and write down what they are told.

Each draws from a random source of its own. A connection that is cut is no answer: a turn is asked for again with
the same key, until the server has accepted or refused it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from tests.faults.server import CrashableServer
from tests.faults.told import Final, Listener, Move, Post, Told, text_of
from tests.support.http import Cut, Response, request, streaming

CHATS = ("deltas", "deltas", "deltas", "snapshots", "whole")
POLICIES = ("reject", "reject", "reject", "queue", "queue", "interrupt", "rollback")
MAX_SESSIONS = 6
STILL_S = 0.3
"""How long a follower waits for something new before it looks elsewhere."""


class Load:
    """The clients' common world: the server, the sessions they talk in, what they were told."""

    def __init__(self, server: CrashableServer, seed: int) -> None:
        self.server = server
        self.told = Told()
        self.seed = seed
        self.sessions: list[str] = []
        self.counts: dict[str, int] = {}

    async def run(self, clients: int) -> None:
        """Let so many clients talk until they are cancelled; their errors are raised."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                kind: type[Client] = Follower if number % 4 == 3 else Client
                group.create_task(kind(self, f"c{self.seed}x{number}").run())


class Client:
    """One client: does one thing after the other."""

    def __init__(self, load: Load, name: str) -> None:
        self.load = load
        self.told = load.told
        self.name = name
        self.random = random.Random(name)
        self._numbers = count(1)

    async def run(self) -> None:
        """Do things, for ever."""
        while True:
            await self.load.server.is_up.wait()
            operation = self.random.choices(OPERATIONS, WEIGHTS)[0]
            try:
                await operation(self)
            except Cut:
                await asyncio.sleep(0.005)  # the server has just died, and is_up says so in a moment

    # turns

    async def send(self) -> None:
        """Say something, in a session or a new one."""
        if not self.load.sessions or (len(self.load.sessions) < MAX_SESSIONS and self.random.random() < 0.3):
            await self._take_turn(self._chat(), {"message": (text := self._text())}, None, text)
        else:
            session_id = self._session()
            body = {"message": (text := self._text()), "session_id": session_id, "when_busy": self._policy()}
            await self._take_turn(self._chat(), body, session_id, text)

    async def retry(self) -> None:
        """Let the last message be answered again."""
        session_id = self._session()
        await self._take_turn(f"/sessions/{session_id}/retry", {"when_busy": self._policy()}, session_id, None)

    async def edit(self) -> None:
        """Replace a message."""
        session_id = self._session()
        asked = [message for message in await self._messages(session_id) if message["role"] == "user"]
        if asked:
            message_id, text = self.random.choice(asked)["message_id"], self._text()
            body = {"message_id": message_id, "message": text, "when_busy": self._policy()}
            await self._take_turn(f"/sessions/{session_id}/edit", body, session_id, text)

    async def _take_turn(self, path: str, body: dict[str, Any], session_id: str | None, text: str | None) -> None:
        post = Post(f"{self.name}-{next(self._numbers)}", path, body, session_id, text)
        self.told.posts[post.key] = post
        while not post.is_settled:
            await self.load.server.is_up.wait()
            try:
                await self._send(post)
            except Cut:
                if self.random.random() < 0.2:
                    return  # some never come back
                await asyncio.sleep(0.005)

    async def _send(self, post: Post) -> None:
        how = self.random.choice(("stream", "stream", "result", "later"))
        headers = {"Idempotency-Key": post.key}
        headers |= {"stream": {"Accept": "text/event-stream"}, "later": {"Prefer": "respond-async"}}.get(how, {})
        async with streaming(self.load.server.address, "POST", post.path, post.body, headers=headers) as stream:
            if stream.status not in {200, 202}:
                response = await stream.response()
                assert stream.status in {404, 409, 412}, f"{post}: {response}"
                post.is_refused = True
                return
            turn_id, session_id = stream.headers["x-turn-id"], stream.headers["x-session-id"]
            self._acked(post, turn_id, session_id)
            if how == "stream":
                await self._listen(stream, Listener(self.told, session_id, turn_id))
            else:
                self._answered(turn_id, (await stream.response()).json)

    def _acked(self, post: Post, turn_id: str, session_id: str) -> None:
        self.told.ack(post, turn_id, session_id)
        if session_id not in {*self.load.sessions, *self.told.retired} and len(self.load.sessions) < MAX_SESSIONS:
            self.load.sessions.append(session_id)
        kind = post.path.rpartition("/")[2] if post.path.startswith("/sessions") else "send"
        self.load.counts[kind] = self.load.counts.get(kind, 0) + 1

    def _answered(self, turn_id: str, value: dict[str, Any]) -> None:
        if "messages" in value and value["status"] not in {"running", "queued"}:
            self.told.ended(turn_id, Final(value["status"], text_of(value["messages"]), value["version"]))

    # listening

    async def _listen(self, stream: Any, listener: Listener) -> None:
        """Read a turn's stream; now and then leave, and come back with the last number."""
        turn_id = listener.turn_id
        while True:
            patience = self.random.choice((3, 20, 1000, 1000))
            async for event in stream.events():
                listener.take(event)
                patience -= 1
                if not patience:
                    break
            stream.close()
            if listener.is_at_end or self.random.random() < 0.2:
                return
            stream = await self._follow(f"/turns/{turn_id}/events", listener)
            if stream.status == 204:
                return

    async def _follow(self, path: str, listener: Listener) -> Any:
        cursor = {} if listener.cursor is None else {"Last-Event-ID": str(listener.cursor)}
        return await streaming(self.load.server.address, "GET", path, headers=cursor).__aenter__()

    # changes without a turn

    async def stop(self) -> None:
        """Stop what runs."""
        await self._ask("POST", f"/sessions/{self._session()}/stop")

    async def undo(self) -> None:
        """Take the last turn back, sometimes only if nobody else has changed the session."""
        await self._move("undo", lambda session_id: ("POST", f"/sessions/{session_id}/undo", None))

    async def clear(self) -> None:
        """Start anew."""
        await self._move("clear", lambda session_id: ("DELETE", f"/sessions/{session_id}/messages", None))

    async def rename(self) -> None:
        """Change the title."""
        title = {"title": self._text()}
        await self._move("rename", lambda session_id: ("PATCH", f"/sessions/{session_id}", title))

    async def like(self) -> None:
        """Give feedback to an answer."""
        session_id = self._session()
        answers = [each for each in await self._messages(session_id) if each["role"] == "assistant"]
        if answers:
            path = f"/messages/{self.random.choice(answers)['message_id']}/feedback"
            await self._move("like", lambda _: ("POST", path, {"value": "like"}), session_id)

    async def _move(
        self, operation: str, request_of: Callable[[str], tuple[str, str, Any]], session_id: str | None = None
    ) -> None:
        session_id = session_id or self._session()
        headers = {}
        if self.random.random() < 0.5:
            headers["If-Match"] = (await self._ask("GET", f"/sessions/{session_id}")).headers["etag"]
        move = Move(operation)
        self.told.moves[session_id].append(move)
        response = await self._ask(*request_of(session_id), headers=headers)
        move.is_refused = response.status != 200
        if move.is_refused:
            assert response.status in {404, 409, 412}, response
            return
        move.version = response.version
        self.load.counts[operation] = self.load.counts.get(operation, 0) + 1

    async def fork(self) -> None:
        """Copy a session; the copy is as good as another."""
        source = self._session()
        key = {"Idempotency-Key": f"{self.name}-{next(self._numbers)}"}
        response = await self._ask("POST", f"/sessions/{source}/fork", {}, headers=key)
        if response.status == 201:
            self.told.sessions.add(response.json["session_id"])
            again = await self._ask("POST", f"/sessions/{source}/fork", {}, headers=key)
            assert again.json["session_id"] == response.json["session_id"]

    # reading

    async def read(self) -> None:
        """Read a turn that is known, and a history."""
        known = [post for post in self.told.posts.values() if post.turn_id is not None]
        if known:
            turn_id = self.random.choice(known).turn_id
            assert turn_id is not None
            response = await self._ask("GET", f"/turns/{turn_id}")
            assert response.status == 200, response
            self._answered(turn_id, response.json)

    async def _messages(self, session_id: str) -> list[dict[str, Any]]:
        response = await self._ask("GET", f"/sessions/{session_id}/messages?limit=1000")
        assert response.status == 200, response
        return list(response.json["items"])

    async def _ask(self, method: str, path: str, body: Any = None, **options: Any) -> Response:
        return await request(self.load.server.address, method, path, body, **options)

    # choices

    def _session(self) -> str:
        if not self.load.sessions:
            raise Cut("there is no session yet")
        return self.random.choice(self.load.sessions)

    def _chat(self) -> str:
        return f"/chat/{self.random.choice(CHATS)}"

    def _policy(self) -> str:
        return self.random.choice(POLICIES)

    def _text(self) -> str:
        return f"{self.name}m{next(self._numbers)} {self.random.randint(0, 60)} {self.random.choice((0, 1, 5, 20))}"


class Follower(Client):
    """A client that only follows sessions, leaves, and comes back with its cursor."""

    async def run(self) -> None:
        while True:
            await self.load.server.is_up.wait()
            if not self.load.sessions:
                await asyncio.sleep(0.01)
                continue
            session_id = self._session()
            await self._follow_session(session_id, Listener(self.told, session_id))

    async def _follow_session(self, session_id: str, listener: Listener) -> None:
        while session_id in self.load.sessions and self.random.random() < 0.9:
            await self.load.server.is_up.wait()
            try:
                stream = await self._follow(f"/sessions/{session_id}/events", listener)
                await self._read_a_while(stream, listener)
            except Cut:
                await asyncio.sleep(0.005)

    async def _read_a_while(self, stream: Any, listener: Listener) -> None:
        try:
            async with asyncio.timeout(STILL_S * self.random.randint(1, 5)):
                async for event in stream.events():
                    listener.take(event)
        except TimeoutError:
            pass
        finally:
            stream.close()


Operation = Callable[[Client], Awaitable[None]]
MIX: dict[Operation, int] = {
    Client.send: 40,
    Client.retry: 8,
    Client.edit: 6,
    Client.stop: 8,
    Client.undo: 8,
    Client.clear: 1,
    Client.rename: 3,
    Client.like: 3,
    Client.fork: 1,
    Client.read: 12,
}
OPERATIONS, WEIGHTS = tuple(MIX), tuple(MIX.values())
