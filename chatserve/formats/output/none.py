"""None: the function has nothing to say, or nothing yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output


class NoneNormalizer:
    """Reads None as no output."""

    @staticmethod
    def accepts(value: object) -> bool:
        return value is None

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return ()
