"""A Space's page in a real Chromium, driven by playwright: opening it, drawing, taking its pictures."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chromium import CHROMIUM
from tests.support.wait import wait_until


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser: Browser, url: str, *, versions: bool = True, **looks: Any) -> Page:
    """The page, when its model is loaded; `versions` are others that it can compare with."""
    page = browser.new_context(**looks).new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    wait_until(lambda: _listens(url), every=0.1)
    page.goto(url)
    expect(page.locator("#notice")).not_to_contain_text("Loading", timeout=120_000)
    if versions:
        expect(page.locator("#compare input")).to_be_enabled(timeout=120_000)
    return page


def _listens(url: str) -> bool:
    """Whether the server has opened its port."""
    address = urlsplit(url)
    try:
        socket.create_connection((str(address.hostname), address.port or 80), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def fill_seed(page: Page, seed: int) -> None:
    page.locator("#new-seed input").uncheck()
    page.locator("#seed input").fill(str(seed))


def draw(page: Page, seed: int, where: str = "#gallery") -> list[bytes]:
    """Press Draw; the pictures' bytes."""
    page.locator("#message").evaluate("element => element.querySelector('.line').textContent = ''")
    page.locator("#draw").click()
    expect(page.locator("#message")).to_contain_text(re.compile(rf" s, seed {seed}\b"), timeout=60_000)
    return pictures(page, where)


def pictures(page: Page, where: str) -> list[bytes]:
    sources = page.locator(f"{where} .grid-container img").evaluate_all("found => found.map(image => image.src)")
    assert sources
    return [page.request.get(source).body() for source in sources]
