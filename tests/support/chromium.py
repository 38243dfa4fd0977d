"""The headless Chromium of the machine, driven by Playwright; no browser is downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

from tests.support.programs import require_program

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 15_000


@contextmanager
def open_page() -> Iterator[Page]:
    """Open an empty page in a browser of its own; a script error in it fails the test.

    Skips the test, or under CI fails it, where Chromium is missing.
    """
    executable = require_program("chromium", "chromium-browser", "google-chrome")
    expect.set_options(timeout=WAIT_MS)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        page = browser.new_context().new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    assert errors == []
