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
from chatserve.core.types import FilePart, HistoryIncludes, Message
from chatserve.engine.sessions.long_history import LONG, LongHistory
from chatserve.engine.sessions.told import awaits_results, is_plain, told_of, units_of


@frozen
class HistoryShape:
    """The shape in which a chat function receives its history; at most the last `limit` entries.

    `includes`: `"answered"`, what the module `told` keeps, or `"all"` that is stored.
    """

    name: str
    formatter: HistoryFormat
    options: RenderOptions
    limit: int | None
    includes: HistoryIncludes

    def render(self, messages: Sequence[Message]) -> list[Any]:
        """Return messages in this shape."""
        if self.includes == "all" or all(map(is_plain, messages)):
            return self.formatter.render(messages, self.options)
        return [entry for unit in units_of(messages) for entry in self.formatter.render(told_of(unit), self.options)]

    def settled(self, messages: Sequence[Message]) -> int:
        """Return how many messages at the start are rendered the same, whatever follows them."""
        if self.includes == "all" or all(map(is_plain, messages)):
            return len(messages)
        *_, last = units_of(messages)
        return len(messages) - (len(last) if awaits_results(last) else 0)

    def copy(self, entries: list[Any]) -> list[Any]:
        """Return a deep copy for a function to change; of a long history each entry is copied when it is touched."""
        return self.formatter.copy(entries) if len(entries) < LONG else LongHistory(entries, self.formatter.copy)

    def last(self, entries: list[Any], brought: int = 0) -> list[Any]:
        """Return the last entries, at most `limit` beside those `brought` by the client. No result loses its call."""
        if self.limit is None:
            return entries
        start = max(0, len(entries) - self.limit - brought)
        while start and start < len(entries) - brought and _is_result(entries[start]):
            start += 1
        return entries[start:]


def _is_result(entry: Any) -> bool:
    return isinstance(entry, dict) and entry["role"] == "tool"


class _Branch:
    """The messages up to `head`, and their rendered forms by format and mode."""

    __slots__ = ("head", "messages", "rendered")

    def __init__(self, head: str, messages: Sequence[Message]) -> None:
        self.head = head
        self.messages = list(messages)
        self.rendered: dict[tuple[str, bool, HistoryIncludes], tuple[int, list[Any]]] = {}


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
        formatter = self._formats[options.history]
        return HistoryShape(options.history, formatter, render_options, options.history_limit, options.history_includes)

    async def render(
        self, owner: str, session_id: str, head: str | None, shape: HistoryShape, brought: Sequence[Message] = ()
    ) -> list[Any]:
        """Return the stored history up to `head`, and results of tools that the client has `brought` for this turn.

        It is kept between turns: copy it for whoever may change it.
        """
        if head is None:
            return shape.render(brought)
        branch = await self._branch(owner, session_id, head)
        key = (shape.name, shape.options.multimodal, shape.includes)
        count, entries = branch.rendered.get(key, (0, []))
        if count < len(branch.messages):
            unseen = branch.messages[count:]
            settled = shape.settled(unseen)
            entries.extend(shape.render(unseen[:settled]))
            branch.rendered[key] = (count + settled, entries)
            count += settled
        if count < len(branch.messages) or brought:
            entries = entries + shape.render((*branch.messages[count:], *brought))
        return shape.last(entries, sum(len(message.content) for message in brought))

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
