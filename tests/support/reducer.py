"""What a client makes of a stream, written from the contract's table alone (section 3): it knows names and JSON only.

It refuses what the grammar does not allow: an event that may not follow the one before, text without an open message,
ids nobody announced.
"""

from collections.abc import Iterable
from typing import Any

from chatserve.core.events import MAY_FOLLOW


class ClientAnswer:
    """The answer of one turn as a client knows it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.done: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self._before = ""

    def apply_all(self, events: Iterable[tuple[str, Any]]) -> "ClientAnswer":
        """Take events as (name, data)."""
        for name, data in events:
            self.apply(name, data)
        return self

    def apply(self, name: str, data: Any) -> None:
        """Take one event."""
        if not (name == "snapshot" and not self._before):  # who comes late may be told how things are, first of all
            assert name in MAY_FOLLOW[self._before], f"{name!r} after {self._before!r}"
        self._before = name
        getattr(self, f"_{name}")(data)

    @property
    def text(self) -> str:
        """All words of the answer."""
        return "".join(words_of(message) for message in self.messages)

    def _turn(self, _data: Any) -> None:
        assert not self.messages

    def _message(self, data: Any) -> None:
        assert all(message["message_id"] != data["message_id"] for message in self.messages)
        self.messages.append({"metadata": {}, "options": [], **data, "parts": []})

    def _delta(self, data: Any) -> None:
        assert data["text"]
        _append(self.messages[-1]["parts"], "text", data["text"])

    def _reasoning(self, data: Any) -> None:
        assert data["text"]
        _append(self.messages[-1]["parts"], "reasoning", data["text"])

    def _replace(self, data: Any) -> None:
        message = self._named(data["message_id"]) if "message_id" in data else self.messages[-1]
        assert all(part["type"] == "text" for part in message["parts"])
        message["parts"] = [{"type": "text", "text": data["text"]}] if data["text"] else []

    def _part(self, data: Any) -> None:
        assert data["message_id"] == self.messages[-1]["message_id"]
        known = {part.get("part_id") for message in self.messages for part in message["parts"]}
        assert data["part"]["part_id"] not in known
        self.messages[-1]["parts"].append(dict(data["part"]))

    def _part_delta(self, data: Any) -> None:
        (part,) = [p for m in self.messages for p in m["parts"] if p.get("part_id") == data["part_id"]]
        part["arguments"] += data["text"]

    def _metadata(self, data: Any) -> None:
        message = self._named(data["message_id"])
        merged = message["metadata"] | data.get("metadata", {})
        message["metadata"] = {key: value for key, value in merged.items() if value is not None}
        message["options"] = data.get("options", message["options"])

    def _status(self, _data: Any) -> None:
        pass

    def _snapshot(self, data: Any) -> None:
        self.messages = [_thawed(message) for message in data["messages"]]
        parts = [p for m in self.messages for p in m["parts"] if p["type"] not in ("text", "reasoning")]
        for number, part in enumerate(parts, 1):
            part["part_id"] = f"p{number}"

    def _error(self, data: Any) -> None:
        self.error = data

    def _done(self, data: Any) -> None:
        self.done = data

    def _named(self, message_id: str) -> dict[str, Any]:
        (message,) = [message for message in self.messages if message["message_id"] == message_id]
        return message

    def comparable(self) -> list[dict[str, Any]]:
        """Return the messages as `comparable` makes them of a message's JSON."""
        return [
            {
                "message_id": message["message_id"],
                "role": message["role"],
                "metadata": message["metadata"],
                "options": message["options"],
                "parts": [{k: v for k, v in part.items() if k != "part_id"} for part in message["parts"]],
            }
            for message in self.messages
        ]


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Return what matters of a message's JSON (contract section 7), text as parts."""
    thawed = _thawed(message)
    return {key: thawed[key] for key in ("message_id", "role", "metadata", "options", "parts")}


def words_of(message: dict[str, Any]) -> str:
    """Return the words of a client's message."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def _thawed(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else [dict(part) for part in content]
    return {
        "message_id": message["message_id"],
        "role": message["role"],
        "metadata": message.get("metadata", {}),
        "options": message.get("options", []),
        "parts": [part for part in parts if part.get("text") != ""],
    }


def _append(parts: list[dict[str, Any]], kind: str, text: str) -> None:
    if parts and parts[-1]["type"] == kind:
        parts[-1]["text"] += text
    elif text:
        parts.append({"type": kind, "text": text})
