"""One load test: users started, watched and stopped; what they saw. Runs in a process that gevent has patched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gevent
from locust.env import Environment
from locust.html import get_html_report
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter, stats_history

from loadtests.load.profile import Entry, Profile
from loadtests.load.result import LoadResult
from loadtests.load.slo import is_of
from loadtests.load.timeline import Timeline
from loadtests.load.users import TaskUser, methods_of, user_class
from services.core.task import Task


@dataclass(frozen=True)
class Target:
    """Where calls go.

    Args:
        url: of REST.
        grpc: host and port.
    """

    url: str
    grpc: str


def users_of(profile: Profile, mix: Sequence[tuple[Task, Entry]], target: Target) -> list[type[TaskUser]]:
    """A user class per method and protocol of the mix."""
    hosts = {"rest": target.url, "grpc": target.grpc}
    chosen = [(task, method, entry) for task, entry in mix for method in methods_of(task, live=entry.live)]
    others = profile.users - sum(entry.users or 0 for _, _, entry in chosen)
    period = max(1, others) / profile.rate if profile.rate else 0.0
    return [
        user_class(
            task,
            method,
            entry.calls,
            host=hosts[entry.protocol],
            weight=entry.weight,
            fixed_count=entry.users or 0,
            timeout=profile.timeout,
            period=entry.period or period,
        )
        for task, method, entry in chosen
    ]


def run_load(
    profile: Profile, mix: Sequence[tuple[str, Entry]], users: Sequence[type[TaskUser]], out: Path
) -> LoadResult:
    """Run the users of a mix; leaves locust's own HTML and CSV files in ``out``.

    Calls under way at the end are waited for, as long as a call may take: one that hangs is an error, too.
    """
    environment = Environment(user_classes=list(users), reset_stats=False, stop_timeout=profile.timeout)
    runner = environment.create_local_runner()
    fixed = sum(user.fixed_count for user in users)
    count = fixed if all(user.fixed_count for user in users) else max(profile.users, fixed + 1)
    runner.start(count, spawn_rate=max(1.0, count))
    gevent.sleep(profile.warmup)
    environment.stats.reset_all()
    writer = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, str(out / "locust"), full_history=True)
    greenlets = [gevent.spawn(stats_history, runner), gevent.spawn(writer)]  # both for locust's own report
    timeline = Timeline(lambda name, calls: any(entry.slo and is_of(task, entry, name, calls) for task, entry in mix))
    environment.events.request.add_listener(timeline.add)
    gevent.sleep(profile.seconds)
    elapsed = timeline.elapsed
    runner.quit()
    gevent.killall(greenlets, block=True)
    (out / "locust.html").write_text(get_html_report(environment, show_download_link=False), encoding="utf-8")
    return timeline.result(elapsed)
