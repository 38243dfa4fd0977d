def predict(message, history):
    titles = [entry["metadata"] for entry in history if entry["role"] == "user"]
    return f"{len(titles)} {message}"
