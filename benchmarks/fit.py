"""`python -m benchmarks.fit`: 300 runs with all intervals on one core, beside a plain scipy loop and PyPI's `chinchilla`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from forescale.scaling.fit import fit
from forescale.scaling.noise import cells_of, noise_law
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.synthetic import make_ladder
from forescale.scaling.table import read_runs

BUDGETS = tuple(1e17 * 10 ** (k / 11) for k in range(30))
BOOTSTRAPS = 20
"""Refits of the plain loop that are timed; 300 cost fifteen times as much."""


def runs() -> list[dict[str, float]]:
    """300 runs: 30 budgets of 10 sizes."""
    return make_ladder("well-specified", 0, sizes=10, budgets=BUDGETS).rows


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def scipy_loop(rows: list[dict[str, float]], count: int) -> None:
    """The published way: BFGS from one start on each bootstrap sample."""
    table = read_runs(rows)
    cells = cells_of(table, noise_law([], float(table.flops.max())), 0.0025)
    rng = np.random.default_rng(0)
    start = np.array([[np.log(1.8), 0.0, 0.35, 0.0, 0.35]])
    for _ in range(count):
        pick = rng.integers(0, len(cells), len(cells))
        fit_chinchilla(cells.size[pick], cells.tokens[pick], cells.loss[pick], start)


def pypi_chinchilla(rows: list[dict[str, float]]) -> float | None:
    """Seconds of one fit of the `chinchilla` package from PyPI; None where it is not installed."""
    try:
        from chinchilla import Chinchilla  # type: ignore[import-not-found]
    except ImportError:
        return None
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid={"e": [0.5], "a": [5.0], "b": [5.0], "alpha": [0.35], "beta": [0.35]})
        for row in rows:
            size, tokens = row["flops_per_token"] / 6, row["tokens"]
            model.append(C=6 * size * tokens, N=size, D=tokens, loss=row["loss"])
        return seconds(lambda: model.fit(parallel=False))


def main() -> None:
    rows = runs()
    fit(rows[:50])  # imports and first calls are not the fit's
    print("| 300 runs, one core | seconds |\n| --- | --- |")
    print(
        f"| forescale: two forms, 300 draws, rolling origins, self-check, all laws | {seconds(lambda: fit(rows)):.1f} |"
    )
    loop = seconds(lambda: scipy_loop(rows, BOOTSTRAPS)) * 300 / BOOTSTRAPS
    print(f"| plain scipy loop: 300 bootstrap refits of one form (scaled from {BOOTSTRAPS}) | {loop:.1f} |")
    other = pypi_chinchilla(rows)
    print(f"| PyPI `chinchilla`: one fit, no interval | {'not installed' if other is None else f'{other:.1f}'} |")


if __name__ == "__main__":
    main()
