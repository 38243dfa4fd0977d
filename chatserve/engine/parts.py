"""`EngineParts`: the parts that an engine is assembled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from chatserve.chat_function import Chat
from chatserve.contracts.files import FileKeeper
from chatserve.contracts.formats import HistoryFormat, Interpreter
from chatserve.contracts.store import Store
from chatserve.core.frozen import frozen
from chatserve.engine.pace import Pace
from chatserve.settings import Settings


@frozen
class EngineParts:
    """The parts of an engine. `clock` returns seconds since the epoch, `new_id` an id for a prefix."""

    chats: Mapping[str, Chat]
    store: Store
    files: FileKeeper
    history_formats: Mapping[str, HistoryFormat]
    new_interpreter: Callable[[], Interpreter]
    settings: Settings
    clock: Callable[[], float]
    new_id: Callable[[str], str]
    pace: Pace = field(default_factory=Pace)
