"""The processes of the Ray cluster this process started: which of them it cannot live without, and that none stays.

Knows processes only, nothing of serving. Ray's own ``shutdown`` returns while its agents still read logs, and waits for
ever when the raylet was killed (the usual end of a machine short of memory).
"""

import ctypes
import sys
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PATIENCE = 3.0
"""Seconds the processes have to end by themselves."""


def adopt_orphans() -> None:
    """Become the parent of what dying processes below this one leave behind (Linux), so that `Family.end` finds it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


class Family:
    """The cluster's processes. Create it right after ``ray.init``: our children then are the node's two own."""

    def __init__(self) -> None:
        self._node = {child: child.name() for child in psutil.Process().children()}

    def lost(self) -> str | None:
        """The name of a process of the node (``raylet``, ``gcs_server``) that has ended."""
        return next((name for process, name in self._node.items() if _ended(process)), None)

    def end(self) -> None:
        """Wait a moment for all processes below this one to end, then kill those that have not."""
        processes = psutil.Process().children(recursive=True)
        _, alive = psutil.wait_procs(processes, timeout=_PATIENCE)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=_PATIENCE)


def _ended(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True
