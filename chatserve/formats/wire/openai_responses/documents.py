"""Response objects: the current state of a turn as the protocol shows it, with all of the protocol's keys.

The fields of the request come from `Turn.echo`; the others follow from the turn. Knows no request.

Source: OpenAI API reference, "The Response object"; Open Responses specification of 2026-04-24, `ResponseResource`,
which requires numbers even if the client sent none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from chatserve.contracts.turns import TURN_OPEN, TurnRecord
from chatserve.core.types import Json, Turn, TurnStatus, Usage
from chatserve.formats.shared.appended import continuation
from chatserve.formats.wire.openai_responses.echo import DEFAULTS
from chatserve.formats.wire.openai_responses.ids import conversation_id, response_id
from chatserve.formats.wire.openai_responses.output import NO_NAMESPACES, ItemStatus, Namespaces, answer_items

ResponseStatus: TypeAlias = Literal["queued", "in_progress", "completed", "incomplete", "cancelled", "failed"]

_STATUSES: Final[Mapping[TurnStatus, ResponseStatus]] = {
    "queued": "queued",
    "running": "in_progress",
    "completed": "completed",
    "stopped": "cancelled",
    "interrupted": "failed",
    "failed": "failed",
}
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def status_of(turn: Turn) -> ResponseStatus:
    """Return the protocol's status of a turn."""
    if turn.status == "completed" and turn.finish_reason in _INCOMPLETE:
        return "incomplete"
    return _STATUSES[turn.status]


def item_status_of(turn: Turn) -> ItemStatus:
    """Return the status of items that were open at the end of a turn."""
    return "completed" if status_of(turn) == "completed" else "incomplete"


def response_json(record: TurnRecord, base_url: str) -> dict[str, Json]:
    """Return the response object of a turn, with its output so far."""
    return response_object(record.turn, output_of(record, base_url))


def output_of(record: TurnRecord, base_url: str) -> list[dict[str, Json]]:
    """Return the items of a turn's answer so far."""
    status = None if record.turn.status in TURN_OPEN else item_status_of(record.turn)
    return answer_items(continuation(record), base_url, status, namespaces_of(record.turn))


def namespaces_of(turn: Turn) -> Namespaces:
    """Return the namespaces of the tools that were offered for a turn."""
    namespaces: Namespaces = (turn.echo or {}).get("namespaces", NO_NAMESPACES)
    return namespaces


def response_object(turn: Turn, output: Sequence[Json]) -> dict[str, Json]:
    """Return the response object of a turn with this output."""
    echo = turn.echo or {}
    status = status_of(turn)
    return {
        "id": response_id(turn.turn_id),
        "object": "response",
        "created_at": int(turn.created_at),
        "completed_at": int(turn.finished_at) if status == "completed" and turn.finished_at else None,
        "status": status,
        "background": bool(echo.get("background")),
        "error": _error(turn),
        "incomplete_details": {"reason": _INCOMPLETE[turn.finish_reason or ""]} if status == "incomplete" else None,
        "model": echo.get("model", turn.chat),
        "output": list(output),
        "previous_response_id": echo.get("previous_response_id"),
        "conversation": {"id": conversation_id(turn.session_id)} if echo.get("conversation") else None,
        "store": bool(turn.session_id),
        "service_tier": "default",
        "usage": _usage(turn),
        **{name: echo.get(name, default) for name, default in DEFAULTS.items()},
    }


def _error(turn: Turn) -> Json:
    if turn.status == "failed" and turn.error is not None:
        return {"code": turn.error.code, "message": turn.error.detail}
    if turn.status == "interrupted":
        why = f" ({turn.finish_reason})" if turn.finish_reason else ""
        return {"code": "interrupted", "message": f"the turn was interrupted{why}; what was said until then is kept"}
    return {"code": "server_error", "message": "the turn failed"} if turn.status == "failed" else None


def _usage(turn: Turn) -> Json:
    """Return the usage. It is zeros if an ended turn reported none, because clients then expect numbers."""
    if turn.status in TURN_OPEN:
        return None
    spent = turn.usage or Usage()
    return {
        "input_tokens": spent.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": spent.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": spent.input_tokens + spent.output_tokens,
    }
