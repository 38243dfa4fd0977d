"""The tree of messages: pure functions over message values, shared by all stores.

Each message names its parent, and a branch is the path from a first message to a head. Knows no store: the caller looks
the messages up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from chatserve.core.errors import InputsInvalid
from chatserve.core.frozen import replacer_of
from chatserve.core.types import FilePart, Message, Part, ToolCallPart, ToolResultPart, Turn

change_message: Final = replacer_of(Message)


def linked(message: Message, turn_id: str | None, parent_id: str | None) -> Message:
    """Return the message with this turn and this parent."""
    if message.turn_id == turn_id and message.parent_id == parent_id:
        return message
    return change_message(message, turn_id=turn_id, parent_id=parent_id)


def chain(messages: Sequence[Message], parent_id: str | None, turn_id: str | None) -> tuple[Message, ...]:
    """Link messages of a turn, or of no turn, each to the one before it, and the first to `parent_id`."""
    chained = []
    for message in messages:
        chained.append(linked(message, turn_id, parent_id))
        parent_id = message.message_id
    return tuple(chained)


def end_of(messages: Sequence[Message], otherwise: str | None = None) -> str | None:
    """Return the id of the last message, or `otherwise` if there are no messages."""
    return messages[-1].message_id if messages else otherwise


def common_start(stored: Sequence[Message], sent: Sequence[Message]) -> tuple[int, int]:
    """Count the messages at the start of both histories that are equal in role and content: (stored, sent)."""
    count = 0
    for ours, theirs in zip(stored, sent, strict=False):
        if ours.role != theirs.role or ours.content != theirs.content:
            break
        count += 1
    return count, count


def common_talk(stored: Sequence[Message], sent: Sequence[Message]) -> tuple[int, int]:
    """Count the messages at the start of both histories that are equal in what clients send back: (stored, sent).

    A client of another protocol sends back an answer's text, tool calls and results, but not its reasoning, thoughts,
    data and sources, and it sends the messages of one answer as one message. The parts it leaves out do not count.
    """
    ours, theirs = 0, 0
    for stored_run, sent_run in zip(_runs(stored), _runs(sent), strict=False):
        if _talk_of(stored_run) != _talk_of(sent_run):
            break
        ours += len(stored_run)
        theirs += len(sent_run)
    return ours, theirs


def _runs(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield consecutive messages of the assistant together, and every other message by itself."""
    for role, run in groupby(messages, key=lambda message: message.role):
        if role == "assistant":
            yield list(run)
        else:
            yield from ([message] for message in run)


def _talk_of(run: Sequence[Message]) -> tuple[object, ...]:
    """Return the parts of a run that clients send back: role, text, files, their tool calls, their tool results.

    Clients join the messages of an answer in different ways, so white space in an answer does not count.
    """
    if run[0].role != "assistant":
        (message,) = run
        return (message.role, message.text, *filter(None, map(_sent_id, message.content)))
    answered = {part.tool_call_id for message in run for part in message.content if isinstance(part, ToolResultPart)}
    spoken = [message for message in run if not message.is_thought]
    calls = [part for message in spoken for part in message.content if isinstance(part, ToolCallPart)]
    awaited = [call.tool_call_id for call in calls if call.where == "client" and call.tool_call_id not in answered]
    return ("assistant", "".join("".join(message.text.split()) for message in spoken), *awaited)


def _sent_id(part: Part) -> str | None:
    match part:
        case FilePart(file_id=file_id):
            return file_id
        case ToolResultPart(tool_call_id=tool_call_id):
            return tool_call_id
        case _:
            return None


def graft(
    stored: Sequence[Message], history: Sequence[Message], kept: tuple[int, int]
) -> tuple[tuple[Message, ...], str | None]:
    """Return the messages to add so that a stored branch becomes `history`, and the id of its last message.

    `kept` counts the messages at the start of both that are equal; they stay as they are stored. The added messages
    belong to no turn.
    """
    ours, theirs = kept
    fork_point = end_of(stored[:ours])
    rows = chain(history[theirs:], fork_point, None)
    return rows, end_of(rows, fork_point)


def find_prompt(newest_first: Iterable[Message], turn: Turn | None) -> Message | None:
    """Return the message that began the last turn of a branch, or None.

    `turn` is the turn of the newest message; the result is the message it answers, whatever its role (a user's message,
    or results of tools that ran in the client). If no turn is known (seeded or forked history, a forgotten turn), it is
    the last message of role `user`.
    """
    prompt_id = None if turn is None else turn.user_message_id
    for message in newest_first:
        if message.message_id == prompt_id or (prompt_id is None and message.role == "user"):
            return message
    return None


def is_prompt(message: Message, turn: Turn | None) -> bool:
    """Whether a turn may answer `message`: its role is `user`, or it began its own turn (with tool results)."""
    return message.role == "user" or (turn is not None and turn.user_message_id == message.message_id)


def answer_ids(messages: Iterable[Message], turn: Turn) -> tuple[str, ...]:
    """Return the ids of the messages that make up the answer of `turn`."""
    own = (message.message_id for message in messages if message.turn_id == turn.turn_id)
    return tuple(message_id for message_id in own if message_id != turn.user_message_id)


def copy_branch(messages: Sequence[Message], new_ids: Callable[[], str]) -> tuple[Message, ...]:
    """Copy a branch under new ids. The copies belong to no turn, because turns are not copied."""
    return chain([change_message(message, message_id=new_ids()) for message in messages], None, None)


def file_ids(messages: Iterable[Message]) -> tuple[str, ...]:
    """Return the ids of the files that the messages refer to, each once."""
    parts = [part for message in messages for part in message.content if isinstance(part, FilePart)]
    return tuple(dict.fromkeys([part.file_id for part in parts])) if parts else ()


def check_tree(messages: Sequence[Message], head: str | None) -> None:
    """Check that messages from outside form a tree, so that every walk to the first message ends.

    Raises:
        InputsInvalid: an id occurs twice, a parent or the head is missing, or the parents form a circle.
    """
    parents = {message.message_id: message.parent_id for message in messages}
    if len(parents) != len(messages):
        raise InputsInvalid("messages: a message_id occurs twice")
    for name in [*parents.values(), head]:
        if name is not None and name not in parents:
            raise InputsInvalid(f"messages: {name!r} is a parent or the head, but is not among them")
    rooted: set[str] = set()
    for message_id in parents:
        _follow_to_root(message_id, parents, rooted)


def _follow_to_root(message_id: str, parents: dict[str, str | None], rooted: set[str]) -> None:
    """Add the ids from `message_id` upwards to `rooted`, until one that is already in it."""
    way: dict[str, None] = {}
    step: str | None = message_id
    while step is not None and step not in rooted:
        if step in way:
            raise InputsInvalid(f"messages: the parents of {message_id!r} form a circle")
        way[step] = None
        step = parents[step]
    rooted.update(way)
