from functools import partial


def ask(message, history, api_key, times=1):
    assert api_key == "sk-secret"
    return message * times


predict = partial(ask, api_key="sk-secret")
