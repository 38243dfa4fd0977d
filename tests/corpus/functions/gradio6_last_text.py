def predict(message, history):
    if not history:
        return "start"
    return "after " + history[-1]["content"][0]["text"]
