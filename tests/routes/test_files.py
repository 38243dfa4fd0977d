"""Files over HTTP: upload and download."""

import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatserve import ChatServer, File
from chatserve.routes import files as file_routes
from chatserve.routes.files import clean_name
from chatserve.routes.http.media_types import Sniffer
from tests.routes.service import history, problem, say, serving

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


async def test_raw_upload_is_downloaded_byte_for_byte(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann:
        made = await ann.post("/files?name=cat.png", content=PNG)
        assert made.status_code == 201
        file_id = made.json()["id"]
        assert made.headers["location"] == f"/files/{file_id}"
        assert made.json() | {"created_at": None} == {
            "id": file_id, "name": "cat.png", "media_type": "image/png", "size": 28, "url": f"/files/{file_id}",
            "created_at": None,
        }  # fmt: skip
        read = await ann.get(f"/files/{file_id}")
        assert read.content == PNG
        assert read.headers["content-type"] == "image/png"


async def test_multipart_upload_takes_the_field_file(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        form = {"file": ("notes.md", b"# Hi", "text/markdown")}
        made = await client.post("/files", files=form, data={"purpose": "x"})
        assert made.status_code == 201
        assert (made.json()["name"], made.json()["media_type"], made.json()["size"]) == ("notes.md", "text/markdown", 4)
        assert (await client.get(made.json()["url"])).content == b"# Hi"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"files": {"other": ("a", b"x")}}, (400, "body_invalid")),
        ({"files": {"file": (None, b"just text")}}, (400, "body_invalid")),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))]}, (400, "body_invalid")),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, (400, "body_invalid")),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, (400, "body_invalid")),
        ({"content": b"x", "headers": {"content-encoding": "gzip"}}, (415, "media_type_unsupported")),
    ],
)
async def test_upload_that_cannot_be_read_is_refused(
    tmp_path: Path, options: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert problem(await client.post("/files", **options)) == expected
        assert await service.stored_files() == []


async def test_multipart_without_its_parser_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_routes, "find_spec", lambda _name: None)
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.post("/files", files={"file": ("a", b"x")})
        assert problem(refused) == (415, "media_type_unsupported")
        assert "chatserve[uploads]" in refused.json()["detail"]
        assert (await client.post("/files?name=a", content=b"x")).status_code == 201


async def endless(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 10):
        yield b"x" * 10


async def test_upload_of_the_largest_size_is_taken_and_no_larger_one(tmp_path: Path) -> None:
    async with serving(tmp_path, max_upload_bytes=1000) as service, service.client() as client:
        for options in ({"content": b"x" * 1000}, {"content": endless(1000)}, {"files": {"file": ("a", b"x" * 1000)}}):
            assert (await client.post("/files", **options)).json()["size"] == 1000
        kept = await service.stored_files()
        for options in (
            {"content": b"x" * 1001},
            {"content": endless(2000)},
            {"files": {"file": ("a", b"x" * 1001)}},
            {"files": {"file": ("a", b"x" * 100_000)}},
        ):
            refused = await client.post("/files", **options)
            assert problem(refused) == (413, "body_too_large")
        assert await service.stored_files() == kept


async def test_empty_file_is_a_file(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        made = await client.post("/files?name=empty", content=b"")
        assert (made.status_code, made.json()["size"]) == (201, 0)
        assert (await client.get(made.json()["url"])).content == b""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\win.ini", "win.ini"),
        ("/etc/passwd", "passwd"),
        ("C:\\fakepath\\x.png", "x.png"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("a/", "file"),
        ("\x00\x01a\r\nSet-Cookie: x\x7f.txt", "aSet-Cookie: x.txt"),
        ("gpj.\u202etxt.exe", "gpj.txt.exe"),
        ("  spaced.txt ", "spaced.txt"),
        ("n" * 300 + ".jpeg", "n" * 250 + ".jpeg"),
        ("Grüße 🎉.txt", "Grüße 🎉.txt"),
        ("lone \ud800.txt", "lone \ufffd.txt"),
    ],
)
def test_name_is_cut_to_a_harmless_last_piece(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize("name", ["../../evil", "..%2F..%2Fevil", "/abs", "a\x00b"])
async def test_name_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        made = (await client.post("/files", params={"name": name}, content=b"x")).json()
        assert await service.stored_files() == [made["id"]]
        made = (await client.post("/files", files={"file": (name.replace("\x00", ""), b"x")})).json()
        assert made["id"] in await service.stored_files()
        assert len(await service.stored_files()) == 2


@pytest.mark.parametrize(
    ("content", "hints", "expected"),
    [
        (PNG, (), "image/png"),
        (PNG, ("text/html", "image/gif"), "image/png"),
        (b"\xff\xd8\xff\xe0..", (), "image/jpeg"),
        (b"GIF89a..", (), "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", (), "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", (), "audio/wav"),
        (b"RIFF\x10\0\0\0AVI LIST\0", (), "application/octet-stream"),
        (b"%PDF-1.7\n", (), "application/pdf"),
        (b"PK\x03\x04rest", (), "application/zip"),
        (b"PK\x03\x04rest", ("application/epub+zip",), "application/epub+zip"),
        (b"PK\x03\x04rest", ("application/java-archive",), "application/zip"),
        (b"\x1f\x8b\x08", (), "application/gzip"),
        (b"ID3\x04", (), "audio/mpeg"),
        (b"\xff\xfb\x90\x00", (), "audio/mpeg"),
        (b"OggS\0", (), "audio/ogg"),
        (b"\0\0\0\x18ftypmp42", (), "video/mp4"),
        (b"\0\0\0\x18ftypM4A ", (), "audio/mp4"),
        (b"\0\0\0\x18ftypavif", (), "image/avif"),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\x82\x84webm", (), "video/webm"),
        (b"\x1aE\xdf\xa3\x01B\x82\x88matroska", (), "application/octet-stream"),
        (b"plain words", (), "text/plain"),
        ("Grüße 🎉".encode(), (), "text/plain"),
        (b"\xef\xbb\xbfbom", (), "text/plain"),
        (b"a,b\n1,2", ("text/csv",), "text/csv"),
        (b'{"a": 1}', ("application/octet-stream", "application/json"), "application/json"),
        (b"<html><script>", ("text/html",), "text/plain"),
        (b"<svg onload=alert(1)>", ("image/svg+xml",), "text/plain"),
        (b"words\0words", ("text/plain",), "application/octet-stream"),
        (b"\x80\x81", ("text/plain", "image/png"), "application/octet-stream"),
        ("Grüße".encode("latin-1"), ("text/plain",), "application/octet-stream"),
        (b"MZ\x90\0\x03", ("image/png",), "application/octet-stream"),
        ("é".encode()[:1], ("text/plain",), "application/octet-stream"),
    ],
)
def test_type_is_told_by_the_bytes_however_they_are_cut(content: bytes, hints: tuple[str, ...], expected: str) -> None:
    for size in (1, 3, len(content)):
        sniffer = Sniffer()
        for start in range(0, len(content), size):
            sniffer.feed(content[start : start + size])
        assert sniffer.media_type(hints) == expected


@pytest.mark.parametrize(
    ("allowed", "content", "status"),
    [
        (("image/png",), PNG, 201),
        (("image/*",), PNG, 201),
        (("IMAGE/PNG",), PNG, 201),
        (("image/jpeg", "text/plain"), PNG, 415),
        (("image/png",), b"<script>", 415),
        ((), b"<script>", 201),
    ],
)
async def test_only_types_on_the_list_are_taken_whatever_the_client_says(
    tmp_path: Path, allowed: tuple[str, ...], content: bytes, status: int
) -> None:
    async with serving(tmp_path, upload_types=allowed) as service, service.client() as client:
        headers = {"content-type": "image/png"}
        made = await client.post("/files?name=x.png", content=content, headers=headers)
        assert made.status_code == status
        assert len(await service.stored_files()) == (status == 201)


async def test_download_is_never_shown_as_a_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        url = (await client.post("/files", params={"name": 'Grüße "x";.txt'}, content=b"words")).json()["url"]
        headers = (await client.get(url)).headers
        assert headers["content-disposition"] == (
            "attachment; filename=\"Gr__e _x__.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22x%22%3B.txt"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "private, no-cache"


async def test_download_that_is_known_is_not_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        url = (await client.post("/files", content=b"words")).json()["url"]
        tag = (await client.get(url)).headers["etag"]
        for known in (tag, f'"x", W/{tag}'):
            again = await client.get(url, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
        assert (await client.get(url, headers={"if-none-match": '"x"'})).status_code == 200


async def test_range_of_a_file_is_sent_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        url = (await client.post("/files", content=b"0123456789")).json()["url"]
        part = await client.get(url, headers={"range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert part.headers["content-range"] == "bytes 2-4/10"
        assert (await client.get(url, headers={"range": "bytes=20-"})).status_code == 416


@pytest.mark.parametrize("file_id", ["f_none", "..%2f..%2fchat.db", "%00"])
async def test_unknown_file_is_not_found(tmp_path: Path, store: str, file_id: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        assert (await client.get(f"/files/{file_id}")).status_code == 404


async def test_file_whose_bytes_are_gone_is_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        made = (await client.post("/files", content=b"x")).json()
        await service.lose_bytes(made["id"])
        assert problem(await client.get(made["url"])) == (404, "file_unknown")


async def test_foreign_file_is_an_unknown_one_everywhere(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client("ann") as ann, service.client("bob") as bob:
        file_id = (await ann.post("/files", content=b"secret")).json()["id"]
        part = {"type": "file", "file_id": file_id, "name": "x", "media_type": "text/plain", "size": 1}
        given = [{"role": "user", "content": [part]}]
        sent = {"text": "", "files": [file_id]}
        for asked in (
            bob.get(f"/files/{file_id}"),
            bob.post("/chat/multi", json={"message": sent}),
            bob.post("/chat/multi", json={"message": "x", "history": given}),
            bob.post("/sessions", json={"history": given}),
        ):
            assert problem(await asked) == (404, "file_unknown")
        assert (await bob.get("/sessions")).json()["items"] == []
        with_file = await bob.post("/chat/multi", json={"message": {"text": file_id}})
        assert problem(with_file) == (500, "answer_invalid")


async def test_what_is_claimed_of_a_file_is_replaced_by_what_is_known(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        file_id = (await client.post("/files?name=a.txt", content=b"words")).json()["id"]
        claimed = {"type": "file", "file_id": file_id, "name": "x.exe", "media_type": "text/html", "size": 99}
        known = {
            "type": "file", "file_id": file_id, "name": "a.txt", "media_type": "text/plain", "size": 5,
            "url": f"/files/{file_id}",
        }  # fmt: skip
        given = [{"role": "user", "content": [claimed]}]
        session_id = (await client.post("/sessions", json={"history": given})).json()["session_id"]
        assert await history(client, session_id) == [("user", [known])]
        stateless = await client.post("/chat/multi", json={"message": "", "history": given})
        assert stateless.json()["text"] == "words"
        answer = await say(client, {"text": file_id}, chat="multi")
        assert answer["messages"][0]["content"] == [known]


async def test_function_is_given_paths_that_end_in_the_files_names(tmp_path: Path, store: str) -> None:
    app = ChatServer(store=store, files_dir=str(tmp_path / "files"))

    @app.chat(multimodal=True)
    def predict(message: dict[str, Any], history: list[dict[str, Any]]) -> Any:
        earlier = [part["file"]["path"] for entry in history for part in entry["content"] if part["type"] == "file"]
        given = [*earlier, *message["files"]]
        words = [f"{Path(path).stem} is {mimetypes.guess_type(path)[0]}" for path in given if path.endswith(".png")]
        return [", ".join(words), *map(File, message["files"])]

    await app.start()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
            uploads = [
                await client.post("/files", params={"name": "../a cat.png"}, content=PNG),
                await client.post("/files", files={"file": ("dog.png", PNG)}),
                await client.post("/files?name=notes.txt", content=b"x"),
            ]
            sent = {"text": "", "files": [upload.json()["id"] for upload in uploads]}
            first = await say(client, sent, chat="predict")
            second = await say(client, {"text": "", "files": []}, first["session_id"], chat="predict")
    finally:
        await app.stop()
    assert first["messages"][0]["content"] == "a cat is image/png, dog is image/png"
    assert [message["content"][0]["name"] for message in first["messages"][1:]] == ["a cat.png", "dog.png", "notes.txt"]
    assert second["messages"][0]["content"] == ", ".join([first["messages"][0]["content"]] * 2)


async def test_upload_for_a_session_goes_with_it(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        url = (await client.post(f"/files?session_id={session_id}", content=b"x")).json()["url"]
        assert (await client.get(url)).status_code == 200
        await client.delete(f"/sessions/{session_id}")
        assert (await client.get(url)).status_code == 404
        assert await service.stored_files() == []


async def test_upload_for_an_unknown_session_stores_nothing(tmp_path: Path, store: str) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        assert problem(await client.post("/files?session_id=s_none", content=b"x")) == (404, "session_unknown")
        assert await service.stored_files() == []
