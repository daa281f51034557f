"""The documentation's site (`make docs`) in a real browser; skipped where there is neither."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Chromium, found

SITE = Path(__file__).parents[2] / "site"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(found() is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site: make docs"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


def wait_for(browser: Chromium, expression: str) -> Any:
    """Return the value of an expression once it is true."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if value := browser.tell(expression):
            return value
        time.sleep(0.05)
    raise TimeoutError(expression)


def test_a_word_is_searched_and_its_page_found(address: str, tmp_path: Path) -> None:
    browser = Chromium(tmp_path / "profile")
    try:
        browser.call("Page.navigate", url=address)
        wait_for(browser, "document.readyState === 'complete' && !!window.__md_get")
        assert "disttrain" in browser.tell("document.title")
        browser.tell("document.querySelector('[name=query]').focus()")
        browser.call("Input.insertText", text="safetensors")
        links = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.pathname)"
        wait_for(browser, f"{links}.length > 0")
        assert "/interop/" in browser.tell(links)
        first = browser.tell("document.querySelector('.md-search-result__link').href")
        browser.call("Page.navigate", url=first)
        shown = "document.querySelector('article')?.textContent.includes('safetensors')"
        assert wait_for(browser, f"location.href === {first!r} && {shown}")
        # Nothing comes from elsewhere, and nothing failed to load.
        assert browser.errors == []
    finally:
        browser.close()
