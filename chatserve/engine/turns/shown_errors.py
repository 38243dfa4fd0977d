"""Errors that a chat function raises for its client: `ChatError`, and Gradio's `gr.Error`. Knows no turn.

Of all other errors the client gets no word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatserve.codec import clean_text
from chatserve.core.errors import CHAT_ERROR_STATUS, ChatError, ChatFunctionError
from chatserve.core.types import Json, TurnError

_NOTICE: Final[Mapping[str, tuple[type, ...]]] = {"title": (str,), "duration": (int, float), "visible": (bool,)}


def shown_error(error: BaseException, error_id: str) -> TurnError | None:
    """Return an error as its client is shown it, or None if it is not meant for the client.

    Attributes of wrong types, which a subclass may have, are replaced. A text that is no `str` is not shown: what an
    object tells of itself is for the developer.
    """
    if isinstance(error, ChatError):
        detail, code = getattr(error, "detail", None), getattr(error, "code", None)
    elif _is_gradios(error):
        detail, code = getattr(error, "message", None), ChatError("").code
    else:
        return None
    if not isinstance(detail, str):
        return None
    code = clean_text(code) if isinstance(code, str) else ChatFunctionError.code
    is_retryable, status_code = bool(getattr(error, "retryable", False)), getattr(error, "status_code", None)
    if status_code is None:
        notice = _notice(error) if _is_gradios(error) else None
        return TurnError(
            code, clean_text(detail), error_id, is_retryable, CHAT_ERROR_STATUS, has_own_status=False, notice=notice
        )
    status_code = status_code if type(status_code) is int else ChatFunctionError.status_code
    return TurnError(code, clean_text(detail), error_id, is_retryable, status_code)


def _notice(error: BaseException) -> dict[str, Json]:
    """Return how a front end shows one of Gradio's errors; what is missing or of a wrong type is left out."""
    given = {name: getattr(error, name, None) for name in _NOTICE}
    return {
        name: clean_text(value) if isinstance(value, str) else value
        for name, value in given.items()
        if type(value) in _NOTICE[name]
    }


def _is_gradios(error: BaseException) -> bool:
    """Recognize `gradio.Error` and its subclasses without importing Gradio."""
    return any(base.__name__ == "Error" and "gradio" in base.__module__.split(".") for base in type(error).__mro__)
