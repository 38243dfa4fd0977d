"""A long history for a chat function, copied where it is touched and nowhere else.

A function may do with its history what it likes, so it gets a deep copy; but most functions look at the end of a
long one, or not at all. `LongHistory` is a list of the entries that are kept from turn to turn; whatever lets an
entry out (indexing, iterating, slicing, popping, …) first puts a copy in its place. It is a real list, and C code
that reads it without asking (`json.dumps`, `len`, `==`) sees every entry. The one door it cannot guard is assigning
it to a slice of another list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex, overload

LONG: int = 512
"""From how many entries on a history is worth the guard; shorter ones are copied outright."""


class LongHistory(list[Any]):
    """A list whose first entries are shared until they are touched. `copy_entries` deep-copies a list of entries."""

    __slots__ = ("_copied", "_copy_entries", "_shared")

    def __init__(self, entries: Iterable[Any], copy_entries: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(entries)
        self._copy_entries = copy_entries
        self._shared = len(self)  # entries below this index are shared, but for those in `_copied`
        self._copied: set[int] = set()

    def _own(self) -> None:
        """Copy all that is still shared."""
        shared, self._shared = self._shared, 0
        for index in range(shared) if self._copied else ():
            if index not in self._copied:
                super().__setitem__(index, self._copy_of(index))
        if not self._copied:
            super().__setitem__(slice(0, shared), self._copy_entries(super().__getitem__(slice(0, shared))))
        self._copied.clear()

    def _own_at(self, index: int) -> None:
        if index < self._shared and index not in self._copied:
            super().__setitem__(index, self._copy_of(index))
            self._copied.add(index)

    def _copy_of(self, index: int) -> Any:
        return self._copy_entries([super().__getitem__(index)])[0]

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Any:
        if self._shared:
            places = index if isinstance(index, slice) else slice(number := range(len(self))[index], number + 1)
            for place in range(*places.indices(len(self))):
                self._own_at(place)
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Any]:
        self._own()
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        self._own()
        return super().__reversed__()

    def __add__(self, other: Any, /) -> Any:
        self._own()
        return super().__add__(other)

    def __radd__(self, other: Any) -> Any:
        self._own()
        return other + list(self)

    def __mul__(self, times: SupportsIndex, /) -> list[Any]:
        self._own()
        return super().__mul__(times)

    def __reduce_ex__(self, _protocol: SupportsIndex, /) -> Any:
        return list, (list(self),)

    def __setitem__(self, index: Any, value: Any, /) -> None:
        self._own()
        super().__setitem__(index, value)

    def __delitem__(self, index: Any, /) -> None:
        self._own()
        super().__delitem__(index)

    def pop(self, index: SupportsIndex = -1, /) -> Any:
        self._own()
        return super().pop(index)

    def insert(self, index: SupportsIndex, value: Any, /) -> None:
        self._own()
        super().insert(index, value)

    def remove(self, value: Any, /) -> None:
        self._own()
        super().remove(value)

    def copy(self) -> list[Any]:
        return list(self)

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        self._own()
        super().sort(key=key, reverse=reverse)

    def reverse(self) -> None:
        self._own()
        super().reverse()

    def clear(self) -> None:
        self._shared = 0
        self._copied.clear()
        super().clear()
