"""What must hold after every restart, whatever the crash hit: the store against what clients were told of it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.faults.app import answer_to
from tests.faults.server import CrashableServer
from tests.faults.told import Listener, Post, Told, text_of
from tests.support.http import streaming

FINAL = {"completed", "stopped", "failed", "interrupted"}
REPLAYS = 3
"""How many accepted posts are sent once more at each restart."""


@dataclass(frozen=True)
class Document:
    """An exported session, by id."""

    session: dict[str, Any]
    messages: dict[str, dict[str, Any]]
    turns: dict[str, dict[str, Any]]

    def prompt_of(self, turn: dict[str, Any]) -> str:
        return _content(self.messages[turn["user_message_id"]])

    def answer_of(self, turn_id: str) -> str:
        answers = (m for m in self.messages.values() if m["turn_id"] == turn_id and m["role"] == "assistant")
        return "".join(map(_content, answers))


def _content(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message["content"])


class Audit:
    """Checks all sessions of a load. `margin_s`: how long before the crash an event must have been shown to be kept."""

    def __init__(self, server: CrashableServer, told: Told, *, margin_s: float) -> None:
        self.server = server
        self.told = told
        self.margin_s = margin_s
        self.interrupted = 0
        self._ends: dict[str, tuple[str, str, str]] = {}

    async def check(self) -> dict[str, Document]:
        """Check everything; return the sessions by id."""
        documents = {session_id: await self._export(session_id) for session_id in self.told.sessions}
        posts = list(self.told.posts.values())
        for session_id, document in documents.items():
            self._check_turns(document)
            self._check_posts(document, [post for post in posts if post.session_id == session_id])
            self._check_version(document, session_id)
            await self._check_log(session_id, document)
        for post in [post for post in posts if post.turn_id is not None][-REPLAYS:]:
            await self._check_replay(post)
        return documents

    async def _export(self, session_id: str) -> Document:
        response = await self.server.ask("GET", f"/sessions/{session_id}/export")
        assert response.status == 200, f"session {session_id} is lost: {response}"
        value = response.json
        messages = {message["message_id"]: message for message in value["messages"]}
        assert len(messages) == len(value["messages"])
        assert {message["parent_id"] for message in messages.values()} <= {None, *messages}
        return Document(value["session"], messages, {turn["turn_id"]: turn for turn in value["turns"]})

    def _check_turns(self, document: Document) -> None:
        """No turn is open; answers are what the function said, as far as anybody had heard it and further."""
        for turn_id, turn in document.turns.items():
            assert turn["status"] in FINAL, f"half a turn: {turn}"
            whole, kept = answer_to(document.prompt_of(turn)), document.answer_of(turn_id)
            assert whole.startswith(kept), f"{turn}: {kept!r}"
            assert turn["status"] != "completed" or kept == whole, f"{turn}: {kept!r}"
            self._check_kept(turn, kept)
            self._check_final(turn, kept)

    def _check_kept(self, turn: dict[str, Any], kept: str) -> None:
        """The first restart after a turn keeps what was heard of it; every later one keeps the same."""
        end = (turn["status"], turn["finish_reason"], kept)
        known = self._ends.setdefault(turn["turn_id"], end)
        assert known == end, f"{turn['turn_id']} was {known}, is {end}"
        if known is not end:
            return
        is_crashed = turn["finish_reason"] == "interrupted"
        self.interrupted += is_crashed
        heard = self.told.heard_before(turn["turn_id"], self.server.killed_at - self.margin_s * is_crashed)
        assert kept.startswith(heard), f"{turn}: heard {heard!r}, kept {kept!r}"

    def _check_final(self, turn: dict[str, Any], kept: str) -> None:
        final = self.told.finals.get(turn["turn_id"])
        if final is not None:
            assert (final.status, final.text) == (turn["status"], kept)
            assert turn.get("version") is None or final.version in {None, turn["version"]}

    def _check_posts(self, document: Document, posts: list[Post]) -> None:
        """What was accepted is there once, what was refused is not, and the order is that of acceptance."""
        asked = [_content(message) for message in document.messages.values() if message["role"] == "user"]
        times = Counter(asked)
        for post in posts:
            if post.text is not None:
                told = 1 if post.turn_id else 0 if post.is_refused else min(times[post.text], 1)
                assert times[post.text] == told, f"{times[post.text]} times: {post}"
            if post.turn_id is not None:
                turn = document.turns.get(post.turn_id)
                assert turn is not None, f"lost: {post}"
                assert post.text in {None, document.prompt_of(turn)}
        self._check_order([post for post in posts if post.text is not None and post.acked_at is not None], asked)

    def _check_order(self, posts: list[Post], asked: list[str]) -> None:
        place = {text: number for number, text in enumerate(asked)}
        for first in posts:
            for second in posts:
                if first.acked_at is not None and first.acked_at < second.sent_at:
                    assert place[first.text or ""] < place[second.text or ""], f"{second} stands before {first}"

    def _check_version(self, document: Document, session_id: str) -> None:
        """The version is the number of changes: none uncounted, none refused but counted, no two with one number."""
        moves = [move for move in self.told.moves.get(session_id, ()) if not move.is_refused]
        begun = {turn_id: turn["version"] for turn_id, turn in document.turns.items() if "version" in turn}
        unknown = sum(move.version is None for move in moves)
        counted = 1 + 2 * len(begun) + len(moves) - unknown
        assert counted <= document.session["version"] <= counted + unknown, f"{document.session}: {counted} + {unknown}"
        begins = [version for turn_id, version in self.told.begun_at_version.items() if turn_id in begun]
        versions = [*begun.values(), *begins, *(move.version for move in moves if move.version is not None)]
        assert len(versions) == len(set(versions)), f"{session_id}: {sorted(versions)}"
        assert max(versions, default=1) <= document.session["version"]

    async def _check_log(self, session_id: str, document: Document) -> None:
        """What is retained of the log is dense, and says what readers were told under the same numbers."""
        last_seq = document.session["last_seq"]
        assert max(self.told.seen(session_id), default=0) <= last_seq, f"{session_id}: the log is behind its readers"
        if not last_seq:
            return
        listener = Listener(self.told, session_id)
        async with streaming(self.server.address, "GET", f"/sessions/{session_id}/events?after=0") as stream:
            async for event in stream.events():
                listener.take(event)
                if listener.cursor is not None and listener.cursor >= last_seq:
                    return
        raise AssertionError(f"{session_id}: its stream ended at {listener.cursor}, before {last_seq}")

    async def _check_replay(self, post: Post) -> None:
        """The same key is the same turn."""
        response = await self.server.ask("POST", post.path, post.body, Idempotency_Key=post.key)
        assert response.status == 200, f"{post}: {response}"
        assert response.headers["idempotency-replayed"] == "true"
        assert response.json["turn_id"] == post.turn_id
        final = self.told.finals.get(post.turn_id or "")
        assert final is None or (final.status, final.text) == (
            response.json["status"],
            text_of(response.json["messages"]),
        )
