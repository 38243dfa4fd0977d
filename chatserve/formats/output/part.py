"""One value as one part: a file, a call of a custom tool, or any other value that has a JSON form.

A file is a `pathlib.Path`, a `chatserve.File`, Gradio's dict `{"path", "orig_name"?, "mime_type"?, "alt_text"?}` or a
tuple of one path. This module only names it: the engine reads and stores its bytes. Other values are numbers, dicts
without content, pydantic models, dataclasses; other tuples are none, as they hold more than the answer. A call is
appended to the answer so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.codec import has_json_form
from chatserve.contracts.formats import AnswerView, Output, PartAppended
from chatserve.formats.shared.content import (
    is_custom_call,
    is_file,
    is_file_tuple,
    part_answer,
    read_content,
    read_custom_call,
    read_data,
)


class PartNormalizer:
    """Reads a value as a message that consists of this part."""

    @staticmethod
    def accepts(value: object) -> bool:
        if isinstance(value, tuple):
            return len(value) == 1 and is_file_tuple(value)
        return is_file(value) or has_json_form(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        if is_custom_call(value):
            return (PartAppended(read_custom_call(value)),)
        (part,) = read_content(value) if is_file(value) or isinstance(value, tuple) else (read_data(value),)
        return part_answer(part, view)
