"""What a load test promised and did not keep: a line for each."""

from collections.abc import Iterator, Sequence

from loadtests.load.profile import Entry, Profile, Slo
from loadtests.load.result import LoadResult, Seen


def missed(profile: Profile, mix: Sequence[tuple[str, Entry]], result: LoadResult) -> list[str]:
    """A line per broken promise: of all calls together, then of each entry that makes its own."""
    together = any(entry.slo is None for _, entry in mix)
    lines = list(_broken("all calls", profile.slo, result.total)) if together else []
    for task, entry in mix:
        parts = [part for part in result.parts if is_of(task, entry, part.name, part.protocol)]
        if not parts:
            lines.append(f"{entry.calls} {task}: no call ended")
        for part in parts:
            lines += _broken(f"{part.protocol} {part.name}", _promised(entry, part), part)
    return lines


def is_of(task: str, entry: Entry, name: str, calls: str) -> bool:
    """Whether calls of this name, made in this way, are of the entry."""
    return calls == entry.calls and name.partition("/")[0] == task


def _promised(entry: Entry, part: Seen) -> Slo:
    """A live call as a whole takes as long as its example does, which is nobody's merit."""
    slo = entry.slo or Slo(error_rate=None)
    is_whole = entry.live and " " not in part.name
    return slo.model_copy(update={"p50_ms": None, "p95_ms": None, "p99_ms": None}) if is_whole else slo


def _broken(what: str, slo: Slo, seen: Seen) -> Iterator[str]:
    if not seen.calls:
        yield f"{what}: no call ended"
        return
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        most, found = getattr(slo, name), getattr(seen, name)
        if most is not None and found > most:
            yield f"{what}: {name[:3]} {found:,.0f} ms, promised {most:,.0f}"
    share = seen.errors / seen.calls
    if slo.error_rate is not None and share > slo.error_rate:
        yield f"{what}: {share:.2%} errors, promised {slo.error_rate:.2%}"
    if slo.rate is not None and seen.rate < slo.rate:
        yield f"{what}: {seen.rate:,.1f} good calls/s, promised {slo.rate:,.1f}"
