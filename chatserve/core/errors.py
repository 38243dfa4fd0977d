"""All errors that chatserve raises on purpose, grouped by who must act.

`RequestError`: the client (4xx). `ChatError`: raised by the developer's function and shown. `ChatFunctionError`:
the developer's bug (500). `StoreError`: infrastructure (503, retryable). `ConfigurationError`: the person who starts
the server. `code`, `status_code` and `retryable` are public API. A message says what is wrong, shows the value, and
says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

CHAT_ERROR_STATUS: Final = 422
"""The status of a `ChatError` that names none. Protocols without a 422 use 400."""

_KINDS: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_member(message: str, status_code: int, code: str) -> dict[str, Any]:
    """Return the member `error` that clients of OpenAI's and related protocols show: message, type, code."""
    kind = "server_error" if status_code >= 500 else _KINDS.get(status_code, "invalid_request_error")
    return {"message": message, "type": kind, "code": code}


class ChatserveError(Exception):
    """Base of all errors below except `ChatError`. `extra` is added to the members of the problem document."""

    code: str = "internal_error"
    status_code: int = 500
    retryable: bool = False
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class ConfigurationError(ChatserveError):
    """The server cannot start: bad target, bad setting, port in use, store out of reach."""

    code = "configuration_error"


class ChatError(Exception):
    """Raise this in a chat function to tell the client what went wrong.

    `detail` is shown unchanged; you choose `code` (lower case with underscores); `status_code` is used if the answer
    has not begun yet. Without one it is 422, or 400 where a client's protocol has no 422.
    """

    def __init__(
        self, detail: str, *, code: str = "chat_error", status_code: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status_code = status_code
        self.retryable = retryable


class ChatFunctionError(ChatserveError):
    """The chat function raised, or answered with an invalid value."""

    code = "chat_function_failed"


class AnswerInvalid(ChatFunctionError):
    """The chat function answered with a value that cannot be an answer (an unknown role, a broken message)."""

    code = "answer_invalid"


class AnswerTooLarge(ChatFunctionError):
    """The answer outgrew `max_answer_bytes`."""

    code = "answer_too_large"


class TurnFailed(ChatserveError):
    """A turn failed while its client waited for its answer to begin."""

    def __init__(self, detail: str, *, code: str, status_code: int, retryable: bool, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.code = code
        self.status_code = status_code
        self.retryable = retryable


class RequestError(ChatserveError):
    """The client must change the request."""

    code = "bad_request"
    status_code = 400


class BodyInvalid(RequestError):
    """The body is not the JSON it should be."""

    code = "body_invalid"


class BodyTooLarge(RequestError):
    """The body, message or upload exceeds its limit."""

    code = "body_too_large"
    status_code = 413


class MediaTypeUnsupported(RequestError):
    """The content type or content encoding is not accepted."""

    code = "media_type_unsupported"
    status_code = 415


class InputsInvalid(RequestError):
    """A field of the request is missing or wrong; `errors` names each."""

    code = "inputs_invalid"
    status_code = 422


class Forbidden(RequestError):
    """The request is not allowed: it has a foreign origin, or lists sessions without an owner."""

    code = "forbidden"
    status_code = 403


class HostUnknown(RequestError):
    """The Host header is not on the allow-list."""

    code = "host_unknown"
    status_code = 421


class UrlTooLong(RequestError):
    """The path and query exceed their limit."""

    code = "url_too_long"
    status_code = 414


class HeadersTooLarge(RequestError):
    """The header fields exceed their limit in number or in bytes."""

    code = "headers_too_large"
    status_code = 431


class NotFound(RequestError):
    """The resource does not exist or belongs to another owner; both cases look the same."""

    code = "not_found"
    status_code = 404


class RouteUnknown(NotFound):
    """The path does not exist."""

    code = "route_unknown"


class MethodNotAllowed(RequestError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    status_code = 405


class ChatUnknown(NotFound):
    """No chat has this name."""

    code = "chat_unknown"


class SessionUnknown(NotFound):
    """The session does not exist or belongs to another owner."""

    code = "session_unknown"


class TurnUnknown(NotFound):
    """The turn does not exist or belongs to another owner."""

    code = "turn_unknown"


class MessageUnknown(NotFound):
    """The message does not exist, belongs to another owner, or does not fit the operation."""

    code = "message_unknown"


class FileUnknown(NotFound):
    """The file does not exist or belongs to another owner."""

    code = "file_unknown"


class SessionBusy(RequestError):
    """A turn runs in this session; `turn_id` names it."""

    code = "session_busy"
    status_code = 409
    retryable = True


class SessionExists(RequestError):
    """A session with this id already exists."""

    code = "session_exists"
    status_code = 409


class NothingToUndo(RequestError):
    """The history has no turn for the operation."""

    code = "nothing_to_undo"
    status_code = 409


class VersionConflict(RequestError):
    """`If-Match` names a version that is no longer current."""

    code = "version_conflict"
    status_code = 412


class IdempotencyConflict(RequestError):
    """The idempotency key was used before with another body."""

    code = "idempotency_conflict"
    status_code = 422


class Overloaded(RequestError):
    """Too many turns run and wait; try again."""

    code = "overloaded"
    status_code = 503
    retryable = True
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


class QueueFull(Overloaded):
    """The queue of this chat or session is full."""

    code = "queue_full"
    status_code = 429


class ShuttingDown(Overloaded):
    """The server accepts no new turns because it is about to stop."""

    code = "shutting_down"
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "5"}


class StoreError(ChatserveError):
    """The store failed; nothing was changed. Try again."""

    code = "store_unavailable"
    status_code = 503
    retryable = True
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "2"}


class StoreFull(StoreError):
    """The disk under the store is full."""

    code = "store_full"
    status_code = 507


class LeaseLost(StoreError):
    """Another process owns this turn now; nothing was written."""

    code = "lease_lost"
