"""How a serving process shares its CPUs between the event loop and the lanes, which run engines.

Process-wide switches of Python and Linux that a server may set and a library must not. Each was measured on two cores
at 64 in flight (sentiment-en, int8); together they are worth a tenth of the throughput, and more on gRPC.
"""

import gc
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python's interpreter lock while another waits for it. Lanes need it for moments between
engine runs; at Python's 5 ms they wait for the event loop with nothing to do, and the slowest answers come later: the
99th percentile was 2.1 times the median, and 1.6 times so."""

_COLLECT_AFTER = (20_000, 50, 100)
"""Garbage collector thresholds. A request leaves no cycles behind; Python's looks at each 700 new objects were 7 % of
the event loop's time."""


def tune_serving_process(lanes: Collection[int]) -> None:
    """Call once models are loaded and lanes have started; what starts later is no lane.

    Args:
        lanes: thread ids (`threading.get_native_id`) of those that run engines.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what is loaded stays: collections need not look at it
    gc.set_threshold(*_COLLECT_AFTER)
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it, and threads come and go
            _yield_to(lanes)


def _yield_to(lanes: Collection[int]) -> None:
    """Let no other thread of this process interrupt a lane in an engine run.

    A wake-up per request throws the lane off its core and the engine's data out of the caches. As batch threads the
    event loop and gRPC's own wait for a core to come free, and find several requests to handle in one go: a third less
    time for each. On idle cores nothing changes.
    """
    for thread in [int(task.name) for task in Path("/proc/self/task").iterdir()]:
        if thread not in lanes:
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
