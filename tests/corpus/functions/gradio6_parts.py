def predict(message, history):
    words = [part["text"] for entry in history for part in entry["content"] if part["type"] == "text"]
    return f"{len(words)} before, {message}"
