"""Ids: unlike one another, also across threads and forks, and safe to write anywhere."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import truediv

from chatserve.core.ids import STOCK, Ids


def test_ids_have_a_prefix_and_29_characters_that_are_safe_everywhere() -> None:
    ids = Ids()
    assert all(re.fullmatch(r"t_[A-Za-z0-9_-]{29}", ids.new("t_")) for _ in range(100))


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    milliseconds = [0, 1, 63, 64, 4095, 4096, 1_795_284_387_123, 1_795_284_387_124, 4_398_046_511_103]
    made = [Ids(clock=partial(truediv, at, 1000)).new("m_") for at in milliseconds]
    assert made == sorted(made)
    assert len({each[:9] for each in made}) == len(made)


def test_ids_of_one_millisecond_differ_in_all_but_their_time() -> None:
    ids = Ids(clock=lambda: 1_795_284_387.123)
    made = {ids.new("m_") for _ in range(100)}
    assert len({each[:9] for each in made}) == 1
    assert len({each[9:] for each in made}) == 100


def test_no_id_is_given_twice_to_threads_that_ask_at_once() -> None:
    ids = Ids()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ids.new(""), range(10_000)))
    assert len(set(made)) == len(made)


def test_forked_process_makes_ids_of_its_own() -> None:
    ids = Ids()
    ids.new("")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.new("").encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() not in {ids.new("") for _ in range(2 * STOCK)}
