"""The session of a conversation. The protocol does not name one, so headers and two fields do.

A front end's own requests beside the conversation (a title, tags, follow-ups) belong to no session. `user` and
`prompt_cache_key` are not session keys: they name a person or a prompt, so two conversations would overwrite each
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatserve.core.types import Json
from chatserve.formats.shared.message_array import field_invalid

EXPLICIT_HEADER: Final = "x-session-id"
FRONT_END_HEADERS: Final = ("x-openwebui-chat-id", "x-conversation-id", "x-librechat-conversation-id")
TASK_HEADER: Final = "x-openwebui-task"
"""Open WebUI can be configured to send `{{TASK}}` here. It is empty for the conversation itself."""

NO_CONVERSATION: Final = frozenset({"", "new", "null", "undefined", "None"})
"""Values that front ends send while a conversation has no id yet."""

TEMPORARY: Final = "local:"
"""The prefix of Open WebUI's ids for temporary chats, which must not be stored."""

TASK_PROMPT: Final = "### Task:"
SEARCHED_PROMPT: Final = "### Task:\nRespond to the user query"
"""The beginnings of Open WebUI's task prompts, and of a user's question to which it adds documents."""

TITLE_PROMPTS: Final = (
    "Provide a concise, 5-word-or-less title",
    "Analyze this conversation and provide:\n1. The detected",
)
"""The beginnings of LibreChat's prompts for titles."""


def session_key_of(headers: Mapping[str, str], body: Mapping[str, Json], question: str) -> str | None:
    """Return the key of the conversation's session, or None if it has none.

    Raises:
        InputsInvalid: `session_id` is not text.
    """
    if _filled_in(headers.get(TASK_HEADER, "")):
        return None
    if key := _filled_in(headers.get(EXPLICIT_HEADER, "")):
        return key
    for name in FRONT_END_HEADERS:
        if key := _filled_in(headers.get(name, "")):
            return None if is_background(question) else key
    return _named(body, "session_id", "session_id") or _named(body.get("metadata"), "session_id", "metadata.session_id")


def is_background(question: str) -> bool:
    """Whether a question comes from the front end itself, as its beginning shows."""
    if question.startswith(TASK_PROMPT):
        return not question.startswith(SEARCHED_PROMPT)
    return question.startswith(TITLE_PROMPTS)


def _filled_in(value: str) -> str | None:
    """Return a header's value, or None if its template was not filled in or it names no stored conversation."""
    value = value.strip()
    return None if value in NO_CONVERSATION or "{{" in value or value.startswith(TEMPORARY) else value


def _named(fields: Json, name: str, where: str) -> str | None:
    key = fields.get(name) if isinstance(fields, dict) else None
    if key is not None and not isinstance(key, str):
        raise field_invalid(where, f"{key!r:.80} is not text")
    return key or None
