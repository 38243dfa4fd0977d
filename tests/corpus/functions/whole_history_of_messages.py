def respond(message, history):
    history.append({"role": "user", "content": message})
    history.append({"role": "assistant", "content": f"{len(history)} with {message}"})
    return history
