"""A watch over the event loop: whatever would block it is an error. Coverage's own lock is no concern of the loop's."""

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import blockbuster_ctx


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Raise where a call would block the event loop."""
    with blockbuster_ctx() as watch:
        watch.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
        yield
