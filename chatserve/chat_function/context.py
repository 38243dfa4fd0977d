"""What a chat function can know about its turn, and what it can report besides its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chatserve.core.frozen import frozen
from chatserve.core.types import Json, ToolResultPart, Usage


@frozen
class Report:
    """Something a function reported through its context, in its place among the values it yielded."""

    text: str | None = None
    done: float | None = None
    total: float | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class SessionView:
    """The session as the function sees it. The function may change `state`; it is stored together with the answer.

    `id` is None in a stateless turn, whose state is not stored. Setting `title` renames the session.
    """

    id: str | None
    title: str | None
    metadata: Mapping[str, Json]
    state: dict[str, Json]


def ignore_report(_report: Report) -> None:
    """Drop a report: nothing listens yet."""


@dataclass(slots=True)
class ChatContext:
    """The turn, as given to the function that answers it: annotate a parameter with this class to get one.

    `params` holds the request fields of the client's protocol that are not inputs. `tools` are the tools the client
    offers, `tool_results` the results it sends when they have run (the message is empty then). `prefill` are the words
    with which the answer begins, where a client asks to have it continued: answer with what follows them. `headers` are
    the request's headers in lower case, without cookies and authorization. Call the methods from the function's thread
    or task.
    """

    session: SessionView
    turn_id: str
    user: str
    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: str = "native"
    params: Mapping[str, Json] = field(default_factory=dict)
    tools: tuple[Json, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()
    prefill: str | None = None
    _report: Callable[[Report], None] = field(default=ignore_report, repr=False)
    _is_cancelled: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def cancelled(self) -> bool:
        """True once the turn was stopped. A long computation should check this regularly, and return."""
        return self._is_cancelled()

    def status(self, text: str) -> None:
        """Show the client what the function is doing ("searching …"). Not kept in history."""
        self._report(Report(text=_text(text)))

    def progress(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Show the client the progress of the work: `done` of `total` steps."""
        self._report(Report(text=None if text is None else _text(text), done=done, total=total))

    def usage(self, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Report the tokens the turn has used; the last call counts."""
        self._report(Report(usage=Usage(int(input_tokens), int(output_tokens))))

    def connect(self, report: Callable[[Report], None], is_cancelled: Callable[[], bool]) -> None:
        """Connect the context to the running call. Not for chat functions."""
        self._report = report
        self._is_cancelled = is_cancelled


def _text(text: object) -> str:
    """Return a text for the client. An object is none: what it tells of itself may be meant for the developer only."""
    if isinstance(text, str):
        return text
    raise TypeError(f"the text to report is of type {type(text).__name__}; pass a str")
