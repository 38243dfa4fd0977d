def predict(message, history):
    history.append({"role": "user", "content": message})
    history.clear()
    return f"{message} {len(history)}"
