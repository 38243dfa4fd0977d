def predict(message, history):
    yield "thinking"
    return f"thought about {message}"
