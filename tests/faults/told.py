"""What the clients of a load were told: the only witness against a server that crashed. Knows no HTTP."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.sse import SseEvent


@dataclass
class Post:
    """A request that starts a turn, sent until it is answered. `text` is its message, None for a retry."""

    key: str
    path: str
    body: dict[str, Any]
    session_id: str | None
    text: str | None
    sent_at: float = field(default_factory=time.monotonic)
    acked_at: float | None = None
    turn_id: str | None = None
    is_refused: bool = False

    @property
    def is_settled(self) -> bool:
        return self.acked_at is not None or self.is_refused


@dataclass
class Move:
    """A change of a session that starts no turn. `version` is what it was answered with; None: nobody knows."""

    operation: str
    version: int | None = None
    is_refused: bool = False


@dataclass(frozen=True)
class Final:
    """The end of a turn, as somebody was told. `version` is None where the turn, having never begun, has none."""

    status: str
    text: str
    version: int | None


class Told:
    """All that clients were told, by session. What contradicts itself is an error at once."""

    def __init__(self) -> None:
        self.posts: dict[str, Post] = {}
        self.moves: defaultdict[str, list[Move]] = defaultdict(list)
        self.sessions: set[str] = set()
        self.retired: set[str] = set()
        self.finals: dict[str, Final] = {}
        self.begun_at_version: dict[str, int] = {}
        self.heard: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self._seen: defaultdict[str, dict[int, tuple[str, str]]] = defaultdict(dict)

    def ack(self, post: Post, turn_id: str, session_id: str) -> None:
        """A post was accepted, as this turn."""
        assert post.turn_id in {None, turn_id}, f"key {post.key} made {post.turn_id} and {turn_id}"
        assert post.session_id in {None, session_id}, f"key {post.key} went to {post.session_id} and {session_id}"
        post.turn_id, post.session_id = turn_id, session_id
        post.acked_at = post.acked_at or time.monotonic()
        self.sessions |= {session_id} - self.retired

    def saw(self, session_id: str, event: SseEvent) -> None:
        """A reader got an event: every other reader gets the same under that number."""
        known = self._seen[session_id].setdefault(int(event.id), (event.event, event.data))
        assert known == (event.event, event.data), f"{session_id} #{event.id} was {known}, is {event}"

    def ended(self, turn_id: str, final: Final) -> None:
        """A turn has ended: it stays as it was told."""
        known = self.finals.setdefault(turn_id, final)
        versions = {known.version, final.version} - {None}
        same = (known.status, known.text) == (final.status, final.text) and len(versions) < 2
        assert same, f"{turn_id} ended as {known}, and then as {final}"

    def heard_text(self, turn_id: str, text: str) -> None:
        """A reader has this much of an answer."""
        self.heard[turn_id].append((time.monotonic(), text))

    def heard_before(self, turn_id: str, moment: float) -> str:
        """Return the longest text anybody had of a turn at a moment."""
        return max((text for at, text in self.heard.get(turn_id, ()) if at < moment), key=len, default="")

    def seen(self, session_id: str) -> dict[int, tuple[str, str]]:
        """Return the events readers of a session got, by number."""
        return self._seen[session_id]

    def all_seen(self) -> list[dict[int, tuple[str, str]]]:
        """Return the same of every session."""
        return list(self._seen.values())

    def forget(self, session_id: str, turn_ids: set[str]) -> None:
        """Drop what is known of a session that is left alone from now on."""
        self.sessions.discard(session_id)
        self.retired.add(session_id)
        self.moves.pop(session_id, None)
        self._seen.pop(session_id, None)
        self.posts = {key: post for key, post in self.posts.items() if post.session_id != session_id}
        for by_turn in (self.finals, self.begun_at_version, self.heard):
            for turn_id in turn_ids:
                by_turn.pop(turn_id, None)


class Listener:
    """One reader of a session's or a turn's stream, over all its reconnects: numbers are dense, texts add up."""

    def __init__(self, told: Told, session_id: str, turn_id: str | None = None) -> None:
        self.cursor: int | None = None
        self.is_at_end = False
        self._told = told
        self.session_id = session_id
        self.turn_id = turn_id
        self._open_turn = turn_id
        self._text = ""
        self.has_only_deltas = True

    @property
    def text(self) -> str:
        """The answer that is open, or was last."""
        return self._text

    def take(self, event: SseEvent) -> None:
        """Take the next event of the stream."""
        if event.event == "bye":
            return
        number, value = int(event.id), event.json
        if event.event == "snapshot":
            self._start_over(number, value)
            return
        if self.cursor is not None:
            where = f"{self.session_id}/{self.turn_id}: {event.event} #{number} after #{self.cursor}"
            assert number > self.cursor, where
            assert number == self.cursor + 1 or self.turn_id is not None, where
        self.cursor = number
        self._told.saw(self.session_id, event)
        self._follow(event.event, value)

    def _start_over(self, number: int, value: dict[str, Any]) -> None:
        assert self.cursor is None or number >= self.cursor, f"snapshot #{number} after #{self.cursor}"
        self.has_only_deltas = False
        self.cursor = number
        self._open_turn = value["turn"]["turn_id"] if value["turn"] else None
        self._text = text_of(value["messages"])
        if self._open_turn:
            self._told.heard_text(self._open_turn, self._text)

    def _follow(self, name: str, value: dict[str, Any]) -> None:
        match name:
            case "turn" if value["status"] == "running":
                self._open_turn, self._text = value["turn_id"], ""
                self._told.begun_at_version[value["turn_id"]] = value["version"]
            case "delta" | "replace":
                self.has_only_deltas &= name == "delta"
                self._text = self._text * (name == "delta") + value["text"]
                assert self._open_turn is not None, f"{self.session_id}: {name} of no turn, before #{self.cursor}"
                self._told.heard_text(self._open_turn, self._text)
            case "done":
                text = text_of(value["messages"])
                assert value["turn_id"] != self._open_turn or text.startswith(self._text)
                self._told.ended(value["turn_id"], Final(value["status"], text, value["version"]))
                self.is_at_end = value["turn_id"] == self.turn_id


def text_of(messages: list[dict[str, Any]]) -> str:
    """Return the words of an answer."""
    return "".join(message["content"] for message in messages if message["role"] == "assistant")
