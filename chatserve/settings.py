"""Every setting, its default and its reason; read from arguments, then the environment, then the defaults.

A setting `store` is `ChatServer(store=…)`, `--store` and `CHATSERVE_STORE`. Knows nothing of what the settings do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chatserve.core.errors import ConfigurationError

ENVIRONMENT_PREFIX = "CHATSERVE_"


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _none(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("none", "never", "") else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MaybeSeconds = Annotated[Seconds | None, BeforeValidator(_none)]
Bytes = Annotated[int, Field(gt=0)]


class Settings(BaseModel):
    """Settings of one server. Durations are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field("sqlite:///chatserve.db", description="where sessions live: sqlite:///FILE or memory://")
    files_dir: str | None = Field(
        None, description="folder for uploads and answers' files, one per store; default: beside the store"
    )
    durability: Literal["turns", "events"] = Field(
        "turns", description="'events': every event is stored before a client sees it, not within 50 ms after"
    )
    debug: bool = Field(False, description="show error texts of chat functions to clients (dev does)")
    cors_origins: Names = Field((), description="origins that may call from browsers; none by default")
    allowed_hosts: Names = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="Host headers that are answered; '*' for any"
    )
    allow_client_session_ids: bool = Field(False, description="let clients choose session ids without auth")
    session_ttl_s: MaybeSeconds = Field(None, description="delete sessions this long after their last change")
    turn_timeout_s: Seconds = Field(600, description="how long one turn may take")
    max_answer_bytes: Bytes = Field(4 * 1024 * 1024, description="how long one answer may grow")
    max_body_bytes: Bytes = Field(1024 * 1024, description="largest JSON body")
    max_history_body_bytes: Bytes = Field(16 * 1024 * 1024, description="largest JSON body where histories are sent")
    max_message_bytes: Bytes = Field(256 * 1024, description="longest message")
    max_upload_bytes: Bytes = Field(10 * 1024 * 1024, description="largest upload")
    upload_types: Names = Field((), description="media types uploads may have; any by default")
    body_idle_s: Seconds = Field(30, description="how long a body may pause while it is sent")
    ping_interval_s: Seconds = Field(15, description="silence on a stream before a ping; below what proxies cut at")
    send_timeout_s: Seconds = Field(30, description="a stream whose client takes nothing for this long is closed")
    abandon_grace_s: MaybeSeconds = Field(120, description="a turn nobody reads is ended after this; None: never")
    drain_timeout_s: Seconds = Field(25, description="how long running turns may take to end when the server stops")
    stop_grace_s: Seconds = Field(1, description="how long a stopped async function may clean up before its turn ends")
    log_retention_s: Seconds = Field(900, description="how long a turn's events can be replayed after its end")
    idempotency_ttl_s: Seconds = Field(86400, description="how long an Idempotency-Key is remembered")
    protocols: Names = Field(
        ("openai_chat", "openai_responses", "anthropic", "gradio"),
        description="which protocols are spoken besides the native one",
    )
    openai_prefix: str = Field("/openai", description="where OpenAI's paths begin, besides /v1")
    direct_writes: bool = Field(
        True,
        description="write frames to uvicorn's transport directly where its version is known; off: ASGI's send only",
    )
    max_readers: Annotated[int, Field(gt=0)] = Field(10_000, description="open streams at once in this process")


def read_settings(
    given: Mapping[str, Any], environment: Mapping[str, str] | None = None, *, defaults: Settings | None = None
) -> Settings:
    """Return the settings: what was given, then `CHATSERVE_…` from the environment, then the defaults.

    Raises:
        ConfigurationError: a value that is not what the setting takes; the message names both.
    """
    environment = os.environ if environment is None else environment
    values = {} if defaults is None else defaults.model_dump(exclude_unset=True)
    for name in Settings.model_fields:
        if (text := environment.get(ENVIRONMENT_PREFIX + name.upper())) is not None:
            values[name] = text
    values.update(given)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        entry = error.errors(include_url=False)[0]
        name = ".".join(map(str, entry["loc"])) or "settings"
        raise ConfigurationError(f"setting {name!r}: {entry['msg']}, got {entry['input']!r}") from error
