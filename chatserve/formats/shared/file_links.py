"""Files of an answer as links in its text, for protocols that have no other place for them. Knows no protocol."""

from __future__ import annotations

import re
from typing import Final

from chatserve.core.types import FilePart

_MARKDOWN: Final = re.compile(r"([\\\[\]])")


def file_link(file: FilePart, base_url: str) -> str:
    """Return a file as Markdown: a link, or an embedded image. `base_url` is the address of the server."""
    name = _MARKDOWN.sub(r"\\\1", " ".join(file.name.split()))
    mark = "!" if file.media_type.startswith("image/") else ""
    return f"{mark}[{name}]({base_url}{file.url})"
