def predict(message, history, *, prefix: str = ">", suffix: str = "<"):
    return prefix + message + suffix
