def respond(message, history):
    history = history + [[message, None]]  # noqa: RUF005
    history[-1][1] = ""
    for letter in f"you said {message}":
        history[-1][1] += letter
        yield history
