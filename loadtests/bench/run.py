"""The benchmark: rounds over all contenders, interleaved, one server at a time; and what is written.

Knows no protocol and no process detail.
"""

import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.bench import direct, machine, report
from loadtests.bench.contenders import CONTENDERS, Contender, OnRay
from loadtests.bench.demo import first_page
from loadtests.bench.figures import figures
from loadtests.bench.generator import Generator
from loadtests.bench.load import NAME
from loadtests.bench.measure import Bench, Plan
from loadtests.bench.peers import PEERS, TASK, Peer, versions
from loadtests.bench.result import Result, Stack
from loadtests.bench.samples import read_sentences, write_samples
from loadtests.bench.server import BenchError
from loadtests.bench.terminal import fail, terminal
from services.core.errors import ServingError
from services.runtime.loading import BuildError

RESULTS = Path("loadtests/results")
SENTENCES = Path(__file__).parents[2] / "models" / "recipes" / "sentiment-en" / "verify.tsv"
TASKS = ("echo", "classification")

FULL = Plan(rounds=3, warm_seconds=0.3, seconds=2.0, idle_seconds=3.0)
QUICK = Plan(rounds=1, warm_seconds=0.2, seconds=0.6, idle_seconds=1.5)


def run_bench(
    out: Path,
    quick: bool,
    sentences: Path = SENTENCES,
    tasks: Sequence[str] = TASKS,
    contenders: Sequence[str] = (),
) -> None:
    """Measure, write ``bench.json``, ``bench.md`` and ``bench.png`` to ``out``, and print the tables.

    Exits with an error when it cannot measure, or when any answer was wrong.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers are stopped then, too
    console = terminal()
    try:
        result = _measure(console, QUICK if quick else FULL, sentences, tasks, contenders)
    except (BenchError, BuildError, ServingError, ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("stopped; nothing was written")
    else:
        report.write(result, out)
        console.print(report.markdown(result), markup=False)
        if result.wrong:
            fail(f"{result.wrong} answers were wrong; see {out / 'bench.json'}")


def choose(
    tasks: Sequence[str], names: Sequence[str], installed: Callable[[Peer], bool] = lambda peer: peer.installed
) -> tuple[list[Contender], list[str]]:
    """The contenders named, or all; and the peers left out because their environments are missing.

    Args:
        tasks: peers serve classification only.
        names: none: all.
        installed: whether a peer can be started.

    Raises:
        ValueError: a name nobody has, or of a peer whose environment is missing.
    """
    peers = {peer.name: peer for peer in PEERS} if TASK in tasks else {}
    known: dict[str, Contender] = {**{contender.name: contender for contender in CONTENDERS}, **peers}
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"no contender {', '.join(unknown)} for {', '.join(tasks)}; there are: {', '.join(known)}")
    wanted = [name for name in known if not names or name in names]
    absent = [name for name in wanted if name in peers and not installed(peers[name])]
    if names and absent:
        raise ValueError(_not_installed(absent))
    return [known[name] for name in wanted if name not in absent], absent


def _not_installed(absent: Sequence[str]) -> str:
    return f"not installed: {', '.join(absent)} (`make peers` installs what the peers need)"


def _measure(console: Console, plan: Plan, sentences: Path, tasks: Sequence[str], names: Sequence[str]) -> Result:
    contenders, absent = choose(tasks, names)
    if absent:
        console.print(f"left out, {_not_installed(absent)}", markup=False)
    texts = read_sentences(sentences)
    with tempfile.TemporaryDirectory() as folder, Generator() as generator, _progress(console) as progress:
        bar = progress.add_task("right answers", total=None)
        for task in tasks:
            write_samples(list(direct.right_answers(direct.load(task), texts)), Path(folder, task))
        say = lambda what: progress.update(bar, description=what, advance=1)  # noqa: E731
        bench = Bench(plan, Path(folder), tasks, generator, say)
        _rounds(bench, plan, contenders)
        alone = _alone(bench, tasks, contenders)
        progress.update(bar, description="demo", advance=1)
        page = first_page()
    stacks = (*bench.stacks, *alone)
    reached = figures(bench.windows, alone, page)
    about = {**_described(plan, len(texts)), **_peers(contenders, absent)}
    return Result(machine.describe(), about, tuple(bench.windows), stacks, reached)


def _rounds(bench: Bench, plan: Plan, contenders: Sequence[Contender]) -> None:
    for number in range(1, plan.rounds + 1):
        first = (number - 1) % len(contenders)  # nobody is always first, or always after the same one
        for contender in (*contenders[first:], *contenders[:first]):
            bench.block(number, contender)
        bench.limits(number)


def _alone(bench: Bench, tasks: Sequence[str], contenders: Sequence[Contender]) -> list[Stack]:
    wanted = "classification" in tasks and any(isinstance(contender, OnRay) for contender in contenders)
    return [bench.alone()] if wanted else []


def _described(plan: Plan, texts: int) -> dict[str, str]:
    return {
        "load generator": NAME,
        "rounds": f"{plan.rounds}, contenders interleaved, one server at a time",
        "window": f"{plan.seconds:g} s after {plan.warm_seconds:g} s of warm-up",
        "texts": f"{texts}, one per request",
    }


def _peers(contenders: Sequence[Contender], absent: Sequence[str]) -> dict[str, str]:
    facts = {"peers": versions(contenders), "peers not installed, so left out": ", ".join(absent)}
    return {name: fact for name, fact in facts.items() if fact}


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
