"""What is served to clients that are to be refused: a chat that fails in the ways its messages ask for."""

from typing import Annotated, Any

from pydantic import Field

from chatserve import ChatError, ChatServer

app = ChatServer(title="For clients that are refused")


def be_polite(message: str, temperature: float = 0.5) -> str | None:
    return "please be polite" if "stupid" in message else None


@app.chat(name="strict", validator=be_polite)
def strict(message: str, history: list[Any], temperature: Annotated[float, Field(le=0.9)] = 0.5) -> str:
    """Answer politely, or not at all."""
    if message == "refuse":
        raise ChatError("the library is closed today")
    if message == "tell":
        raise ChatError("ask again tomorrow", code="closed", status_code=403)
    if message == "fail":
        raise ZeroDivisionError("a secret")
    return f"You said {message}"
