"""The answer in a list that also holds the history, as functions of Gradio Blocks return it.

The list may repeat the history it was given, or change it: put words in front, cut it off, sum it up, strip its texts
or metadata. Its entries are messages or `[user, assistant]` pairs.

What the list has in common with the given history is no answer. If what is left has entries of the user, the answer
is what follows the last of them; if it has none, all that is left is the answer. Knows nothing of parts: an entry of
the user is compared, never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

from chatserve.formats.shared.components import is_shown
from chatserve.formats.shared.model_answer import member

_SIDES: Final = (str, tuple, dict)


class Added(NamedTuple):
    """The entries of the answer. `is_sure`: the current message is before them, or what the history ends in."""

    entries: list[Any]
    is_sure: bool = True


def is_pair(entry: object) -> bool:
    """Whether an entry is `[user, assistant]`, each None, text or a file."""
    return (
        isinstance(entry, list | tuple)
        and len(entry) == 2
        and all(side is None or isinstance(side, _SIDES) or is_shown(side) for side in entry)
        and not (isinstance(entry[0], dict) and "role" in entry[0])
    )


def names_turn(pairs: Sequence[Any], message: Any) -> bool:
    """Whether a list of pairs must be a history: a side of the user is missing, or is the current message."""
    return any(pair[0] is None or _is_current(pair[0], message) for pair in pairs)


def added_to(given: Sequence[Any], entries: list[Any], message: Any) -> Added:
    """Return the answer in a list of messages or pairs; pairs become messages.

    `given` is the history as the function got it, `message` the current message. The cost depends on the entries
    after the last one of the user, unless this is one of the history's.
    """
    asked = _last_of_user(entries)
    if asked is None:
        return Added(_flat(entries[_in_common(entries, given) :]))
    tail = _flat(entries[asked:])
    is_current = _is_current(member(tail[0], "content"), message)
    last_given = _last_of_user(given)
    if last_given is not None:
        ending = _flat(given[last_given:])
        rest = tail[len(ending) :]
        if _begins_with(tail, ending) and (not is_current or (rest and _holds_at(entries, given, asked - last_given))):
            return Added(rest)  # the current message was left out
        if asked < len(given) and (common := _in_common(entries, given)) > asked and common < len(entries):
            return Added(_flat(entries[common:]))
    return Added(tail[1:], is_current)


def _flat(entries: Sequence[Any]) -> list[Any]:
    return list(chain.from_iterable(_messages_of(entry) if is_pair(entry) else (entry,) for entry in entries))


def _messages_of(pair: Sequence[Any]) -> list[Any]:
    sides = zip(("user", "assistant"), pair, strict=True)
    return [{"role": role, "content": side} for role, side in sides if side is not None]


def _last_of_user(entries: Sequence[Any]) -> int | None:
    for index in range(len(entries) - 1, -1, -1):
        entry = entries[index]
        if entry[0] is not None if is_pair(entry) else member(entry, "role") == "user":
            return index
    return None


def _in_common(entries: Sequence[Any], given: Sequence[Any]) -> int:
    """Return how many entries both begin with."""
    return sum(1 for _ in takewhile(bool, map(_is_same, entries, given)))


def _begins_with(entries: Sequence[Any], start: Sequence[Any]) -> bool:
    return len(entries) >= len(start) and all(map(_is_same, entries, start))


def holds(entries: Sequence[Any], given: Sequence[Any], before: int | None = None) -> bool:
    """Whether entries hold the history, as a whole; `before`: at an index below this one."""
    places = len(entries) - len(given) + 1
    return any(_begins_with(entries[at : at + len(given)], given) for at in range(min(places, before or places)))


def _holds_at(entries: Sequence[Any], given: Sequence[Any], at: int) -> bool:
    """Whether the first place where entries hold the history is this one."""
    is_there = at >= 0 and _begins_with(entries[at : at + len(given)], given)
    return is_there and not (at and holds(entries, given, before=at))


def _is_same(entry: Any, given: Any) -> bool:
    """Whether an entry is one of the history's: it is equal, or has the same role and the same words."""
    if entry is given:
        return True
    if is_pair(entry) and is_pair(given):
        sides = zip(entry, given, strict=True)
        return all(ours is theirs or _words(ours) == _words(theirs) != _UNKNOWN for ours, theirs in sides)
    if (role := member(entry, "role")) is None or role != member(given, "role"):
        return False
    words = _words(member(entry, "content"))
    return words == _words(member(given, "content")) if words != _UNKNOWN else _is_equal(entry, given)


def _is_equal(entry: Any, given: Any) -> bool:
    try:
        return bool(entry == given)
    except Exception:  # noqa: BLE001 - an object of the developer, which may refuse to be compared
        return False


_UNKNOWN: Final = ("",)
"""Words of content that is neither text nor a file."""


def _words(content: Any) -> tuple[str, ...]:
    """Return the texts and paths of content, without spaces around them."""
    if isinstance(content, str):
        return (stripped,) if (stripped := content.strip()) else ()
    if content is None:
        return ()
    if isinstance(content, list):
        each = [_words(item) for item in content]
        return _UNKNOWN if _UNKNOWN in each else tuple(chain.from_iterable(each))
    if isinstance(content, tuple):
        return (str(content[0]),) if content and isinstance(content[0], str | Path) else _UNKNOWN
    if isinstance(content, Path):
        return (str(content),)
    text = member(content, "text")
    path = member(content, "path") or member(member(content, "file"), "path")
    found = text if isinstance(text, str) else path
    return (str(found).strip(),) if isinstance(found, str | Path) and str(found).strip() else _UNKNOWN


def _is_current(content: Any, message: Any) -> bool:
    """Whether content is the current message, its text, or some of its files."""
    text, files = (message, ()) if isinstance(message, str) else (message["text"], message["files"])
    words, asked = _words(content), text.strip()
    return set(words) <= {asked, *files} if words else not asked
