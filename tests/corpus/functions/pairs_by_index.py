def predict(message, history):
    if history:
        return f"before: {history[-1][0]} {history[-1][1]}"
    return "first"
