"""What a load test promised and did not keep: a line for each."""

from collections.abc import Iterator, Sequence

from loadtests.load.profile import Entry, Profile, Slo
from loadtests.load.result import LoadResult, Seen


def missed(profile: Profile, mix: Sequence[tuple[str, Entry]], result: LoadResult) -> list[str]:
    """A line per broken promise: of all calls together, then of each entry that makes its own."""
    lines = list(_broken("all calls", profile.slo, result.total))
    for task, entry in mix:
        parts = [part for part in result.parts if part.protocol == entry.protocol and _is_of(part, task)]
        if not parts:
            lines.append(f"{entry.protocol} {task}: no call ended")
        for part in parts:
            lines += _broken(f"{part.protocol} {part.name}", entry.slo or Slo(error_rate=None), part)
    return lines


def _is_of(part: Seen, task: str) -> bool:
    return part.name.partition("/")[0] == task


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
