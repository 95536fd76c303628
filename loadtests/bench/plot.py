"""The picture: requests per second and CPU per request, a row per contender, a colour per number in flight."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtests.bench.result import LIMIT, Result, Window, select, spread

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2")
_INK, _GRID = "#333333", "#dddddd"


def draw(result: Result, file: Path) -> None:
    """Write a PNG. Logarithmic axes: contenders lie up to two orders of magnitude apart."""
    tasks = list(dict.fromkeys(window.task for window in result.windows))
    heights = [0.7 + 0.35 * len({window.series for window in result.windows if window.task == task}) for task in tasks]
    figure = Figure(figsize=(12, 0.8 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(tasks), 2, squeeze=False, height_ratios=heights)
    for row, task in zip(axes, tasks, strict=True):
        windows = [window for window in result.windows if window.task == task]
        _panel(row[0], windows, lambda window: window.rate, f"{task}: requests per second (more is better)")
        _panel(row[1], windows, lambda window: window.cpu_ms, f"{task}: CPU ms per request (less is better)")
        row[1].set_yticklabels([])
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    about = (
        f"{result.machine.get('cpu', '')}, {result.machine.get('cores', '')} cores, {result.machine.get('date', '')}"
    )
    figure.suptitle(f"Chorale benchmark: median, and least to most over the rounds\n{about}", fontsize=11, color=_INK)
    figure.savefig(file, dpi=120)


def _panel(axis: Any, windows: Sequence[Window], value: Callable[[Window], float], title: str) -> None:
    names = sorted(dict.fromkeys(window.series for window in windows), key=lambda name: name == LIMIT)
    numbers = sorted({window.in_flight for window in windows})
    for place, in_flight in enumerate(numbers):
        offset = 0.22 * (place - (len(numbers) - 1) / 2)
        spreads = [
            (row, spread(found, value)) for row, name in enumerate(names) if (found := _of(windows, name, in_flight))
        ]
        middle = [seen.median for _, seen in spreads]
        reach = [[s.median - s.low for _, s in spreads], [s.high - s.median for _, s in spreads]]
        style = {"fmt": "o", "markersize": 6, "elinewidth": 1.5, "color": _COLOURS[place % len(_COLOURS)]}
        axis.errorbar(middle, [row + offset for row, _ in spreads], xerr=reach, label=f"{in_flight} in flight", **style)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda number, _: _short(number)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_title(title, fontsize=10, loc="left", color=_INK)
    axis.grid(visible=True, axis="x", color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(left=False, labelsize=9, colors=_INK)


def _short(number: float) -> str:
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def _of(windows: Sequence[Window], series: str, in_flight: int) -> list[Window]:
    return select(windows, series, windows[0].task, in_flight)
