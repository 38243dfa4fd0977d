"""What an upload is, told by its bytes: a client's word is a hint at most.

Pure: fed with pieces, asked at the end. Source for the signatures: WHATWG MIME Sniffing, section 6, and the formats'
own specifications.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from typing import Final

from chatserve.stores.file_folder import DEFAULT_MEDIA_TYPE

HEAD_BYTES: Final = 512
TEXT: Final = "text/plain"

_SIGNATURES: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"RIFF....WAVE", "audio/wav"),
        (rb"%PDF-", "application/pdf"),
        (rb"PK(?:\x03\x04|\x05\x06)", "application/zip"),
        (rb"\x1f\x8b", "application/gzip"),
        (rb"ID3|\xff[\xfb\xfa\xf3\xf2]", "audio/mpeg"),
        (rb"OggS", "audio/ogg"),
        (rb"fLaC", "audio/flac"),
        (rb"....ftyp(?:M4A|M4B)", "audio/mp4"),
        (rb"....ftypavif", "image/avif"),
        (rb"....ftyphei[cx]", "image/heic"),
        (rb"....ftyp", "video/mp4"),
        (rb"\x1aE\xdf\xa3.{0,60}webm", "video/webm"),
    )
)
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_REFINEMENTS: Final[Mapping[str, frozenset[str]]] = {
    TEXT: frozenset({"application/json", "text/csv", "text/markdown", "text/tab-separated-values"}),
    "application/zip": frozenset(
        {
            f"{_OFFICE}.wordprocessingml.document",
            f"{_OFFICE}.spreadsheetml.sheet",
            f"{_OFFICE}.presentationml.presentation",
            "application/epub+zip",
        }
    ),
    "audio/ogg": frozenset({"video/ogg"}),
    "video/mp4": frozenset({"audio/mp4", "video/quicktime"}),
    "video/webm": frozenset({"audio/webm"}),
}
"""Types no bytes tell from the one they are a kind of; here a hint is believed. None is one a browser would run."""

_NOT_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class Sniffer:
    """Looks at a file as it passes by."""

    def __init__(self) -> None:
        self._head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def feed(self, chunk: bytes) -> None:
        """Look at the next piece."""
        if len(self._head) < HEAD_BYTES:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
        if self._is_text:
            self._is_text = self._can_be_text(chunk, final=False)

    def _can_be_text(self, chunk: bytes, *, final: bool) -> bool:
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            return False
        return _NOT_TEXT.search(chunk) is None

    def media_type(self, hints: Iterable[str]) -> str:
        """Return the type of what was fed; `hints` are what the client and the name say."""
        found = self._found()
        refinements = _REFINEMENTS.get(found, frozenset())
        return next((hint for hint in hints if hint in refinements), found)

    def _found(self) -> str:
        for pattern, media_type in _SIGNATURES:
            if pattern.match(self._head):
                return media_type
        return TEXT if self._is_text and self._can_be_text(b"", final=True) else DEFAULT_MEDIA_TYPE


def is_allowed(media_type: str, allowed: Iterable[str]) -> bool:
    """Whether a type is on a list of types, such as `image/png` or `image/*`; an empty list allows all."""
    family = media_type.partition("/")[0] + "/*"
    names = {name.lower() for name in allowed}
    return not names or media_type in names or family in names
