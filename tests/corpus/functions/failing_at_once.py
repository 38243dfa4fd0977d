def predict(message, history):
    if message == "two":
        raise ValueError("sk-secret")
    return " ".join(each["content"] for each in history) + "|" + message
