"""People at the pages: a demo process of its own for a running server, and what happens in their browser.

Screenshots stay in ``build/demo``. ``make browser`` installs Chromium on Debian.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.runtime.process import Chorale
from tests.serving import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SHOTS = Path(__file__).parents[2] / "build" / "demo"

BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: make browser"),
    pytest.mark.timeout(180),
]


@dataclass
class Visitor:
    """A page, and what went wrong on it."""

    page: "playwright.Page"
    troubles: list[str] = field(default_factory=list)

    def watch(self, home: str) -> None:
        self.page.on("console", lambda message: self._if(message.type == "error", f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("request", lambda request: self._if(not is_near(request.url, home), f"elsewhere: {request.url}"))

    def fill(self, text: str) -> None:
        self.page.locator("textarea:visible").first.fill(text)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).locator("visible=true").click()

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).locator("visible=true").click()

    def choose(self, label: str, option: str) -> None:
        """Of a dropdown."""
        self.page.get_by_label(label, exact=True).locator("visible=true").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def first_label(self, label: str) -> None:
        """Wait until the first bar is this label's."""
        bar = self.page.locator(".result").first.locator(".label").first
        playwright.expect(bar).to_have_text(label, timeout=20_000)

    def shoot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def _if(self, wrong: bool, what: str) -> None:
        if wrong:
            self.troubles.append(what)


def is_near(url: str, home: str) -> bool:
    return url.startswith((home, "data:", "blob:"))


@contextmanager
def demo(server: Chorale) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "services.runtime.cli", "demo", "--url", server.url, "--port", str(port)]
    process = subprocess.Popen([*command, "--grpc", f"127.0.0.1:{server.grpc_port}"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert b"Demo" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        process.stdout.close()


@contextmanager
def visiting(browser: "playwright.Browser", site: str, scheme: str = "light") -> Iterator[Visitor]:
    with browser.new_context(color_scheme=scheme, viewport={"width": 1200, "height": 950}) as context:
        visitor = Visitor(context.new_page())
        visitor.watch(site)
        visitor.page.goto(site)
        visitor.page.get_by_role("button", name=re.compile("Run|Send|Start")).first.wait_for()
        yield visitor
