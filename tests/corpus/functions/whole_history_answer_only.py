def respond(message, history):
    return [*history, {"role": "assistant", "content": f"{len(history)} before {message}"}]
