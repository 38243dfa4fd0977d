def predict(message, history):
    return f"{message} after {len(history)}"
