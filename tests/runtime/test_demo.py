"""``chorale serve --demo``: the pages come with the server and go with it."""

import socket

import httpx
import psutil
import pytest

from tests.runtime.process import chorale


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(is_listening(7860), reason="something listens on port 7860")
def test_the_pages_come_and_go_with_the_server() -> None:
    with chorale("--in-process", "--tasks", "echo", "--demo", timeout=60) as running:
        running.wait_for("Demo ", 30)
        page = httpx.get("http://127.0.0.1:7860/")
        assert page.status_code == 200
        assert "Chorale" in page.text
        (pages,) = psutil.Process(running.process.pid).children()
        assert running.stop() == 0
        assert not pages.is_running()
    assert not is_listening(7860)
