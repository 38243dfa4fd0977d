from dataclasses import dataclass


@dataclass
class Settings:
    greeting: str = "Dear"


def predict(message, history, settings: Settings = Settings()):  # noqa: B008
    return f"{settings.greeting} {message}"
