"""The number of tokens in a request: an estimate, because a chat function has no tokenizer.

It counts one token for every four bytes of UTF-8, rounded up, in all text, names, arguments and tool definitions, four
more for each message, and 1,600 for each image, which is the cost of a large one. A document counts by its decoded
bytes. The estimate is close for English prose and rougher for code and other scripts.
"""

from __future__ import annotations

from typing import Final

from chatserve.codec import dumps
from chatserve.core.types import Json

BYTES_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 4
IMAGE_TOKENS: Final = 1600
_BASE64_BYTES: Final = 4 / 3
_NOT_READ: Final = frozenset({"type", "role", "cache_control", "tool_use_id", "id", "signature", "media_type"})


def estimate_tokens(body: Json) -> int:
    """Return the estimate for a valid body."""
    messages = body["messages"]
    size = _bytes_of(body.get("system")) + _bytes_of(messages)
    if tools := body.get("tools"):
        size += len(dumps(tools))
    return -(-size // BYTES_PER_TOKEN) + MESSAGE_TOKENS * len(messages)


def _bytes_of(value: Json) -> int:
    """Count the bytes of text in a value. An image counts as the text that costs as much."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list):
        return sum(map(_bytes_of, value))
    if not isinstance(value, dict):
        return 0 if value is None else len(dumps(value))
    if value.get("type") == "image":
        return IMAGE_TOKENS * BYTES_PER_TOKEN
    if value.get("type") == "base64":
        return int(_bytes_of(value.get("data")) / _BASE64_BYTES)
    if value.get("type") == "tool_use":
        return _bytes_of(value.get("name")) + len(dumps(value.get("input")))
    return sum(_bytes_of(each) for key, each in value.items() if key not in _NOT_READ)
