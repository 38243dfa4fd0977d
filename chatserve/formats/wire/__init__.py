"""What clients speak: one file per format, each a pure encoder of the log's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chatserve.settings import Settings
from chatserve.wire import WireFormat

WIRE_FORMATS: Final[Mapping[str, Callable[[Settings], WireFormat]]] = {}
"""Every protocol besides the native one, by the name it has in the setting `protocols`."""
