def predict(message, history):
    yield "Searching…"
    yield "Reading…"
    yield f"Found {message}"
