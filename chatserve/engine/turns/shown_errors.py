"""Errors that a chat function raises for its client: `ChatError`, and Gradio's `gr.Error`. Knows no turn.

Of all other errors the client gets no word.
"""

from __future__ import annotations

from chatserve.codec import clean_text
from chatserve.core.errors import CHAT_ERROR_STATUS, ChatError, ChatFunctionError
from chatserve.core.types import TurnError


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
        return TurnError(code, clean_text(detail), error_id, is_retryable, CHAT_ERROR_STATUS, has_own_status=False)
    status_code = status_code if type(status_code) is int else ChatFunctionError.status_code
    return TurnError(code, clean_text(detail), error_id, is_retryable, status_code)


def _is_gradios(error: BaseException) -> bool:
    """Recognize `gradio.Error` and its subclasses without importing Gradio."""
    return any(base.__name__ == "Error" and "gradio" in base.__module__.split(".") for base in type(error).__mro__)
