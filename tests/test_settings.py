"""Settings are checked where they are given and at the start: wrong ones are refused in one line that says why."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from chatserve import ChatServer
from chatserve.app import NATIVE_ROOTS
from chatserve.core.configuration import allowed_of
from chatserve.core.errors import ConfigurationError
from chatserve.formats.wire import WIRE_FORMATS
from chatserve.settings import Settings, read_settings
from chatserve.testing import ChatClient

SECONDS = (-1, "60", None, True, math.nan, math.inf, 1e12)
BYTES = (0, -1, 1.5, "1024", None, True)

WRONG: dict[str, tuple[Any, ...]] = {
    "store": ("", 5, None, Path("chat.db"), "\ud800"),
    "files_dir": ("", 5, False),
    "durability": ("event", None, True),
    "debug": ("yes", 1, None, "true"),
    "cors_origins": (5, None, ("*",), ("null",), ("app.example",), ("https://app.example/",), ("https://a b",), (5,)),
    "allowed_hosts": (5, None, (), ("https://a.example",), ("a.example/x",), ("*.a.example",), ("a b",), ("",), (5,)),
    "allow_client_session_ids": ("no", 0, None),
    "session_ttl_s": (0, -1, "60", True, math.nan, math.inf),
    "turn_timeout_s": (0, *SECONDS),
    "allowed_paths": (5, None, ("",), (5,), ("a\0b",)),
    "max_answer_bytes": BYTES,
    "max_answer_file_bytes": BYTES,
    "max_body_bytes": BYTES,
    "max_history_body_bytes": BYTES,
    "max_message_bytes": BYTES,
    "max_upload_bytes": BYTES,
    "upload_types": (5, None, ("png",), ("image/",), ("*/*",), ("image/png; q=1",), (5,)),
    "max_json_depth": (0, -1, 129, 1.5, "10", None, True),
    "keep_alive_s": (0, *SECONDS),
    "body_idle_s": (0, *SECONDS),
    "ping_interval_s": (0, *SECONDS),
    "send_timeout_s": (0, *SECONDS),
    "abandon_grace_s": (-1, "60", True, math.nan),
    "drain_timeout_s": SECONDS,
    "stop_grace_s": SECONDS,
    "log_retention_s": SECONDS,
    "idempotency_ttl_s": SECONDS,
    "protocols": (5, None, (5,), {"gradio": True}),
    "openai_prefix": (5, None, "openai", "v2/", "/a b", "/a?b", "/{a}", "//a", "https://a.example/"),
    "max_readers": (0, -1, 1.5, "10", None, True),
    "direct_writes": ("off", 0, None),
}

WRONG_TEXT: dict[str, str] = {
    "store": "",
    "files_dir": "",
    "durability": "event",
    "debug": "perhaps",
    "cors_origins": "https://a.example,*",
    "allowed_hosts": "",
    "allow_client_session_ids": "perhaps",
    "session_ttl_s": "0",
    "turn_timeout_s": "soon",
    "allowed_paths": "a\0b",
    "max_answer_bytes": "4MB",
    "max_answer_file_bytes": "64 MiB",
    "max_body_bytes": "-1",
    "max_history_body_bytes": "0",
    "max_message_bytes": "1.5",
    "max_upload_bytes": "much",
    "upload_types": "png",
    "max_json_depth": "deep",
    "keep_alive_s": "0",
    "body_idle_s": "nan",
    "ping_interval_s": "0",
    "send_timeout_s": "inf",
    "abandon_grace_s": "soon",
    "drain_timeout_s": "-1",
    "stop_grace_s": "1s",
    "log_retention_s": "never",
    "idempotency_ttl_s": "1e12",
    "openai_prefix": "openai",
    "max_readers": "many",
    "direct_writes": "perhaps",
}


def refusal(**settings: Any) -> str:
    """Return the line that refuses an application with these settings."""
    with pytest.raises(ConfigurationError) as refused:
        ChatServer(**settings)
    line = refused.value.detail
    assert len(line.splitlines()) == 1
    return line


def start(app: ChatServer) -> None:
    app.chat(lambda message, history: message)
    asyncio.run(app.start())


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_has_wrong_values_here(name: str) -> None:
    assert WRONG[name]
    assert name in WRONG_TEXT or name == "protocols"  # any list of names is one, before the registry is asked


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=repr
)
def test_wrong_value_is_refused_with_setting_value_and_what_it_may_be(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == f"setting {name}={value!r}: may be {allowed_of(Settings.model_fields[name])}"


@pytest.mark.parametrize(("name", "text"), WRONG_TEXT.items())
def test_wrong_text_of_the_environment_is_refused_in_the_same_way(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings({}, {f"CHATSERVE_{name.upper()}": text})
    assert refused.value.detail == f"setting {name}={text!r}: may be {allowed_of(Settings.model_fields[name])}"


def test_wrong_text_of_the_environment_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSERVE_TURN_TIMEOUT_S", "soon")
    app = ChatServer(store="memory://")
    with pytest.raises(ConfigurationError, match="setting turn_timeout_s='soon': may be a number of seconds above 0"):
        start(app)


def test_setting_that_is_none_is_refused_with_those_there_are() -> None:
    line = refusal(stroe="memory://")
    assert line.startswith("setting stroe='memory://': unknown; there are store, files_dir, ")
    assert all(name in line for name in Settings.model_fields)


@pytest.mark.parametrize("given", [{"title": 5}, {"title": None}, {"description": None}, {"title": "\ud800"}])
def test_title_that_is_no_text_is_refused(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    assert refusal(**given) == f"ChatServer: {name}={value!r}: may be a text"


# --- what the registries know ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocols", [("openai",), ("gradio", "Anthropic"), "openai_chat,ollama", ("",)])
def test_protocol_that_is_none_is_refused_with_those_there_are(protocols: Any) -> None:
    line = refusal(protocols=protocols)
    assert line.startswith("setting protocols=(")
    assert [name for name in WIRE_FORMATS if repr(name) in line] == list(Settings().protocols)


@pytest.mark.parametrize("root", sorted(NATIVE_ROOTS))
def test_prefix_where_own_paths_begin_is_refused(root: str) -> None:
    for prefix in (f"/{root}", f"/{root}/", f"/{root}/openai"):
        assert refusal(openai_prefix=prefix).startswith(f"setting openai_prefix={prefix!r}: ")


def test_own_paths_begin_as_the_check_of_the_prefix_believes() -> None:
    with ChatClient(lambda message, history: message, protocols=()) as client:
        paths = client.get("/openapi.json").json["paths"]
    assert {path.split("/")[1] for path in paths} - {""} == NATIVE_ROOTS


@pytest.mark.parametrize("store", ["redis://localhost", "chat.db", "sqlite:chat.db", "memory://x"])
def test_store_that_is_none_is_refused_at_the_start(store: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^store: .*(memory|sqlite):"):
        start(ChatServer(store=store))


def test_folder_for_files_that_is_a_file_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "files"
    path.touch()
    with pytest.raises(ConfigurationError, match=r"setting files_dir='.*files': may be the path of a folder"):
        start(ChatServer(store="memory://", files_dir=path))


# --- what is taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"turn_timeout_s": 60}, 60.0),
        ({"abandon_grace_s": None}, None),
        ({"abandon_grace_s": 0}, 0.0),
        ({"log_retention_s": 0}, 0.0),
        ({"files_dir": Path("files")}, "files"),
        (
            {"cors_origins": ["https://a.example", "http://localhost:5173"]},
            ("https://a.example", "http://localhost:5173"),
        ),
        ({"cors_origins": ()}, ()),
        ({"allowed_hosts": "*"}, ("*",)),
        ({"allowed_hosts": {"chat.example.org"}}, ("chat.example.org",)),
        (
            {"allowed_hosts": ["a.example:8000", "::1", "[::1]", "[::1]:80"]},
            ("a.example:8000", "::1", "[::1]", "[::1]:80"),
        ),
        ({"upload_types": ["image/*", "application/vnd.ms-excel"]}, ("image/*", "application/vnd.ms-excel")),
        ({"protocols": ()}, ()),
        ({"protocols": ["gradio"]}, ("gradio",)),
        ({"openai_prefix": ""}, ""),
        ({"openai_prefix": "/api/openai/"}, "/api/openai/"),
        ({"openai_prefix": "/v1"}, "/v1"),
    ],
    ids=repr,
)
def test_right_value_is_taken(given: dict[str, Any], kept: Any) -> None:
    (name,) = given
    assert getattr(ChatServer(**given).settings, name) == kept


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("turn_timeout_s", "60", 60.0),
        ("max_readers", "10", 10),
        ("debug", "true", True),
        ("direct_writes", "off", False),
        ("session_ttl_s", "none", None),
        ("abandon_grace_s", "never", None),
        ("protocols", "gradio, anthropic", ("gradio", "anthropic")),
        ("protocols", "", ()),
    ],
)
def test_text_of_the_environment_and_of_the_command_line_is_converted(name: str, text: str, kept: Any) -> None:
    assert getattr(read_settings({}, {f"CHATSERVE_{name.upper()}": text}), name) == kept
    assert getattr(read_settings({}, {}, command_line={name: text}), name) == kept


def test_command_line_goes_before_python_before_the_environment() -> None:
    environment = {"CHATSERVE_MAX_READERS": "1", "CHATSERVE_TURN_TIMEOUT_S": "1", "CHATSERVE_STOP_GRACE_S": "1"}
    given = {"max_readers": 2, "turn_timeout_s": 2}
    settings = read_settings(given, environment, command_line={"max_readers": "3"})
    assert (settings.max_readers, settings.turn_timeout_s, settings.stop_grace_s) == (3, 2, 1)
