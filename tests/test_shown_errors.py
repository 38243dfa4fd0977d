"""Which errors a function's client is shown."""

from typing import Any

import pytest

from chatserve import ChatError
from chatserve.engine.turns.shown_errors import shown_error


def gradios(message: Any, module: str = "gradio.exceptions", name: str = "Error") -> Exception:
    error = type(name, (Exception,), {"__module__": module})(message)
    error.message = message
    return error


class OwnError(ChatError):
    def __init__(self) -> None:  # as people forget `super().__init__`
        pass


class BusyError(type(gradios(""))):  # type: ignore[misc]
    """A developer's subclass of `gr.Error`."""

    message = "busy"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ChatError("told"), "told"),
        (ChatError("half \ud800"), "half \ufffd"),
        (gradios("told"), "told"),
        (gradios("told", module="gradio"), "told"),
        (BusyError(), "busy"),
        (gradios(ValueError("not told")), None),
        (gradios("not told", module="mygradio"), None),
        (gradios("not told", name="ServerError"), None),
        (ChatError(ValueError("not told")), None),  # type: ignore[arg-type]
        (OwnError(), None),
        (ValueError("not told"), None),
    ],
)
def test_only_texts_meant_for_the_client_are_shown(error: Exception, detail: str | None):
    shown = shown_error(error, "e_1")
    assert (None if shown is None else shown.detail) == detail


def test_a_gradio_error_is_told_as_a_chat_error_is():
    shown, told = shown_error(gradios("told"), "e_1"), shown_error(ChatError("told"), "e_1")
    assert shown is not None
    assert told is not None
    assert (shown.code, shown.status_code, shown.retryable) == (told.code, told.status_code, told.retryable)
