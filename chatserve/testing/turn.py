"""A turn as the client that started it sees it: event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chatserve.codec import loads
from chatserve.testing.exchange import Exchange, Response


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream: its name, its JSON value, its number (None for `bye`)."""

    name: str
    value: Any
    number: int | None


@dataclass(slots=True)
class _Answer:
    """The answer, put together from the events so far."""

    status: str = "running"
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    is_done: bool = False

    def apply(self, event: StreamEvent) -> None:
        value = event.value
        match event.name:
            case "turn":
                self.status = value["status"]
            case "message":
                self.messages.append({**value, "content": ""})
            case "delta":
                self.messages[-1]["content"] += value["text"]
            case "replace":
                self.messages[-1]["content"] = value["text"]
            case "metadata":
                self._merge(value)
            case "error":
                self.error = value
            case "done":
                self.status, self.messages, self.is_done = value["status"], value["messages"], True
            case _:
                pass  # other events are in `ChatTurn.events`; the messages of `done` contain what they say

    def _merge(self, value: dict[str, Any]) -> None:
        for message in self.messages:
            if message["message_id"] == value["message_id"]:
                message["metadata"] = {**(message.get("metadata") or {}), **(value.get("metadata") or {})}
                message["options"] = value.get("options", message.get("options"))


class ChatTurn:
    """A turn that was started, and its answer so far.

    `post` sends a request of the same client; `stop` needs it.
    """

    def __init__(self, exchange: Exchange, post: Callable[[str], Response], timeout_s: float) -> None:
        self.turn_id = exchange.headers["x-turn-id"]
        self.session_id = exchange.headers.get("x-session-id")
        self._exchange = exchange
        self._post = post
        self._timeout_s = timeout_s
        self._events: list[StreamEvent] = []
        self._answer_so_far = _Answer()
        self._bytes_read = 0

    @property
    def events(self) -> list[StreamEvent]:
        """All events so far."""
        self._read()
        return list(self._events)

    @property
    def status(self) -> str:
        """`queued`, `running`, `completed`, `stopped`, `failed` or `interrupted`."""
        return self._answer().status

    @property
    def text(self) -> str:
        """The text of the answer so far: that of its last message that is no thought."""
        spoken = [message for message in self.messages if not (message.get("metadata") or {}).get("title")]
        return _words(spoken[-1]["content"]) if spoken else ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the answer: complete once the turn has ended, before that with their text so far."""
        return self._answer().messages

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of a turn that failed (`code`, `detail`, …), else None."""
        return self._answer().error

    def _answer(self) -> _Answer:
        self._read()
        return self._answer_so_far

    def _read(self) -> None:
        """Read the events that have arrived since the last call."""
        body, begin = self._exchange.body, self._bytes_read
        end = body.rfind(b"\n\n", begin)
        if end < 0:
            return
        for block in body[begin:end].decode().split("\n\n"):
            if event := _read_event(block):
                self._events.append(event)
                self._answer_so_far.apply(event)
        self._bytes_read = end + 2

    def wait_for(self, text: str, timeout_s: float | None = None) -> ChatTurn:
        """Wait until the answer so far contains `text`. Raises: TimeoutError; AssertionError when it ends without."""
        if not self._wait(lambda: text in self.text, f"to say {text!r}", timeout_s):
            raise AssertionError(f"the turn ended without saying {text!r}: {self._outcome()}")
        return self

    def wait(self, timeout_s: float | None = None) -> ChatTurn:
        """Wait for the end of the turn. Raises: TimeoutError; AssertionError when the stream ends before it."""
        if not self._wait(lambda: self._answer().is_done, "to end", timeout_s):
            raise AssertionError(f"the stream ended before the turn: {self._outcome()}")
        return self

    def _wait(self, has_come: Callable[[], bool], what: str, timeout_s: float | None) -> bool:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            return self._exchange.wait_until(has_come, timeout_s)
        except TimeoutError:
            raise TimeoutError(f"waited {timeout_s:g} s for the turn {what}: {self._outcome()}") from None

    def _outcome(self) -> str:
        return f"it is {self.status}, its text is {self.text!r:.500}"

    def stop(self) -> ChatTurn:
        """Stop the turn and wait for its end."""
        response = self._post(f"/turns/{self.turn_id}/stop")
        if response.status != 200:
            raise AssertionError(f"the turn could not be stopped: {response.status} {response.text}")
        return self.wait()

    def leave(self) -> None:
        """Close the connection, as a browser does when its tab is closed."""
        self._exchange.leave()


def _read_event(block: str) -> StreamEvent | None:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line[1:])
    if "data" not in fields:
        return None
    number = int(fields["id"]) if "id" in fields else None
    return StreamEvent(fields.get("event", "message"), loads(fields["data"]), number)


def _words(content: str | Iterable[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
