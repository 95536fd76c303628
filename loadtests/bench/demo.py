"""How long people wait for the demo: from the start of ``chorale demo`` to its first page, whole."""

import http.client
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from statistics import median

from loadtests.bench.contenders import Ports
from loadtests.bench.server import BenchError, Server, free_ports

_STARTS = 3
_PATIENCE = 60.0


def first_page() -> float | None:
    """Seconds, the median of three starts, beside a server with one task; None where Gradio is not installed.

    Raises:
        BenchError: no page came.
    """
    if find_spec("gradio") is None:
        return None
    ports = Ports.free(["echo"])
    flags = ["--in-process", "--tasks", "echo", "--rest-port", str(ports.rest), "--grpc-port", str(ports.grpc)]
    command = [sys.executable, "-m", "services.runtime.cli"]
    with Server("in-process", [*command, "serve", *flags]):
        return median(_start([*command, "demo", "--url", f"http://127.0.0.1:{ports.rest}"]) for _ in range(_STARTS))


def _start(command: list[str]) -> float:
    (port,) = free_ports(1)
    started = time.monotonic()
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _has_page(port):
            if process.poll() is not None or time.monotonic() - started > _PATIENCE:
                raise BenchError(f"the demo gave no page; see: {' '.join(command)}")
            time.sleep(0.02)
        return time.monotonic() - started
    finally:
        process.terminate()
        process.wait()


def _has_page(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status == 200 and b"gradio_config" in answer.read()
    return False
