"""The benchmark: rounds over all contenders, interleaved, one server at a time; and what is written.

Knows no protocol and no process detail.
"""

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.bench import direct, machine, report
from loadtests.bench.contenders import CONTENDERS, Contender, OnRay
from loadtests.bench.figures import figures
from loadtests.bench.generator import Generator
from loadtests.bench.load import NAME
from loadtests.bench.measure import Bench, Plan
from loadtests.bench.result import Result, Stack
from loadtests.bench.samples import read_sentences, write_samples
from loadtests.bench.server import BenchError
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
    console = Console(highlight=False, soft_wrap=True)
    chosen = [contender for contender in CONTENDERS if not contenders or contender.name in contenders]
    try:
        result = _measure(console, QUICK if quick else FULL, sentences, tasks, chosen)
    except (BenchError, BuildError, ServingError, ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped; nothing was written")
    else:
        report.write(result, out)
        console.print(report.markdown(result), markup=False)
        if result.wrong:
            _fail(f"{result.wrong} answers were wrong; see {out / 'bench.json'}")


def _fail(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {message}", style="red", markup=False)
    sys.exit(1)


def _measure(
    console: Console, plan: Plan, sentences: Path, tasks: Sequence[str], contenders: Sequence[Contender]
) -> Result:
    texts = read_sentences(sentences)
    with tempfile.TemporaryDirectory() as folder, Generator() as generator, _progress(console) as progress:
        bar = progress.add_task("right answers", total=None)
        for task in tasks:
            write_samples(list(direct.right_answers(direct.load(task), texts)), Path(folder, task))
        say = lambda what: progress.update(bar, description=what, advance=1)  # noqa: E731
        bench = Bench(plan, Path(folder), tasks, generator, say)
        _rounds(bench, plan, contenders)
        alone = _alone(bench, tasks, contenders)
    stacks = (*bench.stacks, *alone)
    reached = figures(bench.windows, alone)
    return Result(machine.describe(), _described(plan, len(texts)), tuple(bench.windows), stacks, reached)


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


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
