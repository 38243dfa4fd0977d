"""All other values that have a JSON form: numbers, dicts without content, tuples, pydantic models, dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output
from chatserve.formats.shared.content import is_data, part_answer, read_data


class JsonValueNormalizer:
    """Reads a value as a message that consists of one data part."""

    @staticmethod
    def accepts(value: object) -> bool:
        return is_data(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return part_answer(read_data(value), view)
