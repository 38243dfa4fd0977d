"""The servers under test: a literal dict. A new server is one file beside this one and one entry below.

Each entry says what to install, how to start it, how to talk to it, and which regimes suit it (`traits`). Everything
here is a value: starting is `benchmarks.process`, talking is `benchmarks.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from benchmarks.dialects import (
    ADK,
    ANTHROPIC,
    CHATSERVE,
    GRADIO,
    GRADIO_PROTOCOL,
    LITSERVE,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    PLAIN,
    STARLETTE_SYNC,
    STREAM_ONLY,
    Dialect,
)

Trait: TypeAlias = Literal["async", "sync", "fast", "sessions", "durable", "floor", "snapshots", "protocol"]


@dataclass(frozen=True, slots=True)
class Server:
    """One row of the table.

    `command` follows the interpreter; `{port}`, `{folder}` (a fresh one) and `{servers}` (this one) are filled in,
    in `environment` too. `packages` are distributions to install. Traits: `async` carries thousands of streams in one
    process, `sync` runs a sync generator, `fast` is worth asking for 20,000 tokens per second, `floor` is what nothing
    can be cheaper than.
    """

    title: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    dialect: Dialect
    traits: frozenset[Trait]
    environment: Mapping[str, str] = field(default_factory=dict)


def uvicorn(app: str) -> tuple[str, ...]:
    """Return the command that serves `app` with uvicorn's fastest settings and no access log."""
    options = "--port {port} --loop uvloop --http httptools --log-level warning --no-access-log"
    return ("-m", "uvicorn", *options.split(), f"benchmarks.servers.{app}:app")


def chatserve(file: str, store: str) -> tuple[str, ...]:
    """Return the command that serves `file` with chatserve, its settings untouched but for store and port."""
    return ("-m", "chatserve", "run", f"{{servers}}/{file}.py", "--store", store, "--port", "{port}")


def adk(sessions: str) -> tuple[str, ...]:
    """Return the command that serves the agent with ADK; creating sessions on first use saves it a request."""
    options = "--port {port} --log_level warning --artifact_service_uri memory:// --auto_create_session"
    return ("-m", "google.adk.cli", "api_server", *options.split(), "--session_service_uri", sessions, ADK_AGENTS)


SQLITE: Final = "sqlite:///chatserve.db"
CHATSERVE_PACKAGES: Final = ("starlette", "uvicorn", "sse-starlette", "pydantic", "orjson", "uvloop", "httptools")
UVICORN_PACKAGES: Final = ("uvicorn", "uvloop", "httptools")
ADK_PACKAGES: Final = ("google-adk", "uvloop", "httptools")
ADK_AGENTS: Final = "{servers}/adk_agents"
CHATSERVE_TRAITS: Final[frozenset[Trait]] = frozenset({"async", "fast", "sessions"})


def speaking(protocol: str, dialect: Dialect) -> Server:
    """Return the row of chatserve asked in the words of a protocol."""
    return Server(
        f"chatserve, SQLite, {protocol}",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_async", SQLITE),
        dialect,
        frozenset({"protocol"}),
    )


SERVERS: Final[Mapping[str, Server]] = {
    "chatserve": Server(
        "chatserve, SQLite, async function",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_async", SQLITE),
        CHATSERVE,
        CHATSERVE_TRAITS | {"durable"},
    ),
    "chatserve-memory": Server(
        "chatserve, memory, async function",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_async", "memory://"),
        CHATSERVE,
        CHATSERVE_TRAITS,
    ),
    "chatserve-unheld": Server(
        "chatserve, SQLite, every word an event",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_unheld", SQLITE),
        CHATSERVE,
        frozenset({"snapshots"}),
    ),
    "chatserve-snapshots": Server(
        "chatserve, SQLite, async snapshots",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_snapshots", SQLITE),
        CHATSERVE,
        frozenset({"snapshots"}),
    ),
    "chatserve-sync": Server(
        "chatserve, SQLite, sync function",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_sync", SQLITE),
        CHATSERVE,
        frozenset({"sync"}),
    ),
    "chatserve-sync-memory": Server(
        "chatserve, memory, sync function",
        CHATSERVE_PACKAGES,
        chatserve("chatserve_sync", "memory://"),
        CHATSERVE,
        frozenset({"sync"}),
    ),
    "chatserve-openai": speaking("OpenAI Chat Completions", OPENAI_CHAT),
    "chatserve-responses": speaking("OpenAI Responses", OPENAI_RESPONSES),
    "chatserve-anthropic": speaking("Anthropic Messages", ANTHROPIC),
    "chatserve-gradio": speaking("Gradio's protocol", GRADIO_PROTOCOL),
    "raw-asgi": Server(
        "raw ASGI, bytes encoded beforehand",
        UVICORN_PACKAGES,
        uvicorn("raw_asgi"),
        PLAIN,
        frozenset({"async", "fast", "floor"}),
    ),
    "starlette": Server(
        "Starlette StreamingResponse, async",
        (*UVICORN_PACKAGES, "starlette"),
        uvicorn("starlette_stream"),
        PLAIN,
        frozenset({"async", "fast"}),
    ),
    "starlette-sync": Server(
        "Starlette StreamingResponse, sync",
        (*UVICORN_PACKAGES, "starlette"),
        uvicorn("starlette_stream"),
        STARLETTE_SYNC,
        frozenset({"sync"}),
    ),
    "sse-starlette": Server(
        "sse-starlette by hand, no sessions",
        (*UVICORN_PACKAGES, "starlette", "sse-starlette"),
        uvicorn("sse_starlette_endpoint"),
        STREAM_ONLY,
        frozenset({"async", "fast"}),
    ),
    "fastapi-sqlite": Server(
        "FastAPI SSE, an SQLite insert per delta",
        (*UVICORN_PACKAGES, "fastapi"),
        uvicorn("fastapi_sqlite"),
        PLAIN,
        frozenset({"async", "fast"}),
        {"BENCH_DATABASE": "{folder}/events.db"},
    ),
    "gradio": Server(
        "Gradio ChatInterface, async",
        ("gradio", "uvloop", "httptools"),
        ("-m", "benchmarks.servers.gradio_chat", "{port}", "async"),
        GRADIO,
        frozenset({"async", "snapshots"}),
        {"GRADIO_ANALYTICS_ENABLED": "False"},
    ),
    "gradio-sync": Server(
        "Gradio ChatInterface, sync",
        ("gradio", "uvloop", "httptools"),
        ("-m", "benchmarks.servers.gradio_chat", "{port}", "sync"),
        GRADIO,
        frozenset({"sync"}),
        {"GRADIO_ANALYTICS_ENABLED": "False"},
    ),
    "adk": Server(
        "Google ADK api_server, SQLite",
        ADK_PACKAGES,
        adk("sqlite:///{folder}/sessions.db"),
        ADK,
        frozenset({"async"}),
    ),
    "adk-memory": Server(
        "Google ADK api_server, memory",
        ADK_PACKAGES,
        adk("memory://"),
        ADK,
        frozenset({"async"}),
    ),
    "litserve": Server(
        "LitServe, OpenAI specification",
        ("litserve", "uvloop", "httptools"),
        ("-m", "benchmarks.servers.litserve_openai", "{port}"),
        LITSERVE,
        frozenset({"async"}),
    ),
}
