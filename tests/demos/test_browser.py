"""The demo site as people use it: a real server, real pages, a real browser."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from services.clients import RestClient
from tests.demos.visitor import BROWSER, demo, playwright, visiting
from tests.runtime.process import Chorale, chorale
from tests.serving import free_port

pytestmark = BROWSER


@pytest.fixture(scope="module")
def server() -> Iterator[Chorale]:
    with chorale("--in-process", "--tasks", "classification,echo,translation", timeout=280) as running:
        yield running


@pytest.fixture(scope="module")
def site(server: Chorale) -> Iterator[str]:
    with demo(server) as url:
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fill_press_and_read_the_label(browser: "playwright.Browser", site: str, scheme: str) -> None:
    with visiting(browser, site, scheme) as visitor:
        visitor.fill("I adore this <b>wonderful</b> film.\nWhat a terrible, boring mess.")
        visitor.press("Run")
        visitor.first_label("positive")
        results = visitor.page.locator(".result")
        assert results.count() == 2
        assert results.nth(0).locator(".text").inner_text() == "I adore this <b>wonderful</b> film."
        assert results.nth(1).locator(".label").first.inner_text() == "negative"
        score = float(results.nth(0).locator(".score").first.inner_text().removesuffix("%"))
        assert 50 < score <= 100
        visitor.shoot(f"classify-{scheme}")
        assert visitor.troubles == []


def test_the_models_are_named_with_their_scores(browser: "playwright.Browser", site: str, server: Chorale) -> None:
    with RestClient(server.url) as client:
        (model,) = [model for model in client.models() if model.task == "classification"]
    with visiting(browser, site) as visitor:
        said = visitor.page.locator(".models").first.inner_text()
    assert model.id in said
    assert f"{model.scores[0].value:.4g}" in said
    assert model.licence in said


def test_an_example_is_a_click_away_and_options_count(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        visitor.page.get_by_text("The delivery was late").locator("visible=true").click()
        playwright.expect(visitor.page.locator("textarea:visible").first).to_have_value(re.compile("Not bad at all"))
        visitor.press("Run")
        visitor.first_label("negative")
        bars = visitor.page.locator(".result").nth(1).locator(".bar")
        playwright.expect(bars).to_have_count(1)  # top_k of the example
        assert visitor.troubles == []


def test_the_calls_under_an_answer_give_that_answer(browser: "playwright.Browser", site: str, server: Chorale) -> None:
    with visiting(browser, site) as visitor:
        visitor.fill('It\'s a "quoted" $HOME sentence.')
        visitor.press("Run")
        visitor.page.locator(".result").first.wait_for()
        calls = {}
        for label in ("curl", "grpcurl", "Python"):
            visitor.open(label)
            calls[label] = visitor.page.locator(".cm-content:visible").inner_text()
        shown = visitor.page.locator(".result .label").first.inner_text()
    expected = httpx.post(f"{server.url}/v1/classify", json={"text": 'It\'s a "quoted" $HOME sentence.'}).json()
    assert expected["results"][0]["labels"][0]["label"] == shown
    curl = subprocess.run(["bash", "-c", calls["curl"]], capture_output=True, text=True, check=True, timeout=20)
    assert httpx.Response(200, text=curl.stdout).json() == expected
    python = subprocess.run([sys.executable, "-c", calls["Python"]], capture_output=True, text=True, check=True)
    assert python.stdout.strip() == str(expected)
    assert calls["grpcurl"].endswith(" chorale.classification.v1.ClassificationService/Classify")
    assert f"127.0.0.1:{server.grpc_port}" in calls["grpcurl"]


def test_errors_are_sentences(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        visitor.fill("  ")
        visitor.press("Run")
        alert = visitor.page.get_by_role("alert")
        playwright.expect(alert).to_contain_text("give some text")
        playwright.expect(alert).to_contain_text("INVALID_ARGUMENT")
        visitor.shoot("error")
        visitor.fill("Lovely.")
        visitor.press("Run")
        visitor.first_label("positive")
        playwright.expect(alert).to_have_count(0)
        assert visitor.troubles == []


def test_a_task_without_a_view_shows_its_answer_as_it_came(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        visitor.open("Echo")
        visitor.fill("is it <i>you</i>?")
        visitor.press("Run")
        playwright.expect(visitor.page.locator(".json-holder:visible")).to_contain_text("is it <i>you</i>?")
        assert visitor.troubles == []


def test_a_translation_with_what_its_words_were_made_from(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as visitor:
        visitor.open("Translation")
        visitor.fill("Where is the station?")
        visitor.press("Options")
        visitor.page.get_by_label("alignment", exact=True).locator("visible=true").check()
        visitor.press("Run")
        result = visitor.page.locator(".result:visible")
        playwright.expect(result.locator(".translation")).to_contain_text("Bahnhof", timeout=20_000)
        assert result.locator(".text").inner_text() == "Where is the station?"
        assert "en → de" in result.inner_text()
        assert result.locator(".heat td").count() > 4
        visitor.shoot("translate")
        assert visitor.troubles == []


def test_two_users_at_once_each_see_their_own(browser: "playwright.Browser", site: str) -> None:
    with visiting(browser, site) as one, visiting(browser, site) as other:
        for _ in range(5):
            one.fill("I love it, wonderful!")
            other.fill("I hate it, horrible!")
            one.press("Run")
            other.press("Run")
            one.first_label("positive")
            other.first_label("negative")
        assert one.troubles == other.troubles == []


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back_is_told_and_found_again(browser: "playwright.Browser") -> None:
    with (
        chorale("--in-process", "--tasks", "classification", timeout=280) as first,
        demo(first) as site,
        visiting(browser, site) as visitor,
    ):
        state = visitor.page.locator(".state")
        playwright.expect(state).to_have_text("The server is ready.")
        assert first.stop() == 0
        playwright.expect(state).to_contain_text("No server answers at", timeout=15_000)
        visitor.press("Run")
        alert = visitor.page.get_by_role("alert")
        playwright.expect(alert).to_contain_text("No server answers at", timeout=30_000)
        visitor.shoot("away")
        ports = ["--rest-port", str(first.rest_port), "--grpc-port", str(first.grpc_port)]
        with chorale("--in-process", "--tasks", "classification", *ports, timeout=60):
            playwright.expect(state).to_have_text("The server is ready.", timeout=15_000)
            visitor.fill("Lovely.")
            visitor.press("Run")
            visitor.first_label("positive")
        assert visitor.troubles == []


def test_without_a_server_the_demo_says_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "services.runtime.cli", "demo", "--url", url, "--port", str(free_port())]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"No server answers at {url}" in done.stderr
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_taken_port_is_told(server: Chorale) -> None:
    command = [sys.executable, "-m", "services.runtime.cli", "demo", "--url", server.url]
    command += ["--port", str(server.rest_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"port {server.rest_port} of 127.0.0.1" in done.stderr
