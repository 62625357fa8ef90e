"""A real browser for the tests: Debian's Chromium, and what went wrong in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever would ask elsewhere does not get there, and is seen as a request that failed.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it, with a profile of its own that goes with it."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium, as tools/setup.sh does as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """Somebody in front of a page of the server at `url`."""

    url: str
    context: BrowserContext
    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    """What the console may say in this test, since it is about that."""

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def log_in(self, token: str) -> None:
        self.go("/login")
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")
        self.page.wait_for_url(f"{self.url}/")

    def wait_live(self) -> None:
        """Wait until the event stream is open."""
        self.page.locator("#pulse[data-state=on]").wait_for()

    def check(self) -> None:
        """Nothing went wrong that the test is not about, and nobody else was asked for anything."""
        wrong = [it for it in self.errors if not any(part in it for part in self.refused)]
        assert not wrong, wrong
        elsewhere = [it for it in self.requests if not it.startswith((f"{self.url}/", "data:"))]
        assert not elsewhere, elsewhere


@contextmanager
def visiting(browser: Browser, url: str, **options: object) -> Iterator[Visitor]:
    """Give somebody without a session; check afterwards that all went well."""
    context = browser.new_context(**options)
    context.set_default_timeout(30_000)
    visitor = Visitor(url, context, context.new_page())
    context.on("request", lambda request: visitor.requests.append(request.url))
    context.on("console", lambda said: said.type == "error" and visitor.errors.append(said.text))
    context.on("weberror", lambda error: visitor.errors.append(str(error.error)))
    try:
        yield visitor
        visitor.check()
    finally:
        context.close()
