"""Gradio's components: pictures, sounds, plots, tables, texts.

They come before the families that recognize a value by its shape, as the objects of Gradio's stand-in have any shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output
from chatserve.formats.shared.components import is_component, read_shown
from chatserve.formats.shared.content import parts_answer


class ComponentNormalizer:
    """Reads a component as a message that consists of its parts."""

    @staticmethod
    def accepts(value: object) -> bool:
        return is_component(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return parts_answer(read_shown(value), view)
