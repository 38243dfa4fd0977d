"""Ids of responses, conversations and items: the ids of turns, sessions and messages with the protocol's prefixes.

`resp_X` is the turn `t_X`, `conv_X` the session `s_X`. A message `m_X` becomes one or more items: `msg_X` for its text,
`rs_X` for its reasoning, `fc_X` and `mcp_X` for its tool calls, `fco_X` for results. The second item of a kind is
`msg_X.1`. So every id follows from stored ids, and an item leads back to its message.
"""

from __future__ import annotations

from typing import Final

_RESPONSE: Final = "resp_"
_CONVERSATION: Final = "conv_"


def response_id(turn_id: str) -> str:
    """Return the response id of a turn."""
    return _RESPONSE + turn_id.removeprefix("t_")


def turn_id(response_id: str) -> str:
    """Return the turn id of a response. Any other text gives the id of a turn that does not exist."""
    return "t_" + response_id.removeprefix(_RESPONSE)


def conversation_id(session_id: str) -> str:
    """Return the conversation id of a session. An id that the client chose stays as it is."""
    return _CONVERSATION + session_id.removeprefix("s_") if session_id.startswith("s_") else session_id


def session_key(conversation_id: str) -> str:
    """Return the session id of a conversation, or the key that the client chose for it."""
    if conversation_id.startswith(_CONVERSATION):
        return "s_" + conversation_id.removeprefix(_CONVERSATION)
    return conversation_id


def message_id(item_id: str) -> str:
    """Return the id of the message that an item belongs to."""
    return "m_" + item_id.partition("_")[2].partition(".")[0]


class ItemIds:
    """Numbers the items of messages, in order."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, prefix: str, message_id: str) -> str:
        """Return the id of a message's next item of a kind."""
        first = prefix + message_id.removeprefix("m_")
        count = self._counts[first] = self._counts.get(first, -1) + 1
        return f"{first}.{count}" if count else first
