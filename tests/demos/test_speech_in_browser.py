"""Speech recognition as people use it: a recording, and a microphone that hears one."""

import subprocess
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from services.core.audio import SPEECH_RATE, decode
from services.tasks.asr import EXAMPLE
from tests.demos.visitor import BROWSER, CHROMIUM, Visitor, demo, playwright, visiting
from tests.runtime.process import Chorale, chorale

pytestmark = [*BROWSER, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Chorale]:
    with chorale("--in-process", "--tasks", "asr", timeout=280) as running:
        yield running


@pytest.fixture(scope="module")
def site(server: Chorale) -> Iterator[str]:
    with demo(server) as url:
        yield url


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with silence after it: a microphone that plays it over and over."""
    samples = np.concatenate((decode(EXAMPLE.audio), np.zeros(3 * SPEECH_RATE, np.float32)))
    file = tmp_path_factory.mktemp("microphone") / "recording.wav"
    with wave.open(str(file), "wb") as found:
        found.setnchannels(1)
        found.setsampwidth(2)
        found.setframerate(SPEECH_RATE)
        found.writeframes((32767 * samples).astype("<i2").tobytes())
    return file


@contextmanager
def hearing(browser: "playwright.Browser", recording: Path, site: str, *arguments: str) -> Iterator[Visitor]:
    """A visitor with such a microphone: one more browser."""
    microphone = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={recording}"]
    options = ["--no-sandbox", *microphone, *arguments]
    with (
        browser.browser_type.launch(executable_path=CHROMIUM, args=options) as chromium,
        visiting(chromium, site) as visitor,
    ):
        yield visitor


def test_an_example_is_written_down_and_its_call_works(
    browser: "playwright.Browser", site: str, server: Chorale, recording: Path
) -> None:
    with visiting(browser, site) as visitor:
        visitor.open("Transcribe")
        visitor.page.get_by_label("Play", exact=True).locator("visible=true").wait_for()
        visitor.press("Options")
        visitor.page.get_by_label("word_times").check()
        visitor.press("Run")
        result = visitor.page.locator(".result:visible")
        playwright.expect(result.locator(".transcript")).to_contain_text("your country", timeout=30_000)
        assert result.locator("rect").count() > result.locator("td:first-child").count()
        assert "your country" in httpx.URL(result.locator("a").first.get_attribute("href") or "").path
        call = visitor.page.locator(".cm-content:visible").inner_text()
        visitor.shoot("transcribe")
        assert visitor.troubles == []
    done = subprocess.run(["bash", "-c", call], cwd=recording.parent, capture_output=True, check=True, timeout=30)
    assert "your country" in httpx.Response(200, content=done.stdout).json()["text"]


def test_who_speaks_reads_along(browser: "playwright.Browser", site: str, recording: Path) -> None:
    with hearing(browser, recording, site, "--use-fake-ui-for-media-stream") as visitor:
        visitor.press("Start")
        page = visitor.page
        playwright.expect(page.locator(".interim")).not_to_be_empty(timeout=30_000)
        playwright.expect(page.locator(".said")).to_contain_text("your country", timeout=30_000)
        visitor.shoot("live")
        visitor.press("Stop")
        playwright.expect(page.locator(".live .state")).to_have_text("That is all. Press Start to speak again.")
        playwright.expect(page.locator(".interim")).to_be_empty()
        page.get_by_label("language").locator("visible=true").fill("de")
        visitor.press("Start")
        playwright.expect(page.locator(".live .state")).to_contain_text("de", timeout=15_000)
        visitor.page.get_by_role("button", name="Start").wait_for()
        assert visitor.troubles == []


def test_without_a_microphone_it_says_so(browser: "playwright.Browser", site: str, recording: Path) -> None:
    with hearing(browser, recording, site, "--deny-permission-prompts") as visitor:
        visitor.press("Start")
        playwright.expect(visitor.page.locator(".live .state")).to_contain_text("No microphone", timeout=15_000)
        assert visitor.troubles == []
