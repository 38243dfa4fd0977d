"""A chat with an input and examples, for schemathesis to try everything on."""

from typing import Annotated, Any

from pydantic import Field

from chatserve import ChatServer

app = ChatServer(title="Echo")


@app.chat(examples=["hi", ["twice", 2]])
def echo(message: str, history: list[Any], times: Annotated[int, Field(ge=1, le=5)] = 1) -> str:
    return f"You said: {message} " * times
