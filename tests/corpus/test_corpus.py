"""Chat functions of every shape, served unchanged, and asked by three clients: one table."""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chatserve.app import ChatServer
from chatserve.cli.target import TargetError, load_target
from tests.corpus.clients import CLIENTS, Failure
from tests.corpus.shapes import SHAPES, Answer, Refused, Shape, Told
from tests.support.asgi import serve_in_thread
from tests.support.server import ROOT

FUNCTIONS = Path(__file__).parent / "functions"
AT_ONCE = 6
WAIT_S = 100
pytestmark = pytest.mark.timeout(120)  # all conversations share the processor with one another
UNSEEN = re.compile(r"sk-secret|Secret\(|object at 0x|<\w+\.|/tmp/|/etc/|/root/|Traceback")
"""What no client may ever be shown: a secret, a `repr()`, a path of the server."""


class Corpus:
    """An ASGI application that has each file below its own name, loaded as `chatserve run` loads it."""

    def __init__(self) -> None:
        self._apps: dict[str, ChatServer] = {}

    def load(self, name: str) -> None:
        app = load_target(str(FUNCTIONS / f"{name}.py"), SHAPES[name].options).app
        app.override(store="memory://")
        self._apps[name] = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].split("/")[1]
        await self._apps[name]({**scope, "root_path": f"/{name}"}, receive, send)


@pytest.fixture(scope="module")
def _imports_are_forgotten() -> Iterator[None]:
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if FUNCTIONS in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]


@pytest.fixture(scope="module")
def conversations(request: pytest.FixtureRequest, _imports_are_forgotten: None) -> Iterator[dict[str, Future[Any]]]:
    """What the clients have been told by each file that a selected test names; several talk at once."""
    names = {name for item in request.session.items if (name := _file_of(item))}
    corpus, started = Corpus(), {}
    with serve_in_thread(corpus) as url, ThreadPoolExecutor(AT_ONCE) as pool:
        for name in filter(names.__contains__, SHAPES):  # in the order in which tests wait for them
            try:
                corpus.load(name)
            except TargetError as error:
                started[name] = Future[Any]()
                started[name].set_exception(error)
            else:
                started[name] = pool.submit(converse, f"{url}/{name}", SHAPES[name])
        yield started


def _file_of(item: pytest.Item) -> str | None:
    parameters = getattr(item, "callspec", None)
    return parameters.params.get("name") if parameters and item.path == Path(__file__) else None


def converse(url: str, shape: Shape) -> dict[str, Any]:
    """Let one client after another have its conversation with a file; return what each was told, or what it raised."""
    told: dict[str, Any] = {}
    for client, ask in CLIENTS.items():
        try:
            told[client] = list(ask(url, shape.said[: len(shape.answers)], shape.inputs))
        except Exception as error:
            told[client] = error
    return told


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", SHAPES)
def test_function_is_served_unchanged(name: str, client: str, conversations: dict[str, Future[Any]]) -> None:
    shape = SHAPES[name]
    expected = shape.openai if client == "openai" and shape.openai else shape.answers
    told = conversations[name].result(WAIT_S)[client]
    if isinstance(told, Exception):
        raise told
    assert len(told) == len(expected) > 0
    for turn, answer in enumerate(expected):
        assert is_right(told[turn], answer, client), f"turn {turn}: expected {answer}, got {told[turn]}"
    assert not UNSEEN.search(repr(told))


def is_right(told: Any, expected: Answer, client: str) -> bool:
    """Whether a client has been told what the table says."""
    if isinstance(expected, Refused):
        is_code_right = client == "gradio" or not expected.code or told.code == expected.code
        return isinstance(told, Failure) and expected.text in told.text and is_code_right
    if isinstance(told, Failure):
        return False
    answer = expected if isinstance(expected, Told) else Told(expected or "", [expected] if expected else [])
    if client == "native":
        contents = [_content(message) for message in told["messages"]]
        return told["text"] == answer.text and (answer.content is None or contents == answer.content)
    if client == "gradio":
        return told == (expected if answer.gradio is None and not isinstance(expected, Told) else answer.gradio)
    if isinstance(answer.openai, re.Pattern):
        return answer.openai.search(told) is not None
    return (told or "") == (answer.text if answer.openai is None else answer.openai)


def _content(message: Any) -> Any:
    """Return the content of a native message, without what differs each time it is made."""
    if isinstance(message["content"], str):
        return message["content"]
    unsteady = {"part_id", "file_id", "size", "url", "media_type"}
    return [{name: value for name, value in part.items() if name not in unsteady} for part in message["content"]]


def test_readme_counts_the_shapes() -> None:
    assert f"{len(SHAPES)} shapes of chat functions, unchanged" in (ROOT / "README.md").read_text("utf-8")


def test_every_file_is_in_the_table() -> None:
    assert {path.stem for path in FUNCTIONS.glob("*.py")} == set(SHAPES)
