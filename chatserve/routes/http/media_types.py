"""Media types: of an upload, detected from its bytes, and of the response, chosen by `Accept`.

Pure. What a client declares is only a hint. Source for the signatures: WHATWG MIME Sniffing, section 6, and
the formats' own specifications; for `Accept`: RFC 9110, sections 5.6.6, 8.3.1 and 12.5.1.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

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
"""Subtypes that bytes cannot distinguish from their base type, so a hint decides. Browsers run none of them."""

_NOT_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class Sniffer:
    """Detects the media type of a file from its chunks."""

    def __init__(self) -> None:
        self._head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def feed(self, chunk: bytes) -> None:
        """Examine the next chunk."""
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
        """Return the type of the bytes so far; `hints` are the types by the client's header and by the file's name."""
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


# --- Accept ------------------------------------------------------------------------------------------------------

_ELEMENT: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_PARAMETER: Final = re.compile(r';\s*([^\s;=]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]*)')
_WEIGHT: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
MAX_ACCEPT: Final = 1000
"""How much of the `Accept` header is read."""

_EVERYTHING: Final = 0
"""The specificity of `*/*`."""


class MediaRange(NamedTuple):
    """One element of `Accept`: a type or a family of types, with its weight."""

    media_type: str
    specificity: int
    weight: float

    def covers(self, media_type: str) -> bool:
        """Whether the range includes a type."""
        family, _, kind = self.media_type.partition("/")
        if kind == "*":
            return family == "*" or media_type.startswith(f"{family}/")
        return self.media_type == media_type


@lru_cache(maxsize=256)
def choose_media_type(accept: str, offers: tuple[str, ...], default: str) -> str:
    """Return the offered type that a client prefers; of equally weighted ones, the first.

    A type that is named exactly wins over one that only a wildcard allows. A client without a preference, or one that
    accepts none of the offers, gets the default.
    """
    ranges = read_accept(accept)
    weights = {offer: _weight_of(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: weights[offer], default=default)
    weight, specificity = weights.get(best, (0.0, _EVERYTHING))
    if weight == 0 or (specificity == _EVERYTHING and weights.get(default, (0.0, 0))[0] > 0):
        return default
    return best


def _weight_of(offer: str, ranges: Iterable[MediaRange]) -> tuple[float, int]:
    """Return the weight and the specificity of the most specific range that includes an offer."""
    found = max((each for each in ranges if each.covers(offer)), key=lambda each: each.specificity, default=None)
    return (0.0, _EVERYTHING) if found is None else (found.weight, found.specificity)


def read_accept(accept: str) -> tuple[MediaRange, ...]:
    """Parse an `Accept` header; malformed elements are ignored."""
    found = (_read_range(element) for element in _ELEMENT.findall(accept[:MAX_ACCEPT]))
    return tuple(each for each in found if each is not None)


def _read_range(element: str) -> MediaRange | None:
    media_type = element.partition(";")[0].strip().lower()
    family, slash, kind = media_type.partition("/")
    parameters = {name.lower(): value.strip('"').lower() for name, value in _PARAMETER.findall(element)}
    weight = parameters.pop("q", "1")
    if not (family and slash and kind) or not _WEIGHT.fullmatch(weight):
        return None
    if parameters.pop("charset", "utf-8") != "utf-8" or parameters:
        return None  # a variant of the type that no format offers
    return MediaRange(media_type, (family != "*") + (kind != "*"), float(weight))
