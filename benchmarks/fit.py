"""`python -m benchmarks.fit`: a fit with all its intervals on one core, beside a plain scipy loop and PyPI's `chinchilla`.

On 300 synthetic runs, whose law is known, and on the 240 Chinchilla points, where FORESCALE_TEST_DATA has them. The
package is timed where it is importable; it shares all pins of constraints.txt:

    .venv/bin/pip install -c constraints.txt chinchilla==0.2.0

`--whole` runs all 3,125 starts of the package's documented grid (minutes) instead of 243 of the same span; `--write`
puts the table into docs/laws.md.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.page import write
from benchmarks.suites import chinchilla
from forescale.base.records.laws import Surface
from forescale.base.runtime import test_data as data_folder
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.synthetic import make_ladder

Array = npt.NDArray[np.float64]

BUDGETS = tuple(1e17 * 10 ** (k / 11) for k in range(30))
BOOTSTRAPS = 20
"""Refits of the plain loop that are timed; 300 cost fifteen times as much."""
REFITS = 300
GRID = {"E": (1.0, 2.0), "a": (1.0, 10.0), "b": (1.0, 10.0), "alpha": (0.1, 0.7), "beta": (0.1, 0.7)}
"""Starts that the package's README gives: five on each axis between these ends."""
README_POINTS, FEW_POINTS = 5, 3


@dataclass(frozen=True)
class Task:
    """Runs to fit, and runs to forecast; sizes in parameters, C = 6 N D."""

    name: str
    size: Array
    tokens: Array
    loss: Array
    target_size: Array
    target_tokens: Array
    target_loss: Array

    def error(self, predicted: Array) -> float:
        """Mean error in percent on the targets."""
        return float(100 * np.abs(predicted / self.target_loss - 1).mean())


Way = Callable[[Task], tuple[float, Array]]
"""Fit a task: seconds of this process for the fit, and the losses it forecasts."""


def synthetic() -> Task:
    """300 runs: 30 budgets of 10 sizes; the target lies at 10 times the largest compute, and its expected loss counts."""
    ladder = make_ladder("well-specified", 0, sizes=10, budgets=BUDGETS)
    size, tokens, loss = (np.array([row[key] for row in ladder.rows]) for key in ("flops_per_token", "tokens", "loss"))
    target = [np.array([value]) for value in (ladder.size / 6, ladder.tokens, ladder.expected)]
    return Task("300 synthetic runs", size / 6, tokens, loss, *target)


def points(tenth: bool) -> Task | None:
    """The 240 Chinchilla points: all of them, or those of at most a tenth of the largest compute, to forecast the rest."""
    data = data_folder()
    if data is None or not (data / "scaling").is_dir():
        return None
    suite = chinchilla(data / "scaling")
    far = suite.flops > suite.flops.max() / 10
    seen = ~far if tenth else np.ones_like(far)
    return Task(
        "240 Chinchilla points", suite.size[seen], suite.tokens[seen], suite.loss[seen],
        suite.size[far], suite.tokens[far], suite.loss[far],
    )  # fmt: skip


def ours(task: Task) -> tuple[float, Array]:
    """Two forms, 300 draws, rolling origins, self-check, all laws."""
    start = time.process_time()
    laws = fit({"params": task.size, "tokens": task.tokens, "loss": task.loss})
    took = time.process_time() - start
    pairs = zip(task.target_size, task.target_tokens, strict=True)
    return took, np.array([forecast(laws, model_scale=float(n), tokens=float(d)).loss for n, d in pairs])


def scipy_loop(task: Task) -> tuple[float, Array]:
    """The published way: BFGS from one start on each bootstrap sample; the fit itself from a small grid of starts."""
    surface = fit_chinchilla(task.size, task.tokens, task.loss)
    rng = np.random.default_rng(0)
    first = np.array([[np.log(1.8), 0.0, 0.35, 0.0, 0.35]])
    start = time.process_time()
    for _ in range(BOOTSTRAPS):
        pick = rng.integers(0, len(task.loss), len(task.loss))
        fit_chinchilla(task.size[pick], task.tokens[pick], task.loss[pick], first)
    return (time.process_time() - start) * REFITS / BOOTSTRAPS, _losses(surface, task)


def pypi_chinchilla(task: Task, per_axis: int) -> tuple[float, Array]:
    """`chinchilla` 0.2.0 as its README calls it: its own objective, its grid's span, in this process instead of a pool."""
    from chinchilla import Chinchilla  # type: ignore[import-not-found]

    grid = {key: np.linspace(low, high, per_axis) for key, (low, high) in GRID.items()}
    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid=grid, log_level=40)
        for n, d, loss in zip(task.size, task.tokens, task.loss, strict=True):
            model.append(N=float(n), D=float(d), loss=float(loss))
        start = time.process_time()
        model.fit(parallel=False)
        took = (time.process_time() - start) * (README_POINTS / per_axis) ** len(GRID)
        found = model.params
    return took, _losses(Surface(form="chinchilla", **{key: float(value) for key, value in found.items()}), task)


def _losses(surface: Surface, task: Task) -> Array:
    pairs = zip(task.target_size, task.target_tokens, strict=True)
    return np.array([surface.loss(float(n), float(d)) for n, d in pairs])


def row(name: str, way: Way, tasks: list[tuple[Task, Task]]) -> str:
    """Seconds on each whole task, and the error of a fit to what may be seen of it."""
    cells = []
    for whole, part in tasks:
        took, predicted = way(whole)
        cells.append(f"{took:.1f} | {part.error(predicted if part is whole else way(part)[1]):.2f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    made = synthetic()
    tasks = [(made, made)]
    whole, part = points(tenth=False), points(tenth=True)
    if whole is not None and part is not None:
        tasks.append((whole, part))
    fit(make_ladder("well-specified", 1).rows)  # imports and first calls are not the fit's
    heads = [f"{task.name}: seconds | error %" for task, _ in tasks]
    lines = ["| on one core | " + " | ".join(heads) + " |", "| --- |" + " --- | --- |" * len(tasks)]
    lines.append(row("forescale: three forms, 300 draws, rolling origins, self-check, all laws", ours, tasks))
    lines.append(
        row(f"plain scipy loop: {REFITS} bootstrap refits of one form (scaled from {BOOTSTRAPS})", scipy_loop, tasks)
    )
    lines.append(_package_row(tasks))
    print("\n".join(lines))
    if "--write" in sys.argv:
        write("speed", lines)


def _package_row(tasks: list[tuple[Task, Task]]) -> str:
    per_axis = README_POINTS if "--whole" in sys.argv else FEW_POINTS
    starts, all_starts = per_axis ** len(GRID), README_POINTS ** len(GRID)
    name = f"PyPI `chinchilla` 0.2.0: one fit, no interval, its README's {all_starts:,} starts"
    if importlib.util.find_spec("chinchilla") is None:
        return f"| {name} | " + " | ".join(["not installed | "] * len(tasks)) + " |"
    pypi_chinchilla(first_runs(30), 1)  # its imports are not its fit's
    name += "" if starts == all_starts else f" (scaled from {starts})"
    return row(name, lambda task: pypi_chinchilla(task, per_axis), tasks)


def first_runs(count: int) -> Task:
    """The first runs of the synthetic task."""
    task = synthetic()
    kept = (values[:count] for values in (task.size, task.tokens, task.loss))
    return Task("", *kept, task.target_size, task.target_tokens, task.target_loss)


if __name__ == "__main__":
    main()
