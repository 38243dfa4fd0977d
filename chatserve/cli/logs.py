"""Logging of a server process: lines of text or of JSON on standard error.

No message can forge a line: its control characters become spaces, and a traceback is indented. Texts of users and
models are not logged; loggers of libraries that would log them are silenced.
"""

from __future__ import annotations

import logging
import re
from typing import Final, Literal

from chatserve.codec import dumps

LogFormat = Literal["text", "json"]

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_QUIET: Final = {
    "asyncio": logging.WARNING,
    "sse_starlette": logging.WARNING,  # its debug lines contain what is streamed
    "uvicorn.error": logging.WARNING,  # the server of this package logs the start and the stop itself
    "uvicorn.access": logging.INFO,
}


class TextFormatter(logging.Formatter):
    """`12:00:00 WARNING chatserve.engine: what happened`, a traceback indented below."""

    default_time_format = "%H:%M:%S"
    default_msec_format = ""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {clean(record.getMessage())}"
        return "\n    ".join([line, *_traceback_lines(self, record)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (seconds since the epoch), `level`, `logger`, `message`, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        value = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        if lines := _traceback_lines(self, record):
            value["traceback"] = "\n".join(lines)
        return dumps(value).decode()


def configure_logging(level: str, log_format: LogFormat) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLogger().level))


def clean(text: str) -> str:
    """Return the text on one line: runs of control characters become spaces, lone surrogates question marks."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()


def _traceback_lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return [clean(line.replace("\t", "    ")) for line in formatter.formatException(record.exc_info).splitlines()]
