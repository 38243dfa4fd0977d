def predict(message, history):
    yield f"{message} and {len(history)}"
    if message == "two":
        raise RuntimeError("sk-secret")
