"""Inputs: every further parameter is a typed field of the request, which is checked before the turn starts.

`GET /` describes them as JSON Schema. If `tokens` is out of range the request is refused with 422.

Run it:   chatserve run examples/system_prompt.py
Ask it:   curl localhost:8000/chat -H 'Accept: text/plain' \
            --json '{"message": "Hi", "inputs": {"system_prompt": "Be brief.", "tokens": 40}}'
"""

import time
from typing import Annotated

from pydantic import Field

from chatserve import ChatServer

app = ChatServer(title="System prompt and token slider")


@app.chat
def predict(
    message,
    history,
    system_prompt: str = "You are helpful.",
    tokens: Annotated[int, Field(ge=10, le=100, description="Length of the answer")] = 100,
):
    answer = f"System prompt: {system_prompt} Message: {message}"
    for end in range(1, min(len(answer), tokens) + 1):
        time.sleep(0.01)
        yield answer[:end]
