import functools


def logged(function):
    @functools.wraps(function)
    def call(*args, **given):
        return "logged: " + function(*args, **given)

    return call


@logged
def predict(message, history):
    return message
