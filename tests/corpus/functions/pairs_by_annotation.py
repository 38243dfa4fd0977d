def predict(message: str, history: list[tuple[str, str]]):
    lines = [f"{user}>{assistant}" for user, assistant in history]
    return " ".join([*lines, message])
