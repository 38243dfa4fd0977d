"""Which messages a history consists of: pure functions over message values, shared by all stores.

Messages form a tree: each names its parent, and a branch is the way from the first message to a head. This module
knows no store: whoever calls it has looked the messages up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from chatserve.errors import InputsInvalid
from chatserve.types import FilePart, Message, Turn


def chain(messages: Sequence[Message], parent_id: str | None) -> tuple[Message, ...]:
    """Link messages one behind the other, the first of them to `parent_id`."""
    linked = []
    for message in messages:
        linked.append(message if message.parent_id == parent_id else replace(message, parent_id=parent_id))
        parent_id = message.message_id
    return tuple(linked)


def end_of(messages: Sequence[Message], otherwise: str | None = None) -> str | None:
    """Return the id of the last message, or `otherwise` where there is none."""
    return messages[-1].message_id if messages else otherwise


def common_start(stored: Sequence[Message], sent: Sequence[Message]) -> int:
    """Count the messages two histories begin with in common, compared by role and content."""
    count = 0
    for ours, theirs in zip(stored, sent, strict=False):
        if ours.role != theirs.role or ours.content != theirs.content:
            break
        count += 1
    return count


def graft(stored: Sequence[Message], history: Sequence[Message]) -> tuple[tuple[Message, ...], str | None]:
    """Return the rows that turn a stored branch into `history`, and the last message of it then.

    What both begin with in common stays as it is stored. The rows belong to no turn, whatever they were before.
    """
    kept = common_start(stored, history)
    fork_point = end_of(stored[:kept])
    rows = chain([replace(message, turn_id=None) for message in history[kept:]], fork_point)
    return rows, end_of(rows, fork_point)


def find_prompt(newest_first: Iterable[Message], turn: Turn | None) -> Message | None:
    """Return the message that began the last turn of a branch, or None.

    `turn` is the turn of the newest message: the message it answers is meant, whatever its role (a user's message, or
    results of tools that ran in the client). Where no turn is known (seeded or forked history, a turn that was
    forgotten) it is the last one of role `user`.
    """
    prompt_id = None if turn is None else turn.user_message_id
    for message in newest_first:
        if message.message_id == prompt_id or (prompt_id is None and message.role == "user"):
            return message
    return None


def is_prompt(message: Message, turn: Turn | None) -> bool:
    """Whether a turn may answer `message`: it is of role `user`, or began its own turn (results of tools)."""
    return message.role == "user" or (turn is not None and turn.user_message_id == message.message_id)


def answer_ids(messages: Iterable[Message], turn: Turn) -> tuple[str, ...]:
    """Return the ids of the messages that are the answer of `turn`."""
    own = (message.message_id for message in messages if message.turn_id == turn.turn_id)
    return tuple(message_id for message_id in own if message_id != turn.user_message_id)


def copy_branch(messages: Sequence[Message], new_ids: Callable[[], str]) -> tuple[Message, ...]:
    """Copy a branch under new ids; the copies belong to no turn, for turns are not copied."""
    return chain([replace(message, message_id=new_ids(), turn_id=None) for message in messages], None)


def file_ids(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return the ids of the files that messages refer to, each once."""
    parts = (part for message in messages for part in message.content if isinstance(part, FilePart))
    return tuple(dict.fromkeys(part.file_id for part in parts))


def check_tree(messages: Sequence[Message], head: str | None) -> None:
    """Check that messages from outside form a tree, so that every walk to the first message ends.

    Raises:
        InputsInvalid: an id occurs twice, a parent or the head is missing, or parents go in a circle.
    """
    parents = {message.message_id: message.parent_id for message in messages}
    if len(parents) != len(messages):
        raise InputsInvalid("messages: a message_id occurs twice")
    for name in [*parents.values(), head]:
        if name is not None and name not in parents:
            raise InputsInvalid(f"messages: {name!r} is named, but is not among them")
    rooted: set[str] = set()
    for message_id in parents:
        _follow_to_root(message_id, parents, rooted)


def _follow_to_root(message_id: str, parents: dict[str, str | None], rooted: set[str]) -> None:
    """Add the ids on the way up to `rooted`, up to one that is there already."""
    way: dict[str, None] = {}
    step: str | None = message_id
    while step is not None and step not in rooted:
        if step in way:
            raise InputsInvalid(f"messages: the parents of {message_id!r} go in a circle")
        way[step] = None
        step = parents[step]
    rooted.update(way)
