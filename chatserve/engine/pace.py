"""`Pace`: the engine's intervals, delays and batch sizes, each with its reason."""

from __future__ import annotations

from chatserve.contracts.turns import RECOVERY_GAP
from chatserve.core.frozen import frozen


@frozen
class Pace:
    """The engine's constants. Those that end in `_s` are in seconds; values that users may want to change are settings.

    Output. `beat_s`: output that follows earlier output within this time is held until the time is over and becomes one
    event; it is a quarter of the time that a screen shows an image. `give_way_s`: how long functions that never wait
    may block the event loop. `rest_every`, `rest_s`: how often, in iterations of the loop, and for how long such
    functions rest, because a loop that never waits leaves other threads little time. `first_words_s`: how long a stream
    may wait for an answer to begin, so that it can send both beginnings together; an answer that takes longer waits for
    a model, and this delay is not noticeable in addition.

    Readers. `tick_s`: how often silence is counted. `settle_poll_s`: how often a drain checks whether readers were sent
    everything. `shown_events`: how many events at once are handed to waiting readers; if there are more, readers take
    as many as they can send. `read_events`: how many events a reader takes at once.

    Log. `flush_after_s`: how soon published events are stored; it is below the promised 50 ms to leave time for the
    commit. `disk_after_s`, `max_off_disk`: for how long, and how many events of one log, may be stored without being on
    the disk. `max_unjournaled`: how many may be published but not stored. `max_off_disk` and `max_unjournaled` together
    are less than the jump of the numbering after a power failure. `kept_events`: how many filed events stay in memory
    for readers that lag or come back. `store_retry_s`: how soon storing is tried again after a failure.

    Turns. `commit_retry_s`: the pauses between attempts to commit a turn's end. `max_left_running`: how many stopped
    functions may still run before new turns are refused. `max_ended_stateless`: how many ended stateless turns can
    still be read.

    Memory. `max_idle_rooms`: how many unused rooms stay in memory. `max_cached_messages`: how many messages of branches
    stay in memory.

    The janitor. `sweep_every_s`: how often it cleans. `loose_files_kept_s`: how long an upload may wait to be sent with
    a message. `orphans_kept_s`: how long bytes may exist without a record, as those of an upload in progress do.
    `entries_per_sweep`: how many entries of the files folder one pass examines.
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
