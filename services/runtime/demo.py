"""The demo pages beside a server, in a process of their own: what they do takes nothing from serving."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from services.core.settings import Settings


@contextmanager
def demo_pages(settings: Settings) -> Iterator[None]:
    """Up within, on the server's own address."""
    near = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104
    server = ["--url", f"http://{near}:{settings.rest_port}", "--grpc", f"{near}:{settings.grpc_port}"]
    command = [sys.executable, "-m", "services.runtime.cli", "demo", *server, "--host", settings.host]
    if settings.tls_certificate:
        command += ["--grpc-certificate", str(settings.tls_certificate)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
