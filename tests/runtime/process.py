"""The ``chorale`` command as a user runs it: a process of its own, its output, its exit code."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import free_grpc_port, free_port


class Chorale:
    """A running ``chorale serve``."""

    def __init__(self, *arguments: str, folder: Path | None = None, **environment: str) -> None:
        self.rest_port = free_port()
        self.grpc_port = free_grpc_port(self.rest_port)
        ports = ["--rest-port", str(self.rest_port), "--grpc-port", str(self.grpc_port)]
        command = [sys.executable, "-m", "services.runtime.cli", "serve", *ports, *arguments]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, **({"PYTHONPATH": str(folder)} if folder else {}), **environment},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def wait_ready(self, timeout: float) -> None:
        self.wait_for("Try it:", timeout)

    def wait_for(self, words: str, timeout: float) -> None:
        """Until it has said these words."""
        end = time.monotonic() + timeout
        while words not in self.output:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"not ready after {timeout} s:\n{self.output}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT, timeout: float = 60) -> int:
        """Signal, wait, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout)
        self._reader.join(timeout=5)
        return code

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
        self.process.stdout.close()


@contextmanager
def chorale(*arguments: str, timeout: float = 60, folder: Path | None = None, **environment: str) -> Iterator[Chorale]:
    """Running and ready; ``folder`` is a copy of the project to run instead of this one."""
    running = Chorale(*arguments, folder=folder, **environment)
    try:
        running.wait_ready(timeout)
        yield running
    finally:
        if running.process.poll() is None:
            running.stop(signal.SIGTERM)
