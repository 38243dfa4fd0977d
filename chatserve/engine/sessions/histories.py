"""Branches of sessions kept in memory, and their rendering for chat functions.

The cost of a turn depends only on its new messages: the branch and its rendered form are kept between turns, and only
the messages of the last turn are added. The number of cached messages is limited; branches that no longer fit are read
from the store again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatserve.chat_function import ChatOptions
from chatserve.contracts.formats import HistoryFormat, RenderOptions
from chatserve.contracts.store import Store
from chatserve.core.frozen import frozen
from chatserve.core.types import FilePart, Message
from chatserve.engine.sessions.long_history import LONG, LongHistory


@frozen
class HistoryShape:
    """The shape in which a chat function receives its history; at most the last `limit` entries."""

    name: str
    formatter: HistoryFormat
    options: RenderOptions
    limit: int | None

    def render(self, messages: Sequence[Message]) -> list[Any]:
        """Return messages that belong to no session, in this shape."""
        return self.last(self.formatter.render(messages, self.options))

    def copy(self, entries: list[Any]) -> list[Any]:
        """Return a deep copy for a function to change; of a long history each entry is copied when it is touched."""
        return self.formatter.copy(entries) if len(entries) < LONG else LongHistory(entries, self.formatter.copy)

    def last(self, entries: list[Any]) -> list[Any]:
        """Return the last entries, at most `limit`."""
        return entries if self.limit is None else entries[max(0, len(entries) - self.limit) :]


class _Branch:
    """The messages up to `head`, and their rendered forms by format and mode."""

    __slots__ = ("head", "messages", "rendered")

    def __init__(self, head: str, messages: Sequence[Message]) -> None:
        self.head = head
        self.messages = list(messages)
        self.rendered: dict[tuple[str, bool], tuple[int, list[Any]]] = {}


class Histories:
    """Histories for chat functions, by session. `path_of` returns a file part's path, which a function may open."""

    def __init__(
        self,
        store: Store,
        formats: Mapping[str, HistoryFormat],
        path_of: Callable[[FilePart], str],
        max_cached_messages: int,
    ) -> None:
        self._store = store
        self._formats = formats
        self._render_options = {flag: RenderOptions(flag, path_of) for flag in (False, True)}
        self._max_cached_messages = max_cached_messages
        self._branches: OrderedDict[str, _Branch] = OrderedDict()
        self._cached_messages = 0

    def shape_of(self, options: ChatOptions) -> HistoryShape:
        """Return the history shape of a chat."""
        render_options = self._render_options[options.multimodal]
        return HistoryShape(options.history, self._formats[options.history], render_options, options.history_limit)

    async def render(self, owner: str, session_id: str, head: str | None, shape: HistoryShape) -> list[Any]:
        """Return the stored history up to `head`. It is kept between turns: copy it for whoever may change it."""
        if head is None:
            return []
        branch, formatter = await self._branch(owner, session_id, head), shape.formatter
        key = (shape.name, shape.options.multimodal)
        count, entries = branch.rendered.get(key, (0, []))
        if count < len(branch.messages):
            entries.extend(formatter.render(branch.messages[count:], shape.options))
            branch.rendered[key] = (len(branch.messages), entries)
        return shape.last(entries)

    async def _branch(self, owner: str, session_id: str, head: str) -> _Branch:
        branch = self._branches.get(session_id)
        if branch is not None and branch.head == head:
            self._branches.move_to_end(session_id)
            return branch
        branch = _Branch(head, await self._store.read_branch(owner, session_id, head))
        self._keep(session_id, branch)
        return branch

    def _keep(self, session_id: str, branch: _Branch) -> None:
        self.forget(session_id)
        self._branches[session_id] = branch
        self._cached_messages += len(branch.messages)
        while self._cached_messages > self._max_cached_messages and len(self._branches) > 1:
            self.forget(next(iter(self._branches)))

    def extend(self, session_id: str, parent: str | None, messages: Sequence[Message]) -> None:
        """Append the messages of a turn that was committed after `parent`."""
        if parent is None and messages:  # they are the whole branch
            self._keep(session_id, _Branch(messages[-1].message_id, messages))
            return
        branch = self._branches.get(session_id)
        if branch is None:
            return
        if branch.head != parent or not messages:
            self.forget(session_id)
            return
        branch.messages.extend(messages)
        branch.head = messages[-1].message_id
        self._cached_messages += len(messages)

    def forget(self, session_id: str) -> None:
        """Drop the cached branch of a session."""
        branch = self._branches.pop(session_id, None)
        if branch is not None:
            self._cached_messages -= len(branch.messages)
