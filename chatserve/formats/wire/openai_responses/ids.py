"""Ids of responses, conversations and items: those of turns, sessions and messages under the protocol's prefixes.

`resp_X` is the turn `t_X`, `conv_X` the session `s_X`. A message `m_X` becomes one item or several: `msg_X` its words,
`rs_X` its reasoning, `fc_X` and `mcp_X` its calls of tools, `fco_X` results; the second of a kind is `msg_X.1`. So
every id follows from what is stored, and an item leads back to its message.
"""

from __future__ import annotations

from typing import Final

_RESPONSE: Final = "resp_"
_CONVERSATION: Final = "conv_"


def response_id(turn_id: str) -> str:
    """Return the response that a turn is."""
    return _RESPONSE + turn_id.removeprefix("t_")


def turn_id(response_id: str) -> str:
    """Return the turn that a response is; any other text is a turn that is not there."""
    return "t_" + response_id.removeprefix(_RESPONSE)


def conversation_id(session_id: str) -> str:
    """Return the conversation that a session is; a session whose id its client chose keeps that."""
    return _CONVERSATION + session_id.removeprefix("s_") if session_id.startswith("s_") else session_id


def session_key(conversation_id: str) -> str:
    """Return the session that a conversation is, or the key the client named it by."""
    if conversation_id.startswith(_CONVERSATION):
        return "s_" + conversation_id.removeprefix(_CONVERSATION)
    return conversation_id


def message_id(item_id: str) -> str:
    """Return the message that an item is of."""
    return "m_" + item_id.partition("_")[2].partition(".")[0]


class ItemIds:
    """Gives the items of messages their ids, in order."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, prefix: str, message_id: str) -> str:
        """Return the id of the next item of a kind that a message becomes."""
        first = prefix + message_id.removeprefix("m_")
        count = self._counts[first] = self._counts.get(first, -1) + 1
        return f"{first}.{count}" if count else first
