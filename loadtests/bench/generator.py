"""The load generator as a run sees it: a child process that measures one window at a time."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from loadtests.bench.load import Job, Seen
from loadtests.bench.server import BenchError


class Generator:
    """One generator process for a whole run; a context manager."""

    def __enter__(self) -> Self:
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the run's to handle
        )
        if process.stdin is None or process.stdout is None:
            raise BenchError("the load generator has no pipes")
        self._process, self._in, self._out = process, process.stdin, process.stdout
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def measure(self, job: Job, before: Callable[[], None], after: Callable[[], None] = lambda: None) -> Seen:
        """Measure one window, then check its answers.

        Args:
            job: what to measure.
            before: called after the warm-up, while nothing is in flight.
            after: called when the window has closed and its answers are not yet checked.

        Raises:
            BenchError: it could not connect, or an answer never came.
        """
        self._ask(json.dumps(asdict(job)))
        before()
        self._ask("go")
        after()
        return Seen(**self._ask("check"))

    def _ask(self, line: str) -> dict[str, Any]:
        self._in.write(line + "\n")
        self._in.flush()
        answer = self._out.readline()
        if not answer:
            raise BenchError(f"the load generator ended with code {self._process.wait()}")
        said: dict[str, Any] = json.loads(answer)
        if "failed" in said:
            raise BenchError(f"the load generator got no answer: {said['failed']}")
        return said
