"""All settings with their defaults; read from the command line, then arguments, the environment, the defaults.

A setting `store` is `--store`, `ChatServer(store=…)` and `CHATSERVE_STORE`. Does not know what the settings do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from chatserve.core.configuration import MayBe, Text, check

ENVIRONMENT_PREFIX = "CHATSERVE_"
LONGEST_S: Final = 10**9
"""Thirty years; system timers overflow a little later."""


def _split(value: Any) -> Any:
    """Return names as a tuple; a text is split at its commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else value


def _none(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("none", "never", "") else value


def _path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


_NAMES: Final = BeforeValidator(_split)
_ORIGIN: Final = r"\A[a-z][a-z0-9+.-]*://[^\s/?#@*]+\z"
_HOST: Final = r"\A(\*|([^\s/?#@*:\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d*)?|[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,})\z"
_MEDIA_TYPE: Final = r"\A[\w!#$&^.+-]+/([\w!#$&^.+-]+|\*)\z"
_NO_NUL: Final = r"\A[^\x00]+\z"
_PREFIX: Final = r"\A(/[\w.~-]+)*/?\z"

StoreUrl = Annotated[Text, Field(min_length=1), MayBe("a store's URL, sqlite:///FILE or memory://")]
Folder = Annotated[
    Annotated[Text, Field(min_length=1)] | None, BeforeValidator(_path), MayBe("the path of a folder, or None")
]
Folders = Annotated[
    tuple[Annotated[Text, BeforeValidator(_path), Field(pattern=_NO_NUL)], ...],
    _NAMES,
    MayBe("a list of paths of folders"),
]
Origins = Annotated[
    tuple[Annotated[Text, Field(pattern=_ORIGIN)], ...],
    _NAMES,
    MayBe("a list of origins as browsers send them, like 'https://app.example' (no path, no '*')"),
]
Hosts = Annotated[
    tuple[Annotated[Text, Field(pattern=_HOST)], ...],
    _NAMES,
    Field(min_length=1),
    MayBe("a list of one or more names of hosts, like 'chat.example.org', or '*' for any"),
]
MediaTypes = Annotated[
    tuple[Annotated[Text, Field(pattern=_MEDIA_TYPE)], ...],
    _NAMES,
    MayBe("a list of media types, like 'image/png' or 'image/*'"),
]
Protocols = Annotated[tuple[Text, ...], _NAMES, MayBe("a list of names of protocols")]
PathPrefix = Annotated[
    Text, Field(pattern=_PREFIX), MayBe("a path that begins with '/', like '/openai', or '' for none")
]
Pause = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False), MayBe("a number of seconds, 0 or more")]
Duration = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False), MayBe("a number of seconds above 0")]
MaybePause = Annotated[Pause | None, BeforeValidator(_none), MayBe("a number of seconds, 0 or more, or None: never")]
MaybeDuration = Annotated[Duration | None, BeforeValidator(_none), MayBe("a number of seconds above 0, or None: never")]
Bytes = Annotated[int, Field(gt=0), MayBe("a whole number of bytes, 1 or more")]
Count = Annotated[int, Field(gt=0), MayBe("a whole number, 1 or more")]
JsonDepth = Annotated[int, Field(gt=0, le=128), MayBe("a whole number from 1 to 128")]


class Settings(BaseModel):
    """Settings of one server. Durations are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: StoreUrl = Field("sqlite:///chatserve.db", description="where sessions live: sqlite:///FILE or memory://")
    files_dir: Folder = Field(
        None, description="folder for uploads and answers' files, one per store; default: beside the store"
    )
    durability: Literal["turns", "events"] = Field(
        "turns", description="'events': every event is stored before a client sees it, not within 50 ms after"
    )
    debug: bool = Field(False, description="show error texts of chat functions to clients (dev does)")
    cors_origins: Origins = Field((), description="origins that may call from browsers; none by default")
    allowed_hosts: Hosts = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="Host headers that are answered; '*' for any"
    )
    allow_client_session_ids: bool = Field(False, description="let clients choose session ids without auth")
    session_ttl_s: MaybeDuration = Field(None, description="delete sessions this long after their last change")
    turn_timeout_s: Duration = Field(600, description="how long one turn may take")
    allowed_paths: Folders = Field((), description="folders whose files answers may name by a path in plain data")
    max_answer_bytes: Bytes = Field(4 * 1024 * 1024, description="how long one answer may grow")
    max_answer_file_bytes: Bytes = Field(64 * 1024 * 1024, description="largest file of an answer")
    max_body_bytes: Bytes = Field(1024 * 1024, description="largest JSON body")
    max_history_body_bytes: Bytes = Field(16 * 1024 * 1024, description="largest JSON body where histories are sent")
    max_message_bytes: Bytes = Field(256 * 1024, description="longest message")
    max_upload_bytes: Bytes = Field(10 * 1024 * 1024, description="largest upload")
    upload_types: MediaTypes = Field((), description="media types uploads may have; any by default")
    max_json_depth: JsonDepth = Field(64, description="how deep JSON from clients may be nested")
    keep_alive_s: Duration = Field(75, description="how long an idle connection stays open; above what clients pool")
    body_idle_s: Duration = Field(30, description="how long a body may pause while it is sent")
    ping_interval_s: Duration = Field(15, description="silence on a stream before a ping; below what proxies cut at")
    send_timeout_s: Duration = Field(30, description="a stream whose client takes nothing for this long is closed")
    abandon_grace_s: MaybePause = Field(120, description="a turn nobody reads is ended after this; None: never")
    drain_timeout_s: Pause = Field(25, description="how long running turns may take to end when the server stops")
    stop_grace_s: Pause = Field(1, description="how long a stopped async function may clean up before its turn ends")
    log_retention_s: Pause = Field(900, description="how long a turn's events can be replayed after its end")
    idempotency_ttl_s: Pause = Field(86400, description="how long an Idempotency-Key is remembered")
    protocols: Protocols = Field(
        ("openai_chat", "openai_responses", "anthropic", "gradio"),
        description="which protocols are spoken besides the native one",
    )
    openai_prefix: PathPrefix = Field("/openai", description="where OpenAI's paths begin, besides /v1")
    max_readers: Count = Field(10_000, description="open streams at once in this process")
    direct_writes: bool = Field(
        True, description="write streams to the socket directly where uvicorn's version is known; off: as ASGI sends"
    )

    @property
    def store_file(self) -> str | None:
        """The file of a store that is one; None for other stores."""
        scheme, _, path = self.store.partition(":///")
        return path if scheme == "sqlite" else None


def read_settings(
    given: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    command_line: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Return the settings of the command line, then of Python, then of the environment (`CHATSERVE_…`), then defaults.

    Texts of the command line and the environment are converted to the setting's type; values from Python are not.

    Raises:
        ConfigurationError: a setting is unknown, or does not take a value; the line names both.
    """
    environment = os.environ if environment is None else environment
    variables = {name: ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields if name not in given}
    texts = {name: environment[variable] for name, variable in variables.items() if variable in environment}
    parsed = check(Settings, "setting ", texts | dict(command_line), strict=False)
    values = dict(given) | {name: getattr(parsed, name) for name in parsed.model_fields_set}
    return check(Settings, "setting ", values, strict=True)
