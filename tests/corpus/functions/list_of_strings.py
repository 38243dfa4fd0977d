def predict(message, history):
    return [f"first {message}", f"second {message}"]
