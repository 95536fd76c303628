"""What every peer is told on its command line, and how it says that it answers.

Knows no peer, and imports nothing of Chorale.
"""

import argparse
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from loadtests.peers.model import Classifier

BATCH = 32
"""Largest batch, for every peer."""


@dataclass(frozen=True)
class Start:
    """How a peer is started.

    Args:
        port: where it answers HTTP.
        spare_port: for a second protocol that cannot be turned off.
        folder: of the model.
        labels: of the model.
        workers: copies of the model, or concurrent calls of one: whichever the peer's way is.
        threads: of onnxruntime, in each.
        wait_ms: how long a batch that is not full may wait for more.
        groups: run a batch sorted by length, this many texts at a time; None: as one padded batch.
    """

    port: int
    spare_port: int
    folder: Path
    labels: tuple[str, ...]
    workers: int
    threads: int
    wait_ms: float
    groups: int | None

    def classifier(self) -> Classifier:
        """Load the model."""
        return Classifier(self.folder, self.labels, self.threads)


def read() -> Start:
    """From the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--spare-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--labels", nargs="+", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wait-ms", type=float, default=1.0)
    parser.add_argument("--groups", type=int)
    found = vars(parser.parse_args())
    return Start(**{**found, "labels": tuple(found["labels"])})


def announce(name: str, port: int, health: str) -> None:
    """Print ``<name> is ready`` once ``http://127.0.0.1:<port><health>`` answers 200; returns at once."""
    threading.Thread(target=_wait, args=(name, f"http://127.0.0.1:{port}{health}"), daemon=True).start()


def _wait(name: str, url: str) -> None:
    while not _answers(url):
        time.sleep(0.05)
    say_ready(name)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0):  # noqa: S310
            return True
    except (urllib.error.URLError, OSError):
        return False


def say_ready(name: str) -> None:
    """What the benchmark waits for."""
    sys.stdout.write(f"{name} is ready\n")
    sys.stdout.flush()
