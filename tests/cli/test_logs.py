"""Log lines: one per record, whatever it contains."""

import logging
from collections.abc import Iterator
from io import StringIO

import orjson
import pytest

from chatserve.cli.logs import JsonFormatter, TextFormatter, configure_logging


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("chatserve.test", logging.WARNING, __file__, 1, message, args, exc_info)


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_text_line_has_level_logger_and_message():
    line = TextFormatter().format(record("turn %s ended", "t_1"))
    assert line.endswith(" WARNING chatserve.test: turn t_1 ended")
    assert len(line.split(" ")[0]) == len("12:00:00")


@pytest.mark.parametrize("control", ["\n", "\r\n", "\x1b[31m", "\x00", "\x85", "\u2028", "\x7f"])
def test_no_message_can_forge_a_line_or_colour_a_terminal(control: str):
    line = TextFormatter().format(record("asked for %s", f"/x{control}12:00:00 ERROR forged"))
    assert "/x 12" in line.replace("[31m", "")
    assert line.isprintable()


def test_no_error_text_can_forge_a_line():
    text = TextFormatter().format(record("failed", error=raised("one\n12:00:00 ERROR forged\x1b[2J")))
    first, *more = text.split("\n")
    assert first.endswith("failed")
    assert all(line.startswith("    ") and line.isprintable() for line in more)
    assert more[0] == "    Traceback (most recent call last):"


def test_a_json_line_has_the_same_and_the_traceback():
    line = JsonFormatter().format(record("failed\n%d", 3, error=raised("why")))
    assert "\n" not in line
    value = orjson.loads(line)
    assert (value["level"], value["logger"], value["message"]) == ("warning", "chatserve.test", "failed 3")
    assert value["traceback"].endswith("ValueError: why")


def test_lone_surrogates_are_logged_as_question_marks():
    assert TextFormatter().format(record("name %s", "\ud800")).endswith("name ?")
    assert orjson.loads(JsonFormatter().format(record("name %s", "\ud800")))["message"] == "name ?"


@pytest.fixture
def _logging_is_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_is_restored")
def test_streamed_text_is_not_logged_at_any_level(monkeypatch: pytest.MonkeyPatch):
    errors = StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    configure_logging("debug", "text")
    logging.getLogger("sse_starlette.sse").debug("chunk: what the user wrote")
    logging.getLogger("chatserve.test").debug("ours")
    assert errors.getvalue().count("\n") == 1
    assert errors.getvalue().endswith("ours\n")
