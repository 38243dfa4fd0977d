"""What each format's client is sent, byte for byte, is what the golden transcripts say.

After a change on purpose: `python -m tests.formats.golden --write`, and read the difference as a reviewer would.
"""

import re
from itertools import product

import pytest

from chatserve.formats.wire import WIRE_FORMATS
from tests.formats.golden import FOLDER, path_of, stream_twice, transcribe
from tests.formats.golden_rows import ROWS, FormatRow
from tests.formats.scenarios import SCENARIOS, Scenario

PAIRS = [pytest.param(*pair, id=f"{pair[0].name}-{pair[1].name}") for pair in product(ROWS, SCENARIOS)]


@pytest.mark.parametrize(("row", "scenario"), PAIRS)
async def test_answer_is_sent_as_the_transcript_says(row: FormatRow, scenario: Scenario) -> None:
    transcript = await transcribe(row, scenario)
    path = path_of(row, scenario)
    assert path.is_file(), f"no transcript; write it with: python -m tests.formats.golden --write {row.name}"
    assert transcript.text.decode("utf-8", "replace") == path.read_bytes().decode("utf-8", "replace")
    assert transcript.text == path.read_bytes()
    last_frame = transcript.streamed.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2].decode()
    assert re.search(row.end, last_frame), "a stream must never end without saying so"


REPEATED = [
    pytest.param(row, scenario, id=f"{row.name}-{scenario.name}")
    for row, scenario in product(ROWS, SCENARIOS)
    if row.name != "gradio" and scenario.ends in {"itself", "stop"}  # its queue tells each turn once
]


@pytest.mark.parametrize(("row", "scenario"), REPEATED)
async def test_stream_asked_for_again_is_the_same(row: FormatRow, scenario: Scenario) -> None:
    """All ids and times come from the log; the only difference is which request it was."""
    first, second = (re.sub(rb'req_\d+|"?retry"?: \d+', b"", body) for body in await stream_twice(row, scenario))
    assert first == second


def test_every_format_has_a_row() -> None:
    assert {row.format_name for row in ROWS} == {"native", "plain", *WIRE_FORMATS}


def test_no_transcript_is_left_over() -> None:
    expected = {path_of(row, scenario) for row, scenario in product(ROWS, SCENARIOS)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} == expected
