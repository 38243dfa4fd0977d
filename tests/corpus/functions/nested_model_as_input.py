from pydantic import BaseModel


class Options(BaseModel):
    sizes: list[int] = [1, 2]
    label: str | None = None


def predict(message, history, options: Options | None = None):
    options = options or Options()
    return f"{sum(options.sizes)} {options.label} {message}"
