"""`gradio_client`, of whatever version, against a server: each row of the table prints one JSON line.

It imports nothing of the tests, for it runs where only that package is.

Usage: `gradio_driver.py URL FOLDER ROW[=ARGUMENT]…`.
"""

import contextlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any

import gradio_client
from gradio_client import Client

URL, FOLDER = sys.argv[1], Path(sys.argv[2])
TIMEOUT_S = 20

handle_file = getattr(gradio_client, "handle_file", None) or gradio_client.file


def connect() -> Any:
    with contextlib.redirect_stdout(sys.stderr):
        return Client(URL)


def raised(action: Callable[[], Any]) -> dict[str, Any]:
    """Return what an action returns, or what it raises."""
    try:
        return {"value": action()}
    except (Exception, CancelledError) as error:
        return {"error": type(error).__name__, "text": str(error), "title": getattr(error, "title", None)}


def version() -> Any:
    return gradio_client.__version__


def view_api() -> Any:
    return connect().view_api(print_info=False, return_format="str")


def predict() -> Any:
    client = connect()
    return [
        client.predict("hi", "loud", 2, api_name="/speak"),
        client.predict(message="hi", times=2, api_name="/speak"),
        client.predict("hi", api_name="/chat"),
    ]


def unnamed() -> Any:
    return connect().predict("hi")


def iterate() -> Any:
    job = connect().submit("abc", api_name="/speak")
    return {"seen": list(job), "outputs": job.outputs(), "result": job.result(TIMEOUT_S)}


def whole() -> Any:
    job = connect().submit("hi", api_name="/whole")
    return {"seen": list(job), "result": job.result(TIMEOUT_S)}


def thoughts() -> Any:
    return list(connect().submit("hi", api_name="/think"))


def shapes() -> Any:
    client, told = connect(), {}
    for kind in ("options", "list", "lists", "mixed"):
        job = client.submit(kind, api_name="/shapes")
        told[kind] = {"seen": list(job), "result": job.result(TIMEOUT_S)}
    return told


def turns() -> Any:
    client = connect()
    said = [client.predict(word, api_name="/speak") for word in ("a", "b", "c")]
    client.reset_session()
    return [*said, client.predict("d", api_name="/speak")]


def cancel() -> Any:
    client = connect()
    job = client.submit("go", api_name="/slow")
    seen = [next(job) for _ in range(3)]
    job.cancel()
    ended = raised(lambda: job.result(TIMEOUT_S))
    event_id = job.communicator.event_id
    return {"seen": seen, "ended": ended, "event_id": event_id, "next": client.predict("brief", api_name="/slow")}


def errors() -> Any:
    client = connect()
    late = client.submit("late", api_name="/speak")
    return {
        "late": {"seen": list(late), **raised(lambda: late.result(TIMEOUT_S))},
        "shown": raised(lambda: client.predict("refuse", api_name="/speak")),
        "gradio": raised(lambda: client.predict("gradio", api_name="/speak")),
        "hidden": raised(lambda: client.predict("break", api_name="/speak")),
        "invalid": raised(lambda: client.predict("hi", "calm", 9, api_name="/speak")),
        "next": client.predict("hi", api_name="/whole"),
    }


def refused() -> Any:
    """Iterate over calls that are refused: alone, twice at once, and while another call of the client runs."""
    client = connect()

    def ask(*arguments: Any) -> Any:
        job = client.submit(*arguments, api_name="/speak")
        return {"seen": list(job), **raised(lambda: job.result(TIMEOUT_S))}

    alone = ask("hi", "calm", 9)
    jobs = [client.submit("hi", "calm", 9, api_name="/speak") for _ in range(2)]
    both = [{"seen": list(job), **raised(partial(job.result, TIMEOUT_S))} for job in jobs]
    running = client.submit("go", api_name="/slow")
    next(running)
    beside = ask("hi", "shrill")
    is_running = not running.done()
    running.cancel()
    return {
        "alone": alone,
        "both": both,
        "beside": beside,
        "running": is_running,
        "next": client.predict("hi", api_name="/whole"),
    }


def files() -> Any:
    (FOLDER / "small.txt").write_text("words")
    client = connect()

    def ask(text: str, file: Any) -> Any:
        return client.predict({"text": text, "files": [file]}, api_name="/files")

    file = handle_file(str(FOLDER / "small.txt"))
    words, part = ask("with words", file)["content"]
    address = {"path": "http://127.0.0.1:9/x.txt", "meta": {"_type": "gradio.FileData"}}
    return {
        "read": ask("read", file),
        "loud": [Path(loud := ask("loud", file)).read_text(), Path(loud).name],
        "with words": [words["text"], Path(part["file"]).read_text()],
        "address": raised(lambda: ask("read", address)),
    }


def queue() -> Any:
    first, second = connect(), connect()
    running = first.submit("go", api_name="/slow")
    next(running)
    waiting = second.submit("brief", api_name="/slow")
    while waiting.status().rank is None:
        pass
    status = waiting.status()
    running.cancel()
    return {"rank": status.rank, "size": status.queue_size, "result": waiting.result(TIMEOUT_S)}


def at_once() -> Any:
    client = connect()
    jobs = [client.submit(f"job {n}", api_name="/speak") for n in range(5)]
    return [job.result(TIMEOUT_S) for job in jobs]


def silence() -> Any:
    return connect().predict("pause", api_name="/pause")


def killed(pid: str) -> Any:
    return _ended(pid, signal.SIGKILL)


def terminated(pid: str) -> Any:
    return _ended(pid, signal.SIGTERM)


def _ended(pid: str, number: int) -> Any:
    """End the server in the middle of an answer; say what became of the call and of the next one."""
    client = connect()
    job = client.submit("go", api_name="/slow")
    next(job)
    os.kill(int(pid), number)
    ended = raised(lambda: job.result(TIMEOUT_S))
    return {"ended": ended, "next": raised(lambda: client.predict("hi", api_name="/whole"))}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for row in sys.argv[3:]:
        name, _, argument = row.partition("=")
        action = globals()[name]
        print(json.dumps(action(argument) if argument else action()), flush=True)
