"""A server process under test: start it, wait until it says it is ready, read its costs, stop all of it."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

from loadtests.bench import processes

READY = re.compile(r"[A-Z]\w* is ready")
"""How the line begins that every server prints once it answers ("echo is ready" is of one task only)."""

START_PATIENCE = 120.0
STOP_PATIENCE = 30.0
FIRST_PORT = 22000


class BenchError(Exception):
    """The run cannot go on; the message says why."""


class Server:
    """One server; a context manager.

    Args:
        name: for messages.
        command: what to start.
        environment: added to this process's own.

    Raises:
        BenchError: on entry, when it ends or stays silent before it is ready; with its last output.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._environment = environment or {}
        self._command = command
        self._mark = uuid.uuid4().hex
        self._output: deque[str] = deque(maxlen=40)
        self._ready = threading.Event()
        self.ready_seconds = 0.0

    def __enter__(self) -> Self:
        started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment, processes.MARK: self._mark, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is the run's to handle
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._wait_ready()
        except BaseException:
            self._stop()
            raise
        self.ready_seconds = time.monotonic() - started
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def members(self) -> list[psutil.Process]:
        """Every process of the server."""
        return processes.members(self._process.pid, self._mark)

    def signal(self, number: signal.Signals) -> None:
        """Send it to the process that was started."""
        self._process.send_signal(number)

    def cpu_seconds(self) -> dict[int, float]:
        """CPU of every process so far, by pid."""
        return processes.cpu_seconds(self.members())

    def require_alive(self, patience: float = 0.0) -> None:
        """Raises BenchError, with the last output, if the server has ended or does so within ``patience`` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
            raise self._failure(f"ended with code {self._process.returncode}")

    def _wait_ready(self) -> None:
        until = time.monotonic() + START_PATIENCE
        while not self._ready.wait(0.02):
            self.require_alive()
            if time.monotonic() > until:
                raise self._failure(f"was not ready after {START_PATIENCE:.0f} s")

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                self._output.append(line)
                if READY.match(line):
                    self._ready.set()

    def _failure(self, what: str) -> BenchError:
        self._reader.join(1.0)
        said = "".join(self._output).strip() or "nothing"
        return BenchError(f"{self.name} {what}. Its last output:\n{said}")

    def _stop(self) -> None:
        family = self.members()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        # What a server leaves behind would disturb the next one.
        left = {process.pid: process for process in (*family, *self.members()) if process.is_running()}
        processes.end(list(left.values()), patience=3.0)
        self._process.wait()


def cpu_used(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two readings; a process that began in between counts from its start."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on."""
    found: list[int] = []
    port = FIRST_PORT + os.getpid() % 64 * 64  # two runs at once do not try the same ones
    while len(found) < count:
        if is_free(port):
            found.append(port)
        port += 1
    return found


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
