def predict(message, history):
    return ""
