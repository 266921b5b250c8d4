"""Learning rate and batch (the paper's Figures 2 and 3): the response at each budget, and the laws along compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from forescale.base.records.laws import Laws, PowerLaw
from forescale.report.figure import Axis, Band, Figure, Grid, Line, Points, Rule, Series, Shaded, number, percent
from forescale.report.rows import COMPUTE, Cell, Run, by_budget, cells

_MOST_RESPONSES = 4
_DEFAULT_BAND = 0.0025
"""The paper's near-optimal band, where the laws name none."""


def responses(laws: Laws, runs: Sequence[Run]) -> list[Figure]:
    """Learning rate x batch at up to four budgets (paper Fig. 2): excess over the best; near-optimal ones ringed."""
    tried = {budget: found for budget, rung in by_budget(runs).items() if (found := cells(rung))}
    budgets = list(tried)
    if len(budgets) > _MOST_RESPONSES:
        places = np.linspace(0, len(budgets) - 1, _MOST_RESPONSES).round().astype(int)
        budgets = [budgets[place] for place in places]
    return [_response(laws, budget, tried[budget]) for budget in budgets]


def _band_of(laws: Laws) -> float:
    found = [law.band for law in (laws.batch, laws.learning_rate) if law is not None and law.band]
    return max(found, default=_DEFAULT_BAND)


def _response(laws: Laws, budget: float, found: list[Cell]) -> Figure:
    limit = _band_of(laws)
    near = [cell for cell in found if cell.excess <= limit]
    name, title = f"response-{budget:.0e}".replace("+", ""), f"Learning rate × batch at C = {number(budget, 3)}"
    caption = (
        f"Each mark is one setting; its colour is how far its loss lies above the best one. {len(near)} of "
        f"{len(found)} settings are near-optimal: within {percent(limit)} of the best."
    )
    grid = _as_grid(found, limit)
    if grid is not None:
        return Figure(
            name, title, f"{caption} A dot marks them.", Axis("learning rate"), Axis("batch (tokens)"), (grid,),
            legend=False, wide=len(grid.x) > 6, height=140 + 30 * len(grid.y),
        )  # fmt: skip
    cap = max(4 * limit, float(np.median([cell.excess for cell in found])))
    series: list[Series] = [
        Shaded(
            "setting", tuple(c.lr for c in found), tuple(c.batch for c in found),
            tuple(100 * c.excess for c in found), "% above the best", tuple(c.hover for c in found),
            tuple(c.runs[0].name for c in found), 100 * cap,
        ),
        Points("near-optimal", tuple(c.lr for c in near), tuple(c.batch for c in near), "accent", mark="ring"),
    ]  # fmt: skip
    pick = hyper_at(laws, budget)
    if all(math.isfinite(v) for v in pick):
        hover = f"what the laws choose\nlearning rate {number(pick[0], 3)} · batch {number(pick[1])} tokens"
        series.append(Points("the laws' choice", (pick[0],), (pick[1],), "accent", (hover,), mark="star"))
    return Figure(
        name, title, caption, Axis("learning rate", log=True), Axis("batch (tokens)", log=True), tuple(series)
    )


def _as_grid(found: list[Cell], limit: float) -> Grid | None:
    """The cells as a printed table when they fill one of at least 4 x 4 nearly whole."""
    rates, batches = sorted({cell.lr for cell in found}), sorted({cell.batch for cell in found})
    if min(len(rates), len(batches)) < 4 or len(found) < 0.85 * len(rates) * len(batches):
        return None
    at = {(cell.lr, cell.batch): cell for cell in found}
    table = [[at.get((rate, size)) for rate in rates] for size in batches]
    return Grid(
        "loss", tuple(number(rate, 3) for rate in rates), tuple(number(size) for size in batches),
        tuple(tuple(100 * cell.excess if cell else math.nan for cell in row) for row in table), "% above the best",
        tuple(tuple(_printed(cell, limit) for cell in row) for row in table),
        tuple(tuple(cell.hover if cell else "not tried" for cell in row) for row in table),
        cap=float(100 * max(np.quantile([cell.excess for cell in found], 0.6), 4 * _DEFAULT_BAND)),
    )  # fmt: skip


def _printed(cell: Cell | None, limit: float) -> str:
    if cell is None:
        return ""
    return ("●" if cell.excess <= limit else "") + f"{cell.loss:.3f}"


def hyper_at(laws: Laws, flops: float) -> tuple[float, float]:
    """Learning rate and batch (tokens) that the laws give at an optimally split budget; NaN where they say nothing."""
    size, tokens = laws.allocation.split(flops) if laws.allocation else (None, None)
    size_of = laws.batch.value(flops=flops, size=size, tokens=tokens) if laws.batch else math.nan
    rate = (
        laws.learning_rate.value(flops=flops, size=size, tokens=tokens, batch_tokens=size_of)
        if laws.learning_rate
        else math.nan
    )
    return rate, size_of


def learning_rate(laws: Laws, runs: Sequence[Run]) -> Figure | None:
    """Near-optimal learning rates against compute and the law through them (paper Fig. 3b)."""
    return _hyper(laws, runs, laws.learning_rate, "lr", "learning rate", 0)


def batch(laws: Laws, runs: Sequence[Run]) -> Figure | None:
    """Near-optimal batches against compute and the law through them (paper Fig. 3a)."""
    return _hyper(laws, runs, laws.batch, "batch", "batch (tokens)", 1)


def _hyper(laws: Laws, runs: Sequence[Run], law: PowerLaw | None, key: str, label: str, which: int) -> Figure | None:
    limit = _band_of(laws)
    near = [
        run for rung in by_budget(runs).values() for cell in cells(rung) if cell.excess <= limit for run in cell.runs
    ]
    if law is None and not near:
        return None
    series: list[Series] = []
    reach = [run.flops for run in runs] or ([laws.largest.flops] if laws.largest else [])
    if law is not None and reach:
        grid = np.geomspace(min(reach), 10 * max(reach), 60)
        middle = np.array([hyper_at(laws, flops)[which] for flops in grid])
        spread = _log_sd(laws, law, grid)
        if np.isfinite(middle).all():
            xs = tuple(grid.tolist())
            if spread is not None:
                wide = 1.645 * spread
                low, high = middle * np.exp(-wide), middle * np.exp(wide)
                series.append(Band("90% interval of the law", xs, tuple(low.tolist()), tuple(high.tolist())))
            series.append(Line("law", xs, tuple(middle.tolist())))
    hover = tuple(run.hover for run in near)
    ys = tuple(getattr(run, key) for run in near)
    names = tuple(run.name for run in near)
    series.append(Points("near-optimal runs", tuple(r.flops for r in near), ys, "accent", hover, names, mark="dot"))
    caption = f"Runs within {percent(limit)} of the best setting of their budget"
    caption += f", and the law {power_law_words(law, 'η' if which == 0 else 'B')} through them." if law else "."
    name = "learning-rate-law" if which == 0 else "batch-law"
    title = "Learning rate against compute" if which == 0 else "Batch size against compute"
    rules = (Rule(max(reach), "largest run"),) if law is not None and reach else ()
    return Figure(name, title, caption, Axis(COMPUTE, log=True), Axis(label, log=True), tuple(series), rules=rules)


def _log_sd(laws: Laws, law: PowerLaw, grid: Any) -> Any:
    """Standard deviation of ln(law) along compute, from the parameters' intervals and correlations; None: not known."""
    coefficient = law.intervals.get("coefficient")
    if coefficient is None or min(coefficient) <= 0 or not all(name in law.intervals for name in law.exponents):
        return None if law.residual_sd is None else np.full(len(grid), law.residual_sd)
    names = ["coefficient", *law.exponents]
    sd = [math.log(coefficient[1] / coefficient[0]) / 3.29]
    sd += [(law.intervals[name][1] - law.intervals[name][0]) / 3.29 for name in law.exponents]
    rows = []
    for flops in grid:
        size, tokens = laws.allocation.split(flops) if laws.allocation else (math.nan, math.nan)
        given = {"flops": flops, "size": size, "tokens": tokens, "batch_tokens": hyper_at(laws, flops)[1]}
        rows.append([1.0, *(math.log(given[name]) for name in law.exponents)])
    correlation = np.eye(len(names))
    known = 0
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            found = law.correlation.get(f"{a},{b}", law.correlation.get(f"{b},{a}"))
            if found is not None:
                correlation[i, j] = correlation[j, i] = found
                known += 1
    if known < len(names) * (len(names) - 1) // 2:
        return None if law.residual_sd is None else np.full(len(grid), law.residual_sd)
    design = np.array(rows) * np.array(sd)
    return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", design, correlation, design), 0.0))


_LETTERS = {"flops": "C", "size": "M", "tokens": "D", "batch_tokens": "B"}


def power_law_words(law: PowerLaw, left: str) -> str:
    """`η = 0.3118 C^-0.125`, in plain text."""
    right = " ".join(f"{_LETTERS[name]}^{exponent:.4g}" for name, exponent in law.exponents.items())
    return f"{left} = {number(law.coefficient)} {right}".replace("-", "−")
