"""`Pace`: how often, how soon and how much at once. Every such number of the engine, with its reason."""

from __future__ import annotations

from chatserve.contracts.turns import RECOVERY_GAP
from chatserve.core.frozen import frozen


@frozen
class Pace:
    """The engine's measures. Those that end in `_s` are seconds; what users may want to change is a setting instead.

    Words. `beat_s`: words that follow others within this time are held until it is over and become one event; it is a
    quarter of the time a screen shows an image. `give_way_s`: how long functions that never wait may keep the event
    loop from turning. `rest_every`, `rest_s`: how often, in turns of the loop, and for how long such functions rest,
    because a loop that turns without ever waiting keeps the interpreter from threads. `first_words_s`: how long a
    stream may wait for an answer to begin, to send its own beginning with it; what takes longer is a model at work, and
    nobody notices this on top of it.

    Readers. `tick_s`: how often silence is counted. `settle_poll_s`: how often a drain looks whether readers were sent
    all. `shown_events`: how many events at once are handed to readers that wait; of more they take what they can send.
    `read_events`: how many events a reader takes in one piece.

    Log. `flush_after_s`: how soon shown events are stored; below the promised 50 ms, the rest is for the commit.
    `disk_after_s`, `max_off_disk`: for how long, and how many events of one log, may be stored without being on the
    disk. Together with `max_unjournaled`, how many may be shown and not stored, that is less than the numbering jumps
    by after a power failure. `kept_events`: how many filed events stay in memory for readers that lag or come back.
    `store_retry_s`: how soon events that could not be stored are tried again.

    Turns. `commit_retry_s`: the pauses between tries to commit a turn's end. `max_left_running`: how many stopped
    functions may still run before new turns are refused. `max_ended_stateless`: how many ended stateless turns can
    still be read.

    Memory. `max_idle_rooms`: how many rooms stay when nobody is in them. `max_cached_messages`: how many messages of
    branches are kept in memory.

    The janitor. `sweep_every_s`: how often it cleans. `loose_files_kept_s`: how long an upload may wait to be sent with
    a message. `orphans_kept_s`: how long bytes may lie without a record, as those of an upload that is coming in do.
    `entries_per_sweep`: how much of the folder of files one pass looks at.
    """

    beat_s: float = 0.004
    give_way_s: float = 0.001
    rest_every: int = 8
    rest_s: float = 0.001
    first_words_s: float = 0.008

    tick_s: float = 1.0
    settle_poll_s: float = 0.02
    shown_events: int = 64
    read_events: int = 512

    flush_after_s: float = 0.04
    disk_after_s: float = 1.0
    max_off_disk: int = 1000
    max_unjournaled: int = RECOVERY_GAP - 2000
    kept_events: int = 2048
    store_retry_s: float = 0.2

    commit_retry_s: tuple[float, ...] = (0.05, 0.2, 0.5, 1.0, 2.0, 2.0, 2.0, 2.0)
    max_left_running: int = 64
    max_ended_stateless: int = 256

    max_idle_rooms: int = 4096
    max_cached_messages: int = 200_000

    sweep_every_s: float = 30.0
    loose_files_kept_s: float = 24 * 3600.0
    orphans_kept_s: float = 3600.0
    entries_per_sweep: int = 1000
