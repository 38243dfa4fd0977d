def predict(message, history):
    return " ".join(each.get("content", "") for each in history if each.get("role") == "user") + "|" + message
