"""What schemathesis cannot know of the headers it makes up; loaded by its command line."""

import re
from typing import Any
from uuid import uuid4

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Use a key once, and give versions back the quotes that the generator drops."""
    if re.fullmatch(r"[!-~]{1,255}", case.headers.get("Idempotency-Key", "")):
        case.headers["Idempotency-Key"] = uuid4().hex
    if case.headers.get("If-Match", "").isdigit():
        case.headers["If-Match"] = f'"{case.headers["If-Match"]}"'
