"""The figures that must be reached, from what a run measured.

Two series are compared within each round, and the median over the rounds is taken: what one round's machine does to
both of them drops out.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from loadtests.bench.contenders import GATEWAY, GRPC_LANE, HAPROXY, TASK_LANE
from loadtests.bench.peers import AS_USED, PEERS, SORTED, TASK
from loadtests.bench.result import LIMIT, Figure, Stack, Window, ratios, select, spread

IN_FLIGHT = 16
"""Where CPU per request of the bare serving path is judged, on echo."""

FULL = 64
"""Where everything else is judged, on classification: every lane has work."""

BARE = "bare REST"

RATES = ((TASK_LANE, BARE, 0.93), (GRPC_LANE, BARE, 1.05), (GRPC_LANE, LIMIT, 0.90))
"""Requests per second of one series divided by another's, at least."""

CPU_MS = ((GRPC_LANE, 0.15), (TASK_LANE, 0.30), (HAPROXY, 0.45))
"""CPU per request above that of the engine limit, at most."""

TAIL = 1.8
"""The 99th percentile of latency divided by the 50th, at most."""

PEER_RATES = {("LitServe", AS_USED): 1.6, ("Triton", AS_USED): 1.6, ("LitServe", SORTED): 1.0, ("Triton", SORTED): 1.0}
"""Requests per second of the REST lane divided by a peer's, at least."""


def figures(windows: Sequence[Window], alone: Sequence[Stack], page: float | None = None) -> tuple[Figure, ...]:
    """Every figure whose measurements are there.

    Args:
        windows: of the whole run.
        alone: starts of ``chorale serve`` with classification only.
        page: seconds to the first page of the demo.
    """
    lane = [*_overhead(windows), *_rates(windows), *_cpu(windows), *_tails(windows)]
    stacks = (figure for stack in alone for figure in _alone(stack))
    demo = [] if page is None else [Figure("chorale demo: first page after", page, 3.0, "s")]
    return (*lane, *_peers(windows), *stacks, *demo)


def _overhead(windows: Sequence[Window]) -> Iterator[Figure]:
    lane = select(windows, TASK_LANE, "echo", IN_FLIGHT)
    gateway = select(windows, GATEWAY, "echo", IN_FLIGHT)
    if not lane or not gateway:
        return
    cost = spread(lane, lambda window: window.cpu_ms).median
    hop = spread(gateway, lambda window: window.cpu_ms).median - cost
    yield Figure(f"echo, task lane REST on Ray, CPU per request at {IN_FLIGHT} in flight", cost, 0.30, "ms")
    yield Figure(f"gateway hop: the same through gateway and HAProxy, CPU above it at {IN_FLIGHT}", hop, 1.2, "ms")


def _rates(windows: Sequence[Window]) -> Iterator[Figure]:
    for ours, theirs, limit in RATES:
        if found := ratios(windows, ours, theirs, TASK, FULL):
            yield _at_least(f"{ours} / {theirs}", found, limit)


def _peers(windows: Sequence[Window]) -> Iterator[Figure]:
    for peer in PEERS:
        limit = PEER_RATES.get((peer.title, peer.batches))
        if limit and (found := ratios(windows, TASK_LANE, peer.series, TASK, FULL)):
            yield _at_least(f"{TASK_LANE} / {peer.series}", found, limit)


def _at_least(what: str, found: Sequence[float], limit: float) -> Figure:
    return Figure(f"{TASK}, requests/s at {FULL}: {what}", median(found), limit, "", at_least=True)


def _cpu(windows: Sequence[Window]) -> Iterator[Figure]:
    engine = {window.round: window.cpu_ms for window in select(windows, LIMIT, TASK, FULL)}
    for series, limit in CPU_MS:
        rounds = [window for window in select(windows, series, TASK, FULL) if window.round in engine]
        if found := [window.cpu_ms - engine[window.round] for window in rounds]:
            yield Figure(f"{TASK}, CPU per request above the {LIMIT} at {FULL}: {series}", median(found), limit, "ms")


def _tails(windows: Sequence[Window]) -> Iterator[Figure]:
    for series in (GRPC_LANE, TASK_LANE):
        if rounds := [window for window in select(windows, series, TASK, FULL) if window.p50_ms]:
            tail = spread(rounds, lambda window: window.p99_ms / window.p50_ms).median
            yield Figure(f"{TASK}, p99 / p50 at {FULL}: {series}", tail, TAIL, "")


def _alone(stack: Stack) -> Iterator[Figure]:
    torch = sum(name.startswith("ServeReplica:classification") for name in stack.torch_in)
    yield Figure("chorale serve, classification only: ready after", stack.ready_seconds, 20.0, "s")
    yield Figure("classification replicas that have imported torch", float(torch), 0.0, "")
    yield Figure("chorale serve, classification only: PSS of the whole stack", stack.pss_mib / 1024, 1.3, "GiB")
