"""@gradio/client of two eras, unmodified, in Node.js over real sockets: the table of `test_gradio_python`.

A server that is killed is not in it: this client does not take the connection's end for the end of its stream, and
waits for ever at its next call. Against Gradio it does the same.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import NODE_FOLDER, run_node
from tests.support.server import Server, serve

DRIVER = NODE_FOLDER / "gradio_driver.mjs"
APP = "tests/clients/gradio_app.py"
PACKAGES = ["@gradio/client", "gradio-client-1"]

TABLE = ["view_api", "predict", "iterate", "whole", "thoughts", "turns", "cancel", "errors", "files"]
TABLE += ["queue", "at_once", "silence"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(APP, "--store", "memory://") as served:
        yield served


@pytest.fixture(scope="module", params=PACKAGES)
def told(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each row came to, all in one process."""
    rows = run_node(DRIVER, server.url, request.param, str(tmp_path_factory.mktemp("files")), *TABLE)
    return dict(zip(TABLE, rows, strict=True)) | {"package": request.param}


def test_apis_are_described(told: dict[str, Any]) -> None:
    apis = told["view_api"]["named_endpoints"]
    assert list(apis) == ["/speak", "/chat", "/whole", "/think", "/shapes", "/files", "/slow", "/pause"]
    described = [
        (each["parameter_name"], each["component"], each["parameter_default"]) for each in apis["/chat"]["parameters"]
    ]
    assert described == [("message", "Textbox", None), ("tone", "Dropdown", "calm"), ("times", "Slider", 1)]


def test_arguments_come_by_place_by_name_or_by_default(told: dict[str, Any]) -> None:
    assert told["predict"] == ["0:HIHI", "1:hihi", "2:hi"]


def test_every_value_is_iterated_over_and_the_last_one_twice(told: dict[str, Any]) -> None:
    assert told["iterate"] == {
        "values": ["0", "0:", "0:a", "0:ab", "0:abc", "0:abc"],
        "stage": "complete",
        "text": None,
    }
    assert told["whole"]["values"] == ["whole hi", "whole hi"]


def test_steps_that_are_changed_in_place_are_seen_to_change(told: dict[str, Any]) -> None:
    seen = [
        [(each["metadata"].get("status"), each["content"]) for each in value] for value in told["thoughts"]["values"]
    ]
    assert seen[-5:-1] == [
        [("pending", "looking")],
        [("done", "looking")],
        [("done", "looking"), (None, "ans")],
        [("done", "looking"), (None, "answer")],
    ]


def test_second_and_third_call_go_on_in_the_session(told: dict[str, Any]) -> None:
    assert told["turns"] == ["0:a", "1:b", "2:c"]


def test_cancelled_submission_completes_with_what_was_said(told: dict[str, Any]) -> None:
    ended = told["cancel"]["ended"]
    assert (ended["stage"], ended["text"]) == ("complete", None)
    assert ended["values"][:3] == ["go 1", "go 2", "go 3"]
    assert told["cancel"]["next"] == "brief 9"


def test_error_has_the_words_it_was_raised_with(told: dict[str, Any]) -> None:
    errors = told["errors"]
    assert (errors["shown"]["text"], errors["shown"]["code"]) == ("no words left", "no_words")
    assert (errors["hidden"]["text"], errors["hidden"]["code"]) == ("the chat function failed", "chat_function_failed")
    assert errors["late"] == {"values": ["0", "0:", "0:l", "0:la"], "stage": "error", "text": "half way"}
    assert errors["next"] == "whole hi"


def test_argument_that_is_wrong_is_named(told: dict[str, Any]) -> None:
    invalid = told["errors"]["invalid"]
    assert invalid["text"] == "times: Input should be less than or equal to 3"


def test_files_go_in_and_come_out_under_their_ids(told: dict[str, Any]) -> None:
    assert told["files"] == {
        "read": "read: ['words']",
        "blob": "read: ['words']",
        "loud": ["loud words.txt", "gradio.FileData", "WORDS"],
        "again": "read: ['WORDS']",
    }


def test_turn_that_waits_for_a_place_is_told_so(told: dict[str, Any]) -> None:
    assert told["queue"] == {"waits": ["pending", 0, 1], "value": "brief 9"}


def test_calls_at_once_share_a_stream(told: dict[str, Any]) -> None:
    turns, words = zip(*(value.split(":") for value in told["at_once"]), strict=True)
    assert sorted(turns) == ["0", "1", "2", "3", "4"]
    assert words == ("job 0", "job 1", "job 2", "job 3", "job 4")


def test_heartbeats_disturb_nothing(told: dict[str, Any]) -> None:
    assert told["silence"] == "one two"


@pytest.mark.parametrize("package", PACKAGES)
def test_server_that_stops_says_so_to_who_waits(package: str) -> None:
    with serve(APP, "--store", "memory://", "--drain-timeout-s", "0.3") as server:
        (told,) = run_node(DRIVER, server.url, package, "", f"terminated={server.pid}")
    assert told["stage"] == "error"
    assert "interrupted (shutdown)" in told["text"] or "about to stop" in told["text"]
