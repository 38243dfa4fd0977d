"""Every error chatserve raises on purpose, by who must act on it.

`RequestError`: the client (4xx). `ChatError`: raised by the developer's function and shown. `ChatFunctionError`:
the developer's bug (500). `StoreError`: infrastructure (503, retryable). `ConfigurationError`: whoever starts the
server. `code`, `status_code` and `retryable` are public API; a message says what, which value, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ChatserveError(Exception):
    """Base of all errors below. `extra` becomes further members of the problem document."""

    code: str = "internal_error"
    status_code: int = 500
    retryable: bool = False
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class ConfigurationError(ChatserveError):
    """The server cannot start as asked: bad target, bad setting, port in use, store out of reach."""

    code = "configuration_error"


class ChatError(Exception):
    """Raise this in a chat function to tell the client what went wrong.

    `detail` is shown as it is; `code` is yours (lower case with underscores); `status_code` is used where the
    answer has not begun yet.
    """

    def __init__(
        self, detail: str, *, code: str = "chat_error", status_code: int = 422, retryable: bool = False
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status_code = status_code
        self.retryable = retryable


class ChatFunctionError(ChatserveError):
    """The chat function raised, or answered with something that is no answer."""

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
    """Body, message or upload beyond its limit."""

    code = "body_too_large"
    status_code = 413


class MediaTypeUnsupported(RequestError):
    """Content type or content encoding that is not accepted."""

    code = "media_type_unsupported"
    status_code = 415


class InputsInvalid(RequestError):
    """A field of the request is missing or wrong; `errors` names each."""

    code = "inputs_invalid"
    status_code = 422


class Forbidden(RequestError):
    """Allowed to nobody here: a foreign origin, a list without an owner."""

    code = "forbidden"
    status_code = 403


class HostUnknown(RequestError):
    """The Host header is not on the allow-list."""

    code = "host_unknown"
    status_code = 421


class UrlTooLong(RequestError):
    """Path and query beyond their limit."""

    code = "url_too_long"
    status_code = 414


class HeadersTooLarge(RequestError):
    """More header fields, or more bytes in them, than are read."""

    code = "headers_too_large"
    status_code = 431


class NotFound(RequestError):
    """Nothing there, or nothing of yours: both look the same."""

    code = "not_found"
    status_code = 404


class RouteUnknown(NotFound):
    """No such path."""

    code = "route_unknown"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status_code = 405


class ChatUnknown(NotFound):
    """No chat of that name."""

    code = "chat_unknown"


class SessionUnknown(NotFound):
    """No such session, or a foreign one."""

    code = "session_unknown"


class TurnUnknown(NotFound):
    """No such turn, or a foreign one."""

    code = "turn_unknown"


class MessageUnknown(NotFound):
    """No such message, or a foreign one, or none to work on."""

    code = "message_unknown"


class FileUnknown(NotFound):
    """No such file, or a foreign one."""

    code = "file_unknown"


class SessionBusy(RequestError):
    """A turn runs in this session; `turn_id` tells which."""

    code = "session_busy"
    status_code = 409
    retryable = True


class SessionExists(RequestError):
    """A session of that id is there already."""

    code = "session_exists"
    status_code = 409


class NothingToUndo(RequestError):
    """The history has no turn the operation could work on."""

    code = "nothing_to_undo"
    status_code = 409


class VersionConflict(RequestError):
    """`If-Match` names a version that is no longer current."""

    code = "version_conflict"
    status_code = 412


class IdempotencyConflict(RequestError):
    """The same idempotency key came with another body."""

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
    """The server takes no new turns: it is about to stop."""

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
