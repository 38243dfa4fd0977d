"""gradio_client of four eras, unmodified, over real sockets: one table of what a client can do, the same for all."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import run_in
from tests.support.libraries import require
from tests.support.programs import UNMEASURED, require_program
from tests.support.server import Server, serve

DRIVER = Path(__file__).parent / "gradio_driver.py"
APP = "tests/clients/gradio_app.py"

NEWEST, *OLDER = VERSIONS = ["2.7", "1.14", "1.3", "0.17"]
TABLE = [
    "version",
    "view_api",
    "predict",
    "iterate",
    "whole",
    "thoughts",
    "shapes",
    "turns",
    "cancel",
    "errors",
    "refused",
]
TABLE += ["files", "queue", "at_once", "silence"]


def drive(version: str, url: str, folder: Path, *rows: str) -> list[Any]:
    """Run rows of the table in a process with a version of the client; it must come to its end by itself."""
    arguments = (url, str(folder), *rows)
    if version in OLDER:
        return run_in(f"gradio-{version}", DRIVER, *arguments)
    require("gradio_client")
    command = [sys.executable, str(DRIVER), *arguments]
    ran = subprocess.run(command, env=os.environ | UNMEASURED, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(APP, "--store", "memory://") as served:
        yield served


@pytest.fixture(scope="module", params=VERSIONS)
def told(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each row came to, in one process that has ended by itself."""
    rows = drive(request.param, server.url, tmp_path_factory.mktemp("files"), *TABLE)
    return dict(zip(TABLE, rows, strict=True))


def entry(content: str, options: Any = (), **metadata: Any) -> dict[str, Any]:
    """Return a message as clients get it."""
    return {"role": "assistant", "content": content, "metadata": metadata, "options": list(options)}


# --- the table -------------------------------------------------------------------------------------------------------


def era(told: dict[str, Any]) -> str:
    return ".".join(told["version"].split(".")[:2])


def test_version_is_the_one_that_was_meant(told: dict[str, Any]) -> None:
    assert era(told) in VERSIONS


def test_apis_are_printed_with_names_types_and_defaults(told: dict[str, Any]) -> None:
    printed = told["view_api"]
    assert 'predict(message, tone, times, api_name="/speak") -> response' in printed
    assert "[Textbox] message: str (required)" in printed
    assert re.search(r"\[Dropdown\] tone: Literal\['calm', 'loud'\] \(not required,? defaults to: +calm\)", printed)
    assert "[Slider] times: int" in printed
    assert "[MultimodalTextbox] message: dict(text: str, files: list[filepath])" in printed


def test_arguments_come_by_place_by_name_or_by_default(told: dict[str, Any]) -> None:
    assert told["predict"] == ["0:HIHI", "1:hihi", "2:hi"]


def test_every_value_is_iterated_over(told: dict[str, Any]) -> None:
    values = ["0", "0:", "0:a", "0:ab", "0:abc"]
    assert told["iterate"] == {"seen": values, "outputs": values, "result": "0:abc"}


def test_answer_in_one_piece_is_iterated_over_too(told: dict[str, Any]) -> None:
    assert told["whole"] == {"seen": ["whole hi"], "result": "whole hi"}


def test_steps_that_are_changed_in_place_are_seen_to_change(told: dict[str, Any]) -> None:
    seen = [[(each["metadata"].get("status"), each["content"]) for each in value] for value in told["thoughts"]]
    assert seen[-4:] == [
        [("pending", "looking")],
        [("done", "looking")],
        [("done", "looking"), (None, "ans")],
        [("done", "looking"), (None, "answer")],
    ]


def test_each_yield_is_one_value_and_lists_stay_lists(told: dict[str, Any]) -> None:
    options = [{"value": "yes"}, {"value": "no"}]
    question, looking = entry("Q?", options=options), entry("looking", title="Search")
    seen: dict[str, Any] = {
        "options": [question],
        "list": [[looking, entry("found")]],
        "lists": [[entry("one")], [entry("one"), entry("two")], [entry("three")], [entry("three"), question]],
        "mixed": ["text", [looking], "text again"],
    }
    assert told["shapes"] == {kind: {"seen": values, "result": values[-1]} for kind, values in seen.items()}


def test_session_goes_on_until_it_is_reset(told: dict[str, Any]) -> None:
    assert told["turns"] == ["0:a", "1:b", "2:c", "0:d"]


def test_cancelled_job_stops_its_turn_and_the_next_one_runs(told: dict[str, Any], server: Server) -> None:
    cancelled = told["cancel"]
    assert cancelled["seen"] == ["go 1", "go 2", "go 3"]
    ended = cancelled["ended"]
    assert ended.get("error") == "CancelledError" or ended["value"].startswith("go ")
    assert server.get(f"/turns/{cancelled['event_id']}").json()["status"] == "stopped"
    assert cancelled["next"] == "brief 9"


def test_error_is_raised_with_the_words_it_was_raised_with(told: dict[str, Any]) -> None:
    errors = told["errors"]
    assert {name: errors[name]["error"] for name in ("shown", "hidden", "late")} == dict.fromkeys(
        ("shown", "hidden", "late"), "AppError"
    )
    assert errors["shown"]["text"].endswith("no words left")
    assert errors["hidden"]["text"].endswith("the chat function failed")
    assert errors["late"]["text"].endswith("half way")
    assert errors["gradio"]["text"].endswith("no coins left")
    if era(told) == NEWEST:
        assert (errors["shown"]["title"], errors["gradio"]["title"]) == ("Error", "Wallet")
    assert errors["late"]["seen"] == ["0", "0:", "0:l", "0:la"]
    assert errors["next"] == "whole hi"


def test_argument_that_is_wrong_is_named(told: dict[str, Any]) -> None:
    invalid = told["errors"]["invalid"]
    assert invalid["error"] == "AppError"
    assert invalid["text"].endswith("times: Input should be less than or equal to 3")


def test_iteration_of_a_refused_call_ends_at_once(told: dict[str, Any]) -> None:
    refused = told["refused"]
    assert [each["seen"] for each in (refused["alone"], *refused["both"], refused["beside"])] == [[], [], [], []]
    assert {each["error"] for each in (refused["alone"], *refused["both"], refused["beside"])} == {"AppError"}
    assert "tone: Input should be 'calm' or 'loud'" in refused["beside"]["text"]
    assert (refused["running"], refused["next"]) == (True, "whole hi")


def test_files_go_in_and_come_out_under_their_ids(told: dict[str, Any]) -> None:
    files = told["files"]
    assert files["read"] == "read: ['words']"
    assert (files["loud"], files["with words"]) == (["WORDS", "loud words.txt"], ["Here it is:", "WORDS"])
    assert "is an address, which is not fetched" in files["address"]["text"]


def test_turn_that_waits_for_a_place_is_told_so(told: dict[str, Any]) -> None:
    assert told["queue"] == {"rank": 0, "size": 1, "result": "brief 9"}


def test_jobs_of_one_client_share_a_stream(told: dict[str, Any]) -> None:
    turns, words = zip(*(value.split(":") for value in told["at_once"]), strict=True)
    assert sorted(turns) == ["0", "1", "2", "3", "4"]
    assert words == ("job 0", "job 1", "job 2", "job 3", "job 4")


def test_heartbeats_disturb_nothing(told: dict[str, Any]) -> None:
    assert told["silence"] == "one two"


# --- beside the table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_only_chat_needs_no_name(version: str, tmp_path: Path) -> None:
    with serve("examples/async_echo.py", "--store", "memory://") as server:
        (answer,) = drive(version, server.url, tmp_path, "unnamed")
    assert answer == "1. hi"


@pytest.mark.parametrize("version", VERSIONS)
def test_killed_server_leaves_no_client_waiting(version: str, tmp_path: Path) -> None:
    with serve(APP, "--store", "memory://") as server:
        (told,) = drive(version, server.url, tmp_path, f"killed={server.pid}")
    assert "error" in told["ended"]
    assert "Connect" in told["next"]["error"]


@pytest.mark.parametrize("version", VERSIONS)
def test_server_that_stops_says_so_to_who_waits(version: str, tmp_path: Path) -> None:
    with serve(APP, "--store", "memory://", "--drain-timeout-s", "0.3") as server:
        (told,) = drive(version, server.url, tmp_path, f"terminated={server.pid}")
    assert told["ended"]["error"] == "AppError"
    assert re.search(r"interrupted \(shutdown\)|about to stop", told["ended"]["text"])


def test_two_requests_of_curl_are_enough(server: Server) -> None:
    curl = require_program("curl")
    asked = json.dumps({"data": ["hi", "loud"]})
    post = [curl, "-s", f"{server.url}/gradio_api/call/speak", "--json", asked]
    event_id = json.loads(subprocess.run(post, capture_output=True, timeout=20, check=True).stdout)["event_id"]
    get = [curl, "-sN", f"{server.url}/gradio_api/call/speak/{event_id}"]
    told = subprocess.run(get, capture_output=True, text=True, timeout=20, check=True).stdout
    assert told.startswith('event: generating\ndata: ["0"]\n\n')
    assert told.endswith('event: complete\ndata: ["0:HI"]\n\n')
