"""A server's whole process tree: its members, their CPU, memory, libraries and sockets.

Ray's workers and HAProxy may hang elsewhere in the machine's tree than below the process that was started. So a
server is started with a mark in its environment, which all its descendants inherit: members are the started
process, those that carry the mark, and all their children. (Ray's workers overwrite their environment with their
title, hence the children.)
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

MARK = "CHORALE_BENCH_RUN"


def members(root: int, mark: str) -> list[psutil.Process]:
    """All living processes of the server."""
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            children[process.ppid()].append(process)
            if process.pid == root or process.environ().get(MARK) == mark:
                found[process.pid] = process
        except psutil.Error:
            continue
    queue = list(found)
    while queue:
        for child in children[queue.pop()]:
            if child.pid not in found:
                found[child.pid] = child
                queue.append(child.pid)
    return list(found.values())


def cpu_seconds(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """User and system time of each, by pid."""
    seconds = {}
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds[process.pid] = times.user + times.system
    return seconds


def machine_busy_seconds() -> float:
    """CPU used by anything at all on the cores this process may use."""
    times = psutil.cpu_times(percpu=True)
    return sum(sum(times[core]) - times[core].idle - times[core].iowait for core in os.sched_getaffinity(0))


def pss_mib(processes: Iterable[psutil.Process]) -> float:
    """Memory in MiB, pages that several processes share counted once."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


def label(process: psutil.Process) -> str:
    """What a process is, without paths: ``ServeReplica:echo``, ``raylet``, ``haproxy``, ``python``."""
    try:
        title = process.cmdline()
        if title and title[0].startswith("ray::"):
            return title[0].removeprefix("ray::").split("#")[0].split(".")[0].strip()
        scripts = [Path(word).stem for word in title[:4] if word.endswith(".py")]
        return scripts[0] if scripts else process.name()
    except psutil.Error:
        return "ended"


def maps_library(process: psutil.Process, library: str) -> bool:
    """Whether a process has a library loaded."""
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def listening(process: psutil.Process, ports: range) -> list[int]:
    """TCP ports in this range on which a process listens."""
    connections = process.net_connections("tcp")
    return sorted({c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port in ports})


def end(processes: Sequence[psutil.Process], patience: float) -> None:
    """Terminate, then kill."""
    for process in processes:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(processes, patience)
    for process in alive:
        _signal(process, kill=True)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.Error:
        return
