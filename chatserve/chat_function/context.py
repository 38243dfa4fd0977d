"""What a chat function may know of its turn, and what it may report besides its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chatserve.core.frozen import frozen
from chatserve.core.types import Json, ToolResultPart, Usage


@frozen
class Report:
    """Something a function said through its context, in its place among what it yielded."""

    text: str | None = None
    done: float | None = None
    total: float | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class SessionView:
    """The session as the function sees it. `state` may be changed; it is kept together with the answer.

    `id` is None in a stateless turn, whose state is kept nowhere. Setting `title` renames the session.
    """

    id: str | None
    title: str | None
    metadata: Mapping[str, Json]
    state: dict[str, Json]


def _drop(_report: Report) -> None:
    """Stand in until the function runs."""


@dataclass(slots=True)
class ChatContext:
    """The turn, for the function that answers it: annotate a parameter with this class to get one.

    `params` holds the request fields of the client's protocol that are no inputs; `tools` what the client offers,
    `tool_results` what it answers when its tools have run (the message is empty then); `headers` the request's headers,
    lower case, without cookies and authorization. Every method may be called from the function's thread or task.
    """

    session: SessionView
    turn_id: str
    user: str
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "native"
    params: Mapping[str, Json] = field(default_factory=dict)
    tools: tuple[Json, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()
    _report: Callable[[Report], None] = field(default=_drop, repr=False)
    _is_cancelled: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def cancelled(self) -> bool:
        """True once the turn was stopped; a long computation should look now and then, and return."""
        return self._is_cancelled()

    def status(self, text: str) -> None:
        """Tell the client what goes on ("searching …"). Not kept in history."""
        self._report(Report(text=str(text)))

    def progress(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Tell the client how far the work is: `done` of `total` steps."""
        self._report(Report(text=None if text is None else str(text), done=done, total=total))

    def usage(self, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Say what the turn cost, in tokens; the last call counts."""
        self._report(Report(usage=Usage(int(input_tokens), int(output_tokens))))

    def connect(self, report: Callable[[Report], None], is_cancelled: Callable[[], bool]) -> None:
        """Connect the context to the running call; not for chat functions."""
        self._report = report
        self._is_cancelled = is_cancelled


def is_context(annotation: Any) -> bool:
    """Whether a parameter of this annotation wants the context."""
    if isinstance(annotation, str):
        return is_named(annotation, ChatContext.__name__)
    return isinstance(annotation, type) and issubclass(annotation, ChatContext)


def is_named(annotation: str, name: str) -> bool:
    """Whether an annotation that is text, for its import is for type checkers only, names this class."""
    return annotation.removesuffix("| None").strip().rpartition(".")[2] == name
