"""Branches of sessions kept in memory, and their rendering for chat functions.

A turn costs what is new in it: the branch and its rendered form are kept from turn to turn, and only the messages
of the last turn are added. The cache is bounded by messages; what falls out is read from the store again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatserve.contracts.formats import HistoryFormat, RenderOptions
from chatserve.contracts.store import Store
from chatserve.core.types import HistoryFormatName, Message
from chatserve.engine.sessions.long_history import LONG, LongHistory

MAX_CACHED_MESSAGES: Final = 200_000


class _Branch:
    """The messages up to `head`, and what was rendered of them, by format and mode."""

    __slots__ = ("head", "messages", "rendered")

    def __init__(self, head: str, messages: Sequence[Message]) -> None:
        self.head = head
        self.messages = list(messages)
        self.rendered: dict[tuple[str, bool], tuple[int, list[Any]]] = {}


class Histories:
    """Histories for chat functions, by session."""

    def __init__(
        self, store: Store, formats: Mapping[str, HistoryFormat], render_options: Mapping[bool, RenderOptions]
    ):
        self._store = store
        self._formats = formats
        self._render_options = render_options
        self._branches: OrderedDict[str, _Branch] = OrderedDict()
        self._cached_messages = 0

    async def render(
        self,
        owner: str,
        session_id: str,
        head: str | None,
        *,
        history: HistoryFormatName,
        multimodal: bool,
        limit: int | None,
    ) -> list[Any]:
        """Return the history up to `head` in the developer's shape: a deep copy, at most the last `limit` entries."""
        if head is None:
            return []
        branch = await self._branch(owner, session_id, head)
        formatter = self._formats[history]
        key = (history, multimodal)
        count, entries = branch.rendered.get(key, (0, []))
        if count < len(branch.messages):
            entries.extend(formatter.render(branch.messages[count:], self._render_options[multimodal]))
            branch.rendered[key] = (len(branch.messages), entries)
        given = entries if limit is None else entries[max(0, len(entries) - limit) :]
        return formatter.copy(given) if len(given) < LONG else LongHistory(given, formatter.copy)

    def render_given(
        self, messages: Sequence[Message], *, history: HistoryFormatName, multimodal: bool, limit: int | None
    ) -> list[Any]:
        """Return a history the client sent, in the developer's shape."""
        entries = self._formats[history].render(messages, self._render_options[multimodal])
        return entries if limit is None else entries[max(0, len(entries) - limit) :]

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
        while self._cached_messages > MAX_CACHED_MESSAGES and len(self._branches) > 1:
            self.forget(next(iter(self._branches)))

    def extend(self, session_id: str, parent: str | None, messages: Sequence[Message]) -> None:
        """Take the messages of a turn that was committed after `parent`."""
        if parent is None and messages:  # they are all there is of the branch
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
        """Drop what is kept of a session."""
        branch = self._branches.pop(session_id, None)
        if branch is not None:
            self._cached_messages -= len(branch.messages)
