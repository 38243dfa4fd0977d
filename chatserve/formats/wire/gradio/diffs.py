"""Differences between two JSON values, as edits `[operation, path, value]` that Gradio's clients apply.

    append   text added to a string's end      add      a member of a dict, an item of a list
    replace  another value in the same place   delete   a member or an item

Edits are applied one after the other; an item's index is the one at the time of its edit. Lists are compared index by
index. Knows only JSON. Source: gradio_client 2.7 `utils.apply_diff`, @gradio/client 2.7 `apply_edit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatserve.core.types import Json

Step = str | int
Edit = tuple[str, list[Step], Json]


def compare(old: Json, new: Json) -> list[Edit]:
    """Return the edits that turn `old` into `new`; none if they are equal."""
    return list(_edits(old, new, []))


def _edits(old: Json, new: Json, path: list[Step]) -> Iterator[Edit]:
    if type(old) is not type(new):  # in JSON, True, 1 and 1.0 are different values
        yield "replace", path, new
    elif isinstance(old, str):
        yield from _text_edits(old, new, path)
    elif isinstance(old, list):
        yield from _list_edits(old, new, path)
    elif isinstance(old, dict):
        yield from _dict_edits(old, new, path)
    elif repr(old) != repr(new):  # 0.0 equals -0.0, but not as text
        yield "replace", path, new


def _text_edits(old: str, new: str, path: list[Step]) -> Iterator[Edit]:
    if old == new:
        return
    if new.startswith(old):
        yield "append", path, new[len(old) :]
    else:
        yield "replace", path, new


def _list_edits(old: list[Any], new: list[Any], path: list[Step]) -> Iterator[Edit]:
    for place, pair in enumerate(zip(old, new, strict=False)):
        yield from _edits(*pair, [*path, place])
    for _ in range(len(old) - len(new)):
        yield "delete", [*path, len(new)], None
    for place in range(len(old), len(new)):
        yield "add", [*path, place], new[place]


def _dict_edits(old: dict[str, Any], new: dict[str, Any], path: list[Step]) -> Iterator[Edit]:
    for key in old:
        if key in new:
            yield from _edits(old[key], new[key], [*path, key])
        else:
            yield "delete", [*path, key], None
    for key in new:
        if key not in old:
            yield "add", [*path, key], new[key]
