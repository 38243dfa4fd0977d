"""One file: `pathlib.Path`, `chatserve.File`, or Gradio's dict `{"path", "orig_name"?, "mime_type"?, "alt_text"?}`.

This module only names the file. The engine reads and stores its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.contracts.formats import AnswerView, Output
from chatserve.formats.shared.content import is_file, part_answer, read_file


class FileNormalizer:
    """Reads a file as a message that consists of this file."""

    @staticmethod
    def accepts(value: object) -> bool:
        return is_file(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        return part_answer(read_file(value), view)
