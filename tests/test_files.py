"""The folder of stored bytes."""

import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.core.errors import AnswerInvalid, BodyTooLarge, StoreError
from chatserve.core.types import FilePart, LocalFile
from chatserve.stores.file_folder import MAX_NAME_BYTES, PIECE_BYTES, FileFolder, safe_name

FILE_ID = "f_abcdef"
HOUR_S = 3600.0


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def part(name: str = "a.txt", file_id: str = FILE_ID) -> FilePart:
    return FilePart(file_id, name, "text/plain", 1)


def everything_in(folder: FileFolder) -> list[str]:
    """Return `id/name` of all files, temporary ones included."""
    return sorted("/".join(path.parts[-2:]) for path in folder.root.rglob("*") if path.is_file())


async def content_of(folder: FileFolder, file: FilePart) -> list[bytes]:
    return [piece async for piece in await folder.open(file)]


def make_older(path: Path, seconds: float) -> None:
    """Let a folder and what lies in it be written that long ago."""
    for each in (path, *path.iterdir()):
        moment = each.stat().st_mtime - seconds
        os.utime(each, (moment, moment))


async def test_written_file_is_read_back_in_pieces_base64_can_join(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path / "files")
    content = bytes(range(256)) * 1000
    written = await folder.write(FILE_ID, "a.txt", pieces(content[:1000], content[1000:]), max_bytes=len(content))
    assert written == len(content)
    read = await content_of(folder, part())
    assert b"".join(read) == content
    assert {len(piece) for piece in read[:-1]} == {PIECE_BYTES}
    assert PIECE_BYTES % 3 == 0


async def test_path_of_a_file_ends_in_its_name_from_the_moment_it_is_there(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    await folder.write(FILE_ID, "../my photo.PNG", pieces(b"x"), max_bytes=9)
    path = Path(folder.path_of(part("../my photo.PNG")))
    assert (path.name, path.suffix, path.read_bytes()) == ("my photo.PNG", ".PNG", b"x")
    assert everything_in(folder) == [f"{FILE_ID}/my photo.PNG"]


async def test_file_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    with pytest.raises(BodyTooLarge):
        await folder.write(FILE_ID, "a.txt", pieces(b"12345", b"6"), max_bytes=5)
    assert list(tmp_path.iterdir()) == []


async def test_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "files").write_bytes(b"in the way")
    with pytest.raises(StoreError):
        await FileFolder(tmp_path / "files").write(FILE_ID, "a.txt", pieces(b"x"), max_bytes=5)


async def test_bytes_under_an_id_from_outside_never_replace_others(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    assert await folder.write_as(FILE_ID, "a.txt", b"mine")
    assert not await folder.write_as(FILE_ID, "a.txt", b"mine")
    for name, content in (("a.txt", b"yours"), ("b.txt", b"mine")):
        with pytest.raises(FileExistsError):
            await folder.write_as(FILE_ID, name, content)
    assert await content_of(folder, part()) == [b"mine"]
    assert everything_in(folder) == [f"{FILE_ID}/a.txt"]


async def test_removed_file_is_gone_with_what_was_put_beside_it_and_may_be_removed_again(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    await folder.write_as(FILE_ID, "a.txt", b"x")
    Path(folder.path_of(part())).with_suffix(".json").write_text("{}")
    for _ in range(2):
        await folder.remove([FILE_ID])
    assert everything_in(folder) == []
    with pytest.raises(FileNotFoundError):
        await folder.open(part())


async def test_answers_file_is_copied_with_its_name_and_type(tmp_path: Path) -> None:
    folder, source = FileFolder(tmp_path / "files"), tmp_path / "plot.png"
    source.write_bytes(b"png")
    with source.open("rb") as opened:
        assert await folder.store_local(FILE_ID, LocalFile(source), opened, 3) == ("plot.png", "image/png", 3)
    assert folder.id_at(Path(folder.path_of(part("plot.png")))) == FILE_ID
    assert (folder.id_at(folder.root / "x"), folder.id_at(source)) == ("", None)
    assert await content_of(folder, part("plot.png")) == [b"png"]
    file = LocalFile(b"ab", "a.bin", "x/y")
    assert await folder.store_local("f_bytes", file, BytesIO(b"ab"), 2) == ("a.bin", "x/y", 2)
    assert await content_of(folder, part("a.bin", "f_bytes")) == [b"ab"]


async def test_answers_file_that_grows_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path / "files")
    with pytest.raises(AnswerInvalid, match=r"larger than 2 bytes"):
        await folder.store_local(FILE_ID, LocalFile(tmp_path / "a.txt"), BytesIO(b"abc"), 2)
    assert list(folder.root.iterdir()) == []


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("a.txt", "a.txt"),
        ("Grüße 🎉.txt", "Grüße 🎉.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\x.png", "x.png"),
        ("a/..", "file"),
        (".", "file"),
        ("", "file"),
        ("a/", "file"),
        ("\x00.\x01.", "file"),
        ("a\x00\r\n\x85b.png", "ab.png"),
        ("lone \ud800.txt", "lone \ufffd.txt"),
        ("n" * 300 + ".jpeg", "n" * 135 + ".jpeg"),
        ("é" * 100 + ".png", "é" * 68 + ".png"),
        ("a." + "x" * 300, "a." + "x" * 138),
        ("." + "x" * 300, "." + "x" * 139),
    ],
)
def test_name_on_disk_is_one_safe_component_with_its_suffix(given: str, safe: str) -> None:
    assert safe_name(given) == safe


@given(st.text(st.characters() | st.sampled_from("./\\\0 "), max_size=400))
def test_any_name_makes_a_path_inside_its_own_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe not in {"", ".", ".."}
    assert not set(safe) & {"/", "\\", "\0"}
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert safe_name(safe) == safe
    assert Path(FileFolder(Path("/files")).path_of(part(name))).parent == Path("/files/ab") / FILE_ID


# --- what nothing names ------------------------------------------------------------------------------------------


async def everything_seen(folder: FileFolder, limit: int, *, leftovers_before: float = 0.0) -> list[str]:
    """Look at everything once, in steps; the folder holds fewer than a hundred entries."""
    seen: list[str] = []
    for _ in range(100 // limit):
        seen += await folder.next_ids(limit, leftovers_before=leftovers_before)
    return seen


async def test_folder_that_is_not_there_yet_has_no_ids(tmp_path: Path) -> None:
    assert await FileFolder(tmp_path / "files").next_ids(10, leftovers_before=0.0) == ()


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_round_after_round_sees_every_file_and_nothing_foreign(tmp_path: Path, limit: int) -> None:
    folder = FileFolder(tmp_path)
    ids = {f"f_{number:02}x" for number in range(9)} | {"f_a"}
    for file_id in ids:
        await folder.write_as(file_id, "a.txt", b"x")
    for foreign in ("notes", "ab/f_xyz", "longer/f_lo1", "f_f_1"):
        (tmp_path / foreign).mkdir(parents=True)
    for _ in range(2):
        assert set(await everything_seen(folder, limit)) == ids


async def test_one_look_is_bounded_and_the_next_goes_on_where_it_ended(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    for number in range(10):
        await folder.write_as(f"f_ab{number}", "a.txt", b"x")
    looks = [await folder.next_ids(4, leftovers_before=0.0) for _ in range(3)]
    assert [len(ids) for ids in looks] == [3, 4, 3]
    assert len(set().union(*looks)) == 10


async def test_leftovers_of_broken_uploads_go_when_they_are_old_and_uploads_in_flight_stay(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    for name in (".incoming-old", ".incoming-slow", ".incoming-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_bytes(b"x")
    now = (tmp_path / ".incoming-new").stat().st_mtime
    make_older(tmp_path / ".incoming-old", 2 * HOUR_S)
    make_older(tmp_path / ".incoming-slow", 2 * HOUR_S)
    (tmp_path / ".incoming-slow" / "a.txt").write_bytes(b"xy")
    assert await everything_seen(folder, 100, leftovers_before=now - HOUR_S) == []
    assert everything_in(folder) == [".incoming-new/a.txt", ".incoming-slow/a.txt"]


async def test_removal_by_age_spares_what_was_written_since(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    for file_id in ("f_old", "f_new", "f_again"):
        await folder.write_as(file_id, "a.txt", b"x")
    now = Path(folder.path_of(part(file_id="f_new"))).stat().st_mtime
    for file_id in ("f_old", "f_again"):
        make_older(Path(folder.path_of(part(file_id=file_id))).parent, 2 * HOUR_S)
    await folder.write_as("f_again", "a.txt", b"x")
    await folder.remove(["f_old", "f_new", "f_again", "f_none"], written_before=now - HOUR_S)
    assert everything_in(folder) == ["f_again/a.txt", "f_new/a.txt"]
