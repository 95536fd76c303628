"""Processes of a benchmark: modules that are run by themselves, and `chorale serve` in one process."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from loadtests.bench.contenders import Ports
from loadtests.bench.server import BenchError, Server


def run_module(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, python: str = sys.executable
) -> str:
    """What a module says.

    Args:
        module: its name.
        arguments: of its command line.
        environment: variables beside our own.
        python: the interpreter: that of another environment, for a module that needs it.

    Raises:
        BenchError: it failed.
    """
    command = [python, "-m", module, *arguments]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{module} failed:\n{done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[Ports]:
    """A server is up within."""
    ports = Ports.free(["classification"])
    command = [sys.executable, "-m", "services.runtime.cli", "serve", "--in-process"]
    listen = ["--rest-port", str(ports.rest), "--grpc-port", str(ports.grpc)]
    with Server("chorale", [*command, *listen], environment):
        yield ports
