"""Reads HTTP/1.1 responses as they arrive and counts marks in them; pure, no sockets, no clock.

It parses as little as it can: the status, Content-Length, and the last chunk. Servers under test send whole events
per chunk, so a mark is never torn by a chunk head; marks torn by the network are counted all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
EVENT_MARK: Final = b"data:"
LONGEST_MARK_BYTES: Final = 64
CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class BadResponse(Exception):
    """The server answered something else than 200, or not to the end."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What to count: tokens up to the end mark, after which an answer is only repeated."""

    token: bytes
    end: bytes | None = None


class Response:
    """One response in the making."""

    __slots__ = ("_carry", "_counting", "_head", "_left", "_marks", "events", "received_bytes", "tokens")

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._head: bytes | None = b""
        self._left: int | None = None
        self._carry = b""
        self._counting = True
        self.tokens = self.events = self.received_bytes = 0

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return True when the response is whole.

        Raises:
            BadResponse: the status is not 200, or the server closed the connection (`data` is empty).
        """
        if not data:
            raise BadResponse(f"connection closed after {self.tokens} tokens")
        self.received_bytes += len(data)
        if self._head is not None:
            body = self._read_head(self._head + data)
            if body is None:
                return False
            data = body
        return self._read_body(data)

    def _read_head(self, data: bytes) -> bytes | None:
        """Return what follows the head, once it is there; its last line end stays, as LAST_CHUNK begins with one."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return None
        if data[9:12] not in {b"200", b"202"}:
            raise BadResponse(f"status {data[9:12].decode()}: {data[end:].decode(errors='replace').strip()[:200]}")
        length = CONTENT_LENGTH.search(data, 0, end + 2)
        self._left = int(length[1]) + 2 if length else None
        self._head = None
        return data[end + 2 :]

    def _read_body(self, data: bytes) -> bool:
        """Count the marks that end in `data`; `_carry` is what came just before it."""
        window = self._carry + data
        self.events += window.count(EVENT_MARK) - self._carry.count(EVENT_MARK)
        if self._counting:
            end = -1 if self._marks.end is None else window.find(self._marks.end)
            until = len(window) if end < 0 else end
            self.tokens += window.count(self._marks.token, 0, until) - self._carry.count(self._marks.token)
            self._counting = end < 0
        if self._left is not None:
            self._left -= len(data)
            return self._left <= 0
        self._carry = window[-LONGEST_MARK_BYTES:]
        return window.endswith(LAST_CHUNK)
