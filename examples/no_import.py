"""A chat function in a file that does not import chatserve: `chatserve run` finds it by its name.

Run it:   chatserve run examples/no_import.py
Ask it:   curl localhost:8000/chat --json '{"message": "step on no pets"}' -H 'Accept: text/plain'
"""


def predict(message, history):
    return message[::-1]
