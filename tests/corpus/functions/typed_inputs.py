from typing import Annotated, Literal

from pydantic import Field


def predict(message, history, tone: Literal["calm", "loud"] = "calm", times: Annotated[int, Field(ge=1, le=3)] = 2):
    words = message * times
    return words.upper() if tone == "loud" else words
