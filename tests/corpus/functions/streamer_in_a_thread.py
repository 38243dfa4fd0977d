from queue import Queue
from threading import Thread


def generate(prompt, words):
    for word in ("token ", prompt):
        words.put(word)
    words.put(None)


def predict(message, history):
    words = Queue()
    Thread(target=generate, args=(message, words)).start()
    said = ""
    while (word := words.get(timeout=10)) is not None:
        said += word
        yield said
