"""How a serving process treats its threads; asked of a real one."""

import os
import sys
from pathlib import Path

import pytest

from tests.runtime.process import chorale


@pytest.mark.skipif(sys.platform != "linux", reason="scheduling classes are Linux's")
def test_lanes_are_not_interrupted_by_other_threads() -> None:
    with chorale("--in-process", "--tasks", "echo", CHORALE_CPUS="3") as running:
        threads = [int(task.name) for task in Path(f"/proc/{running.process.pid}/task").iterdir()]
        ordinary = [thread for thread in threads if os.sched_getscheduler(thread) == os.SCHED_OTHER]
        assert os.sched_getscheduler(running.process.pid) == os.SCHED_BATCH
        assert len(ordinary) == 3
