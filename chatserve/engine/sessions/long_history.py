"""A long history for a chat function, whose entries are copied only when they are accessed.

A function may change its history, so it needs a deep copy. But most functions read only the end of a long history, or
none of it. `LongHistory` is a list of the entries that are kept between turns. Every operation that gives access to an
entry (indexing, iterating, slicing, popping, …) first replaces the entry with a copy. It is a real list, so C code that
reads it directly (`json.dumps`, `len`, `==`) sees every entry. The only unprotected access is assigning it to a slice
of another list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, SupportsIndex, overload

LONG: int = 512
"""The least number of entries for a `LongHistory`; shorter histories are copied at once."""


class LongHistory(list[Any]):
    """A list whose first entries are shared until accessed. `copy_entries` makes a deep copy of a list of entries."""

    __slots__ = ("_copied", "_copy_entries", "_shared")

    def __init__(self, entries: Iterable[Any], copy_entries: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(entries)
        self._copy_entries = copy_entries
        self._shared = len(self)  # entries below this index are shared, except for those in `_copied`
        self._copied: set[int] = set()

    def _own(self) -> None:
        """Copy all entries that are still shared."""
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
