"""The figures that must be reached, from what a run measured."""

from collections.abc import Iterator, Sequence

from loadtests.bench.contenders import GATEWAY, TASK_LANE
from loadtests.bench.result import Figure, Stack, Window, select, spread

IN_FLIGHT = 16
"""Where CPU per request is judged."""


def figures(windows: Sequence[Window], alone: Sequence[Stack]) -> tuple[Figure, ...]:
    """Every figure whose measurements are there.

    Args:
        windows: of the whole run.
        alone: starts of ``chorale serve`` with classification only.
    """
    return (*_overhead(windows), *(figure for stack in alone for figure in _alone(stack)))


def _overhead(windows: Sequence[Window]) -> Iterator[Figure]:
    lane = select(windows, TASK_LANE, "echo", IN_FLIGHT)
    gateway = select(windows, GATEWAY, "echo", IN_FLIGHT)
    if not lane or not gateway:
        return
    cost = spread(lane, lambda window: window.cpu_ms).median
    hop = spread(gateway, lambda window: window.cpu_ms).median - cost
    yield Figure(f"echo, task lane REST on Ray, CPU per request at {IN_FLIGHT} in flight", cost, 0.30, "ms")
    yield Figure(f"gateway hop: the same through gateway and HAProxy, CPU above it at {IN_FLIGHT}", hop, 1.2, "ms")


def _alone(stack: Stack) -> Iterator[Figure]:
    torch = sum(name.startswith("ServeReplica:classification") for name in stack.torch_in)
    yield Figure("chorale serve, classification only: ready after", stack.ready_seconds, 20.0, "s")
    yield Figure("classification replicas that have imported torch", float(torch), 0.0, "")
    yield Figure("chorale serve, classification only: PSS of the whole stack", stack.pss_mib / 1024, 1.3, "GiB")
