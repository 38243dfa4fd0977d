"""One value as one part: a file, a call of a custom tool, or any other value that has a JSON form.

A file is a `pathlib.Path`, a `chatserve.File`, Gradio's dict `{"path", "orig_name"?, "mime_type"?, "alt_text"?}`, a
tuple of one path, a picture of Pillow or a figure of matplotlib. The engine reads and stores its bytes. Other values
are numbers, dicts without content, pydantic models, dataclasses; other tuples are none, as they hold more than the
answer. A call is appended to the answer so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatserve.codec import has_json_form
from chatserve.contracts.formats import AnswerView, Output, PartAppended
from chatserve.formats.shared.components import is_shown
from chatserve.formats.shared.content import is_custom_call, parts_answer, read_content, read_custom_call, read_data
from chatserve.formats.shared.file_parts import is_file_tuple


class PartNormalizer:
    """Reads a value as a message that consists of this part."""

    @staticmethod
    def accepts(value: object) -> bool:
        if isinstance(value, tuple):
            return len(value) == 1 and is_file_tuple(value)
        return is_shown(value) or has_json_form(value)

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        if is_custom_call(value):
            return (PartAppended(read_custom_call(value)),)
        is_content = isinstance(value, tuple) or is_shown(value)
        return parts_answer(read_content(value) if is_content else (read_data(value),), view)
