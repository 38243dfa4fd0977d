"""What kind of function a chat function is, told from its outside."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling the function gives a coroutine or an async generator."""
    return any(
        inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate)
        for candidate in _callables(function)
    )


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether the function yields; a wrapper that returns a generator cannot be told from its outside."""
    return any(
        inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate)
        for candidate in _callables(function)
    )


def _callables(function: Callable[..., Any]) -> tuple[Any, ...]:
    return (function, getattr(function, "__call__", None))  # noqa: B004 - the method itself is wanted
