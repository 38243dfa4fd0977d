from functools import partial


def spell(message, history, separator):
    for end in range(1, len(message) + 1):
        yield separator.join(message[:end])


predict = partial(spell, separator="-")
