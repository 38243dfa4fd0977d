"""The browser example in a real browser: words stream in, stop keeps what came, a reload goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import open_page
from tests.support.server import ROOT, Server, launch

EXAMPLE = "examples/browser/app.py"


@pytest.fixture
def page() -> Iterator[Page]:
    with open_page() as page:
        yield page


@contextmanager
def serve_page(tmp_path: Path, port: str = "0") -> Iterator[Server]:
    """Serve the example as its docstring says, on a SQLite file in `tmp_path`."""
    app_dir = str((ROOT / EXAMPLE).parent)
    uvicorn = ["-m", "uvicorn", "--app-dir", app_dir, "app:app", "--port", port]
    with launch(uvicorn, env={"CHATSERVE_STORE": f"sqlite:///{tmp_path}/chat.db"}, ready="/api/health/ready") as server:
        yield server


def say(page: Page, message: str) -> None:
    page.get_by_label("Message").fill(message)
    page.get_by_role("button", name="Send").click()


def test_words_stream_in_and_stop_keeps_what_came(page: Page, tmp_path: Path):
    with serve_page(tmp_path) as server:
        page.goto(server.url)
        say(page, "a lighthouse")
        expect(page.locator("article.user")).to_have_text("a lighthouse")
        answer = page.locator("article.assistant")
        expect(answer).to_contain_text("Once upon a time")
        page.get_by_role("button", name="Stop").click()
        expect(answer.locator(".note")).to_have_text("stopped")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        partial = answer.locator(".text").inner_text()
        assert "Once upon a time" in partial
        assert "another one?" not in partial
        page.reload()
        expect(answer.locator(".text")).to_have_text(partial)
        expect(answer.locator(".note")).to_have_text("stopped")


def test_a_reload_in_the_middle_of_an_answer_goes_on_with_it(page: Page, tmp_path: Path):
    with serve_page(tmp_path) as server:
        page.goto(server.url)
        say(page, "a reload")
        answer = page.locator("article.assistant")
        expect(answer).to_contain_text("Once upon a time")
        page.reload()
        expect(answer).to_contain_text("Once upon a time")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(answer).to_contain_text("That was story number 1. Shall I tell another one?")
        expect(page.locator("article")).to_have_count(2)


def test_a_second_tab_shows_the_same_words(page: Page, tmp_path: Path):
    with serve_page(tmp_path) as server:
        page.goto(server.url)
        say(page, "two tabs")
        expect(page.locator("article.assistant")).to_contain_text("Once upon a time")
        second = page.context.new_page()
        second.goto(server.url)
        expect(second.locator("article.assistant")).to_contain_text("Shall I tell another one?")
        expect(page.locator("article.assistant")).to_have_text(second.locator("article.assistant").inner_text())


def test_three_turns_across_a_restart_of_the_server(page: Page, tmp_path: Path):
    answers = page.locator("article.assistant")
    with serve_page(tmp_path) as server:
        port = server.url.rpartition(":")[2]
        page.goto(server.url)
        for number in (1, 2):
            say(page, f"turn {number}")
            expect(answers.last).to_contain_text(f"That was story number {number}.")
            expect(page.get_by_role("button", name="Send")).to_be_visible()
    with serve_page(tmp_path, port) as server:
        expect(page.get_by_role("status")).to_have_text("connected")
        say(page, "turn 3")
        expect(answers).to_have_count(3)
        expect(answers.last).to_contain_text("That was story number 3.")
