def predict(message, history):
    return len(message)
