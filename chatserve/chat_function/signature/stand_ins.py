"""What a function written for Gradio is given as `gr.Request` and `gr.Progress`: the same attributes and calls.

Source: the documentation of Gradio 6, `gradio.Request` and `gradio.Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

Report: TypeAlias = Callable[[float, float | None, str | None], None]

REPORT_EVERY_S: Final = 0.1
"""How often a loop reports at most, besides its first and last step: a loop may have a million steps."""


class GradioRequest:
    """The request that started the turn, as `gr.Request` shows it.

    Every attribute of the HTTP request can be read: `headers`, `query_params`, `cookies`, `path_params`, `client`,
    `url`. Without a request, which happens while examples are answered at the start, those are empty.
    """

    def __init__(
        self, request: Any = None, username: str | None = None, session_hash: str | None = None, **attributes: Any
    ) -> None:
        self.request = request
        self.username = username
        self.session_hash = session_hash
        self.kwargs = attributes

    @property
    def client(self) -> Any:
        """The client's address, as `host` and `port`; `""` and 0 where there is none."""
        known = getattr(self.request, "client", None) or self.kwargs.get("client")
        return SimpleNamespace(host="", port=0) if known is None else known

    def __getattr__(self, name: str) -> Any:
        if name in {"headers", "query_params", "cookies", "path_params"} and self.request is None:
            return self.kwargs.get(name, {})
        if self.request is None:
            raise AttributeError(f"gr.Request has no attribute {name!r} without an HTTP request")
        return getattr(self.request, name)


class GradioProgress:
    """Reports what `gr.Progress` would show as the progress of the turn. Without a turn it does nothing."""

    def __init__(self, track_tqdm: bool = False, *, report: Report | None = None) -> None:
        self.track_tqdm = track_tqdm
        self._report = report
        self._loops: list[_Loop] = []

    def __call__(
        self,
        progress: float | tuple[int, int | None] | None,
        desc: str | None = None,
        total: float | None = None,
        unit: str = "steps",
        _tqdm: Any = None,
    ) -> None:
        """Report a share between 0 and 1, or `(steps, total)`. None, which hides Gradio's bar, reports nothing."""
        if progress is None or self._report is None:
            return
        done, of = progress if isinstance(progress, tuple) else (progress, 1 if total is None else total)
        self._report(done, of, desc)

    def tqdm(
        self,
        iterable: Iterable[Any] | None,
        desc: str | None = None,
        total: float | None = None,
        unit: str = "steps",
        _tqdm: Any = None,
    ) -> _Loop:
        """Return an iterable of the same items that reports its steps. Without one, `update` counts them."""
        self._loops.append(_Loop(iterable, desc, total, self._report))
        return self._loops[-1]

    def update(self, n: float = 1) -> None:
        """Add steps to the loop that was begun last."""
        if self._loops:
            self._loops[-1].update(n)

    def close(self, _tqdm: Any = None) -> None:
        """End the loop that was begun last."""
        if self._loops:
            self._loops.pop()


class _Loop:
    """A loop with counted steps."""

    def __init__(self, iterable: Iterable[Any] | None, desc: str | None, total: float | None, report: Any) -> None:
        self._iterable = () if iterable is None else iterable
        self._desc = desc
        self._total = total if total is not None else getattr(iterable, "__len__", lambda: None)()
        self._report: Report | None = report
        self._done: float = 0
        self._reported_at = 0.0

    def __iter__(self) -> Iterator[Any]:
        self.update(0)
        for item in self._iterable:
            yield item
            self.update()

    def __len__(self) -> int:
        return int(self._total or 0)

    def update(self, n: float = 1) -> None:
        """Add steps."""
        self._done += n
        is_edge = self._done in {0, self._total}
        if self._report is not None and (is_edge or monotonic() - self._reported_at >= REPORT_EVERY_S):
            self._reported_at = monotonic()
            self._report(self._done, self._total, self._desc)

    def close(self) -> None:
        """Do nothing more."""
