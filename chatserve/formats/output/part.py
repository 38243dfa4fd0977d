"""One value as one part: a file, or any other value that has a JSON form.

A file is a `pathlib.Path`, a `chatserve.File`, or Gradio's dict `{"path", "orig_name"?, "mime_type"?, "alt_text"?}`.
This module only names it: the engine reads and stores its bytes. Other values are numbers, dicts without content,
tuples, pydantic models, dataclasses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output
from chatserve.formats.shared.content import is_data, is_file, part_answer, read_data, read_file


class PartNormalizer:
    """Reads a value as a message that consists of this part."""

    @staticmethod
    def accepts(value: object) -> bool:
        return is_file(value) or is_data(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return part_answer(read_file(value) if is_file(value) else read_data(value), view)
