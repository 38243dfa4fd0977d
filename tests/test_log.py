"""The live end of a log: who waits gets what is next and his, and whose words those are is never forgotten."""

from collections.abc import Sequence

from chatserve.contracts.formats import FrameEncoder
from chatserve.core.events import Delta, MessageOpened, NumberedEvent, StatusReported
from chatserve.engine import Pace
from chatserve.engine.log.log import SessionLog
from chatserve.formats.wire.native import NativeEncoder

NATIVE = NativeEncoder()

PACE = Pace(shown_events=2)


class Listener:
    """Waits, and keeps what it is handed. `waits_on`: after it was handed something, too."""

    def __init__(self, seq: int, turn_id: str | None = None, *, waits_on: bool = False) -> None:
        self.seq = seq
        self.turn_id = turn_id
        self.encoder: FrameEncoder = NATIVE
        self.handed: list[bytes] = []
        self.waits_on = waits_on

    def hand(self, frames: bytes) -> bool:
        self.handed.append(frames)
        return self.waits_on

    def fail(self, error: Exception) -> None:
        raise error


def log_of(turn_id: str, *texts: str, base: int = 4) -> SessionLog:
    """Return a log in which a turn has said these words, all shown."""
    log = SessionLog("s_1", base, PACE)
    log.append(turn_id, [MessageOpened("m_1", "assistant"), *map(Delta, texts)])
    log.show()
    return log


def frame(seq: int, text: str) -> bytes:
    return NATIVE.encode(NumberedEvent(seq, "t_1", Delta(text)))


def texts_of(events: Sequence[NumberedEvent]) -> list[tuple[int, str | None, str]]:
    return [(each.seq, each.turn_id, each.event.text) for each in events if isinstance(each.event, Delta)]


def test_word_is_handed_to_those_that_wait_for_it_and_the_others_look_for_themselves() -> None:
    log = log_of("t_1", "a")
    follows_turn, follows_session = Listener(6, "t_1"), Listener(6)
    other_turn, behind, ahead = Listener(6, "t_2"), Listener(5, "t_1"), Listener(9, "t_1")
    log.waiters = [follows_turn, other_turn, follows_session, behind, ahead]
    log.say("b")
    assert [each.handed for each in (follows_turn, follows_session)] == [[frame(7, "b")]] * 2
    assert [each.handed for each in (other_turn, behind, ahead)] == [[b""]] * 3
    assert [each.seq for each in (follows_turn, other_turn, behind, ahead)] == [7, 6, 5, 9]
    assert (log.waiters, log.published_seq, log.last_seq) == ([], 7, 7)


def test_all_that_is_new_is_handed_to_those_that_wait_for_it() -> None:
    log = log_of("t_1", "a")
    waits, behind = Listener(6), Listener(5)
    log.waiters = [waits, behind]
    log.append("t_1", [Delta("b"), Delta("c")])
    log.show()
    assert (waits.handed, waits.seq) == ([frame(7, "b") + frame(8, "c")], 8)
    assert (behind.handed, behind.seq) == ([b""], 5)


def test_who_waits_on_is_handed_all_and_who_does_not_is_left_out() -> None:
    log = log_of("t_1", "a")
    waits_on, once, fails = Listener(6, waits_on=True), Listener(6), Failing(6)
    log.waiters = [once, waits_on, fails]
    log.say("b")
    assert log.waiters == [waits_on]
    log.append("t_1", [Delta("c")])
    log.show()
    log.say("d")
    assert waits_on.handed == [frame(7, "b"), frame(8, "c"), frame(9, "d")]
    assert (once.handed, fails.failures, log.waiters) == ([frame(7, "b")], 1, [waits_on])


class Failing(Listener):
    """Can be handed nothing."""

    failures = 0

    def hand(self, frames: bytes) -> bool:
        raise ValueError("no")

    def fail(self, error: Exception) -> None:
        self.failures += 1


def test_too_much_at_once_is_left_to_be_taken() -> None:
    log = log_of("t_1", "a")
    waits = Listener(6)
    log.waiters = [waits]
    log.append("t_1", [Delta("b"), Delta("c"), Delta("d")])
    log.show()
    assert (waits.handed, waits.seq, log.published_seq) == ([b""], 6, 9)


async def test_log_is_open_to_who_speaks_while_nothing_is_unshown_reserved_or_far_from_stored() -> None:
    log = log_of("t_1", "a")
    assert (log.is_open_to("t_1"), log.is_open_to("t_2")) == (True, False)
    async with log.numbering:
        assert not log.is_open_to("t_1")
    log.append("t_1", [StatusReported("hm")])
    assert not log.is_open_to("t_1")
    log.show()
    assert log.is_open_to("t_1")
    log.journaled_seq = log.last_seq - PACE.max_unjournaled
    assert not log.is_open_to("t_1")


def test_whose_words_are_kept_is_known_after_older_ones_are_forgotten() -> None:
    log = log_of("t_1", "a", "b", base=0)
    log.append("t_2", [MessageOpened("m_2", "assistant"), Delta("c"), Delta("d")])
    log.append("t_3", [MessageOpened("m_3", "assistant"), Delta("e")])
    everything = [(2, "t_1", "a"), (3, "t_1", "b"), (5, "t_2", "c"), (6, "t_2", "d"), (8, "t_3", "e")]
    for filed_seq in (0, 2, 3, 4, 5, 6, 7):
        log.filed_seq = filed_seq
        log.forget_filed()
        assert texts_of(log.numbered(log.base, log.last_seq)) == [each for each in everything if each[0] > filed_seq]
