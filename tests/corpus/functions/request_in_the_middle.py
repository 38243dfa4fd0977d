from starlette.requests import Request


def predict(message, request: Request, history):
    return f"{request.method} {message} {len(history)}"
