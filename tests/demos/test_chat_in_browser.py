"""The chat as people use it: the bundled model with its adapters, real pages, a real browser."""

import re
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from services.clients import RestClient
from services.tasks.llm import GENERATE, GenerateRequest, Message
from tests.demos.visitor import BROWSER, Visitor, demo, playwright, visiting
from tests.runtime.process import Chorale, chorale

pytestmark = BROWSER

FACTS = re.compile(r"^(tiny-lm@1(?::\w+@1)?): (\d+) tokens, the first after \d+\.\d\d s, then \d+ tokens/s")


@pytest.fixture(scope="module")
def server() -> Iterator[Chorale]:
    with chorale("--in-process", "--tasks", "llm", timeout=280) as running:
        yield running


@pytest.fixture(scope="module")
def site(server: Chorale) -> Iterator[str]:
    with demo(server) as url:
        yield url


def facts(visitor: Visitor) -> tuple[str, int]:
    """Who answered, and with how many tokens, once that stands there."""
    line = visitor.page.locator(".facts:visible")
    playwright.expect(line).to_have_text(FACTS, timeout=20_000)
    found = FACTS.match(line.inner_text())
    assert found
    return found[1], int(found[2])


def said(visitor: Visitor, who: str) -> "playwright.Locator":
    return visitor.page.locator(f".message.{who}:visible")


def answer(server: Chorale, **fields: object) -> str:
    with RestClient(server.url) as client:
        request = GenerateRequest(max_tokens=48, temperature=0.0, **fields)
        return client.call(GENERATE, request).choices[0].text


def metric(server: Chorale, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(name, line))


def until(true: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_example_is_answered(browser: "playwright.Browser", site: str, server: Chorale, scheme: str) -> None:
    with visiting(browser, site, scheme) as visitor:
        visitor.press("Send")
        question = Message(role="user", content="Tell me a story about a cat.")
        playwright.expect(said(visitor, "user")).to_have_text(question.content)
        playwright.expect(said(visitor, "bot")).to_have_text(answer(server, messages=(question,)), timeout=20_000)
        assert facts(visitor)[0] == "tiny-lm@1"
        visitor.shoot(f"chat-{scheme}")
        assert visitor.troubles == []


@pytest.mark.slow
def test_an_adapter_goes_on_with_a_text(browser: "playwright.Browser", site: str, server: Chorale) -> None:
    with visiting(browser, site) as visitor:
        visitor.page.get_by_text("Once upon a time").locator("visible=true").click()
        playwright.expect(visitor.page.get_by_label("system", exact=True).locator("visible=true")).to_have_count(0)
        visitor.choose("model", "tiny-lm@1:shakespeare@1")
        visitor.page.get_by_label("max_tokens").locator("visible=true").fill("48")
        visitor.press("Send")
        expected = answer(server, prompt="Once upon a time", model="tiny-lm:shakespeare")
        playwright.expect(said(visitor, "bot")).to_have_text(expected, timeout=20_000)
        assert facts(visitor)[0] == "tiny-lm@1:shakespeare@1"
        assert visitor.troubles == []


def test_texts_are_shown_as_they_are(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        text = "<b>x</b> ![y](https://elsewhere.example/z.png) <img src=https://elsewhere.example/z.png>\n  *two*"
        visitor.fill(text)
        visitor.press("Send")
        facts(visitor)
        assert said(visitor, "user").inner_text().strip() == text
        assert visitor.troubles == []


@pytest.mark.parametrize("leave", ["Stop", "Clear", "close the page"])
def test_whoever_stops_reading_stops_the_work(
    browser: "playwright.Browser", site: str, server: Chorale, leave: str
) -> None:
    cancelled = 'chorale_request_seconds_count{.*outcome="cancelled"'
    until(lambda: not metric(server, "chorale_inflight"))  # those who came before have left
    before = metric(server, cancelled)
    with visiting(browser, site) as visitor:
        visitor.page.get_by_text("Plain completion").click()
        visitor.fill("The prisoners")
        visitor.page.get_by_label("max_tokens").locator("visible=true").fill("500")
        visitor.press("Send")
        facts(visitor)
        if leave != "close the page":
            visitor.press(leave)
            # The page takes no question while one is being answered.
            until(lambda: metric(server, cancelled) == before + 1)
            visitor.fill("Again")
            visitor.page.get_by_label("max_tokens").locator("visible=true").fill("3")
            visitor.press("Send")
            playwright.expect(said(visitor, "user")).to_have_count({"Stop": 2, "Clear": 1}[leave])
            playwright.expect(visitor.page.locator(".facts:visible")).to_contain_text("3 tokens", timeout=20_000)
        assert visitor.troubles == []
    until(lambda: metric(server, cancelled) == before + 1 and not metric(server, "chorale_running_sequences"))


def test_what_the_server_refuses_is_told_and_can_be_tried_again(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        visitor.page.get_by_label("max_tokens").locator("visible=true").fill("5000")
        visitor.press("Send")
        alert = visitor.page.get_by_role("alert")
        playwright.expect(alert).to_contain_text("max_tokens")
        playwright.expect(said(visitor, "user")).to_have_count(0)
        visitor.page.get_by_label("max_tokens").locator("visible=true").fill("5")
        visitor.press("Send")
        assert facts(visitor)[1] <= 5
        playwright.expect(alert).to_have_count(0)
        assert visitor.troubles == []
