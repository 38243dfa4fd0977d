"""The values of `gr.State` in each session. Knows no component.

A value that JSON has a form for is kept with the session. Any other lives in this process's memory, as in Gradio all of
them do.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, Final

from chatserve.chat_function import SessionView
from chatserve.cli.target.gradio.inputs import is_json

MAX_IN_MEMORY: Final = 10_000
"""How many values without a JSON form are kept, the last used ones; as many sessions' as Gradio keeps by default."""


class States:
    """The states of one chat."""

    def __init__(self) -> None:
        self._in_memory: OrderedDict[tuple[str | None, str], Any] = OrderedDict()

    def get(self, session: SessionView, name: str, initial: Any) -> Any:
        """Return the value itself, so that a change in place is kept; a copy of `initial` in a new session."""
        if (session.id, name) in self._in_memory:
            self._in_memory.move_to_end((session.id, name))
            return self._in_memory[session.id, name]
        if name not in session.state:
            return self.put(session, name, copy.deepcopy(initial))
        return session.state[name]

    def put(self, session: SessionView, name: str, value: Any) -> Any:
        """Keep a value and return it."""
        self._in_memory.pop((session.id, name), None)
        if is_json(value):
            session.state[name] = value
        elif session.id is not None:
            self._in_memory[session.id, name] = value
            if len(self._in_memory) > MAX_IN_MEMORY:
                self._in_memory.popitem(last=False)
        return value
