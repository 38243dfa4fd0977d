"""The outcome of a turn in Gradio's terms: an answer, or an error. Knows no frames.

A stopped turn has its partial answer. An interrupted turn has an error: its text stays in the session, but a client
must not mistake it for a complete answer.
"""

from __future__ import annotations

from chatserve.core.types import TurnError, TurnStatus


def failure_of(status: TurnStatus, finish_reason: str | None) -> TurnError | None:
    """Return why a turn that reported no error has no answer; None when it has one."""
    if status == "failed":
        return TurnError("chat_function_failed", "the chat function failed", "")
    if status == "interrupted":
        return TurnError(
            "interrupted", f"the answer was interrupted ({finish_reason or 'shutdown'})", "", retryable=True
        )
    return None


def gone_error() -> TurnError:
    """Return the error for clients whose stream ends before the answer does."""
    return TurnError("shutting_down", "the server is about to stop; ask again in a moment", "", retryable=True)
