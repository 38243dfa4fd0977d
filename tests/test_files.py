"""The folder of stored bytes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserve.errors import AnswerInvalid, BodyTooLarge
from chatserve.files import PIECE_BYTES, FileFolder
from chatserve.types import LocalFile

FILE_ID = "f_abcdef"


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def everything_in(folder: FileFolder) -> list[str]:
    return sorted(path.name for path in folder.root.rglob("*") if path.is_file())


async def content_of(folder: FileFolder, file_id: str) -> list[bytes]:
    return [piece async for piece in await folder.open(file_id)]


async def test_written_file_is_read_back_in_pieces_base64_can_join(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path / "files")
    content = bytes(range(256)) * 1000
    assert await folder.write(FILE_ID, pieces(content[:1000], content[1000:]), max_bytes=len(content)) == len(content)
    read = await content_of(folder, FILE_ID)
    assert b"".join(read) == content
    assert {len(piece) for piece in read[:-1]} == {PIECE_BYTES}
    assert PIECE_BYTES % 3 == 0


async def test_file_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    with pytest.raises(BodyTooLarge):
        await folder.write(FILE_ID, pieces(b"12345", b"6"), max_bytes=5)
    assert everything_in(folder) == []


async def test_bytes_under_an_id_from_outside_never_replace_others(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    assert await folder.write_as(FILE_ID, b"mine")
    assert not await folder.write_as(FILE_ID, b"mine")
    with pytest.raises(FileExistsError):
        await folder.write_as(FILE_ID, b"yours")
    assert await content_of(folder, FILE_ID) == [b"mine"]
    assert everything_in(folder) == [FILE_ID]


async def test_removed_file_is_gone_and_may_be_removed_again(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path)
    await folder.write_as(FILE_ID, b"x")
    for _ in range(2):
        await folder.remove([FILE_ID])
    with pytest.raises(FileNotFoundError):
        await folder.open(FILE_ID)


async def test_answers_file_is_copied_with_its_name_and_type(tmp_path: Path) -> None:
    folder, source = FileFolder(tmp_path / "files"), tmp_path / "plot.png"
    source.write_bytes(b"png")
    assert await folder.store_local(FILE_ID, LocalFile(source)) == ("plot.png", "image/png", 3)
    assert await content_of(folder, FILE_ID) == [b"png"]
    assert await folder.store_local("f_bytes", LocalFile(b"ab", "a.bin", "x/y")) == ("a.bin", "x/y", 2)


@pytest.mark.parametrize("name", ["missing", "."])
async def test_answers_file_that_cannot_be_read_leaves_nothing(tmp_path: Path, name: str) -> None:
    folder = FileFolder(tmp_path / "files")
    with pytest.raises(AnswerInvalid):
        await folder.store_local(FILE_ID, LocalFile(tmp_path / name))
    assert everything_in(folder) == []
