"""Finds the endpoint of a protocol that a request to a wrong path most likely meant.

Clients lead there by a base URL without its prefix or with the prefix twice, by a slash at the end, or by calls of an
API that is not served. Pure. Knows protocols only by their endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chatserve.contracts.wire import Endpoint, WireFormat


@dataclass(frozen=True, slots=True)
class Way:
    """An endpoint, the steps of its path, and its format."""

    wire_format: WireFormat
    endpoint: Endpoint
    steps: tuple[str, ...]


class Signposts:
    """All endpoints of the protocols that are served."""

    def __init__(self, formats: Iterable[WireFormat]) -> None:
        self._ways = [
            Way(wire_format, endpoint, _steps_of(endpoint.path))
            for wire_format in formats
            for endpoint in wire_format.endpoints
        ]

    def format_at(self, method: str, path: str) -> WireFormat | None:
        """Return the format that has an endpoint at a path, or else the one that is meant below its prefix."""
        steps = _steps_of(path)
        below = self._below(steps)
        meant = self._meant(method, steps) if below else None
        way = next((way for way in self._ways if _fits(way.steps, steps)), meant or next(iter(below), None))
        return None if way is None else way.wire_format

    def hint(self, method: str, path: str, root_path: str = "") -> str | None:
        """Return in words which path to use instead; None for a path that no protocol's client would ask for."""
        steps = _steps_of(path)
        meant = self._meant(method, steps)
        if meant is None:
            below = dict.fromkeys(way.endpoint for way in self._below(steps) if "{" not in way.endpoint.path)
            return f"below /{steps[0]} there are {', '.join(map(_name_of, below))}" if below else None
        endpoint = replace(meant.endpoint, path=root_path + meant.endpoint.path)
        return (
            None
            if (method, path) == (endpoint.method, meant.endpoint.path)
            else f"the path to use is {_name_of(endpoint)}"
        )

    def _meant(self, method: str, steps: Sequence[str]) -> Way | None:
        way = max(self._ways, key=lambda way: _likeness(way, method, steps), default=None)
        return way if way is not None and _likeness(way, method, steps) > _UNLIKE else None

    def _below(self, steps: Sequence[str]) -> list[Way]:
        return [way for way in self._ways if len(way.steps) > 1 and way.steps[0] == "".join(steps[:1])]


_UNLIKE: Final = (0, False, 0)


def _name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.public_path}"


def _steps_of(path: str) -> tuple[str, ...]:
    return tuple(step for step in path.split("/") if step)


def _likeness(way: Way, method: str, steps: Sequence[str]) -> tuple[int, bool, int]:
    """Return how much of a way is in the steps: its written-out steps, its method, and how few it lacks at the start.

    A tail of the way must be all of the steps or, with two or more written-out steps, be among them.
    """
    for lacking in range(len(way.steps)):
        tail = way.steps[lacking:]
        written_out = sum(not step.startswith("{") for step in tail)
        places = range(len(steps) - len(tail) + 1) if written_out > 1 else range(1)
        if written_out and any(
            _fits(tail, steps[place:][: len(tail)] if written_out > 1 else steps) for place in places
        ):
            return (written_out, way.endpoint.method == method, -lacking)
    return _UNLIKE


def _fits(way: Sequence[str], steps: Sequence[str]) -> bool:
    """Whether steps are those of a way, with any values for its parameters."""
    if way and way[-1].endswith(":path}") and len(steps) >= len(way):
        steps = steps[: len(way)]
    return len(way) == len(steps) and all(a.startswith("{") or a == b for a, b in zip(way, steps, strict=True))
