def predict(message, history):
    if message != "two":
        return f"{len(history)} before"
    return None
