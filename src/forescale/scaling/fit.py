"""`fit`: a table of runs in, laws with intervals out (contract, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import (
    Allocation,
    ComputeLaw,
    IsoMinimum,
    Laws,
    LeftOut,
    NoisePoint,
    Predictive,
    Regime,
    RunsSummary,
    ScaleCurve,
    SelfCheck,
    Surface,
)
from forescale.scaling import calibration
from forescale.scaling.admissible import MINIMUM_STEPS, Rungs, judge
from forescale.scaling.compute_law import fit_compute, frontier
from forescale.scaling.compute_said import SHARED_FACTOR
from forescale.scaling.core import Core, fit_core, largest_of, self_check
from forescale.scaling.derive import trained_flops
from forescale.scaling.ensemble import FORMS, MEMBERS, PLAIN
from forescale.scaling.far_rows import ABOVE, BELOW, far_rows, far_warning
from forescale.scaling.hyper import fit_hyper
from forescale.scaling.identify import UNTRUSTED, Design, examine
from forescale.scaling.isoflop import allocation_of_surface, allocation_through, minima
from forescale.scaling.noise import Cells, NoiseLaw, cells_of, measure_noise, noise_law, thin
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.scales import compare_units
from forescale.scaling.surfaces import Form
from forescale.scaling.table import RunTable, read_runs

Array = npt.NDArray[np.float64]

N_DRAWS, N_DRAWS_THOROUGH = 300, 1500
DISAGREE = "seeds disagree strongly"
EDGE = "the best size lies at the edge of the grid"
"""How two warnings begin that forecasts may have to repeat."""
FORM_NAMES = ("ensemble", *FORMS)


@dataclass(frozen=True)
class Prepared:
    """A table made ready for surfaces: noise, cells, which of them are on the curve."""

    table: RunTable
    points: list[NoisePoint]
    noise: NoiseLaw
    cells: Cells
    """All cells, thinned where they are very many."""
    used: Cells
    """The cells on the curve."""
    rungs: Rungs
    dropped: list[LeftOut]
    beaten: int = 0
    """Rows that another rate or batch of their cell beat."""
    thinned: int = 0
    """Cells that were left out because there are more than a fit needs."""


def fit(
    source: Any, *, scale: str | None = None, columns: Sequence[str] | None = None, where: Sequence[str] | None = None,
    group: str | None = None, metric: str | None = None, form: str | None = None, band: float = 0.0025,
    level: float = 0.9, thorough: bool = False, minimum_steps: int = MINIMUM_STEPS,
) -> Laws:  # fmt: skip
    """Fit all laws that these runs can carry; a law they cannot carry is None, with a warning that says why.

    `source`: a path, a list of dicts, a dict of columns, a data frame, or a RunTable. Intervals are at `level`.
    """
    forms = forms_named(form)
    _check_shares(level=level, band=band)
    table = read_runs(source, scale=scale, columns=columns, where=where, group=group, metric=metric)
    ready = prepare(table, band, minimum_steps)
    rate, batch, hyper_warnings = fit_hyper(table, band=band, level=level)
    design = examine(ready.used)
    warnings = [
        *table.warnings,
        *ready.rungs.warnings,
        *design.warnings,
        *_noise_warnings(ready),
        *_trunk_warnings(table),
    ]
    parts = _surface_laws(ready, design, forms, level, N_DRAWS_THOROUGH if thorough else N_DRAWS, warnings)
    compute = parts.compute
    scales, curves = _scales(ready, design)
    laws = Laws(
        scale=table.scale,
        unit=table.unit,
        level=level,
        runs=_summary(ready),
        surface=parts.surface,
        allocation=parts.allocation,
        learning_rate=rate,
        batch=batch,
        compute=compute,
        noise=ready.points,
        regime=doubted(ready.rungs.regime, design),
        smallest_rung=ready.rungs.smallest,
        self_check=None,
        warnings=[*warnings, *hyper_warnings],
        doubts=[text for text in warnings if _is_doubt(text, parts.minima)],
        source=table.source,
        group=table.group,
        minima=parts.minima,
        rungs=ready.rungs.reports,
        conditions=table.conditions,
        guesses=table.guesses,
        scales=scales,
        scale_curves=curves,
        predictive=parts.predictive,
        line=design.line if parts.core is not None else None,
        largest=largest_of(ready.used) if parts.predictive is not None else None,
    )
    if parts.core is not None:
        check, inflation, lean = self_check(ready.used, ready.noise, parts.core, table.scale, level)
        missed, failed = _check_warnings(check, level), _check_doubts(check)
        warnings, doubts = [*laws.warnings, *(failed or missed)], [*laws.doubts, *failed]
        under_tuned = bool(missed) and lean > calibration.LEAN
        predictive = parts.core.predictive.model_copy(update=_widening(ready.rungs, design, inflation, under_tuned))
        laws = laws.model_copy(
            update={
                "self_check": check, "predictive": predictive, "largest": parts.core.largest, "warnings": warnings,
                "doubts": doubts,
            }
        )  # fmt: skip
    used = [int(k) for members in ready.used.members for k in members]
    far = [(row, left) for row, left in far_rows(table, used, laws.predictive, laws.surface) if row not in parts.bad]
    if far:
        laws = laws.model_copy(update={"warnings": [*laws.warnings, *far_warning(far)]})
    if not laws.any_law:
        raise InputError(
            "no law can be fitted to these runs",
            why="; ".join(design.warnings[:1] + hyper_warnings[:1]) or "too few runs",
            remedy="add runs at other budgets and sizes (forescale ladder suggest)",
        )
    return laws


def _is_doubt(text: str, points: list[IsoMinimum]) -> bool:
    """Warnings that a forecast and a plan repeat: without them their numbers would be believed too far."""
    edges = bool(points) and all(point.edge for point in points) and EDGE in text
    return edges or text.endswith(UNTRUSTED) or SHARED_FACTOR in text or text.startswith(DISAGREE)


def _summary(ready: Prepared) -> RunsSummary:
    table = ready.table
    return RunsSummary(
        used=int(sum(len(m) for m in ready.used.members)),
        tuning=ready.beaten,
        flops=trained_flops(table.flops, table.trunk),
        left_out=sorted([*table.left_out, *ready.dropped], key=lambda out: out.row),
    )


def _check_shares(**shares: float) -> None:
    """Options that are a share, by name: strictly between 0 and 1, and nan is not."""
    for name, share in shares.items():
        if not 0 < share < 1:
            raise ConfigError(f"a {name} of {share} is not between 0 and 1", key=name)


def doubted(regime: Regime, design: Design) -> Regime:
    """Losses of two units in one column show no regime."""
    return "unknown" if any(text.endswith(UNTRUSTED) for text in design.warnings) else regime


def forms_named(form: str | None) -> tuple[Form, ...]:
    """The forms that `--form` means."""
    if form in (None, "ensemble"):
        return MEMBERS
    if form not in FORMS:
        raise ConfigError(f"--form {form} is unknown", remedy=f"one of {', '.join(FORM_NAMES)}", key="form")
    return (FORMS[form],)


def prepare(table: RunTable, band: float = 0.0025, minimum_steps: int = MINIMUM_STEPS) -> Prepared:
    """Measure the noise, make cells, judge the rungs, and keep the cells on the curve."""
    top = float(table.flops.max())
    points = measure_noise(table)
    noise = noise_law(points, top)
    every = cells_of(table, noise, band)
    cells = thin(every)
    rungs = judge(table, cells, noise, minimum_steps)
    keep = np.ones(len(cells), dtype=bool)
    dropped: list[LeftOut] = []
    if rungs.regime == "scaling" and rungs.smallest is not None:
        keep = cells.budget >= rungs.smallest * (1 - 1e-9)
        few = _few_steps(table, cells, minimum_steps)
        if (keep & ~few).sum() >= 6:
            keep &= ~few
        reasons = {r.flops: r.reason for r in rungs.reports if r.admissible is False}
        for i in np.flatnonzero(~keep):
            reason = next((text for c, text in reasons.items() if abs(np.log(c / cells.budget[i])) < 0.4), "")
            reason = f"its budget is below the scaling regime: {reason}" if reason else "too few optimizer steps"
            dropped += [LeftOut(row=int(table.row[k]), reason=reason) for k in cells.members[i]]
    beaten = len(table) - int(sum(len(m) for m in every.members))
    return Prepared(table, points, noise, cells, cells.take(keep), rungs, dropped, beaten, len(every) - len(cells))


def _few_steps(table: RunTable, cells: Cells, minimum_steps: int) -> npt.NDArray[np.bool_]:
    """Cells whose runs took less than a third of the steps asked: far above the curve (our probes: 3.2 against 2.4)."""
    steps = np.array([np.nanmax(np.append(table.steps[m], -1.0)) for m in cells.members])
    return np.asarray((steps > 0) & (steps < minimum_steps / 3))


def _noise_warnings(ready: Prepared) -> list[str]:
    warnings = []
    if ready.thinned:
        warnings.append(
            f"{ready.thinned + len(ready.cells):,} different sizes and tokens: the surface is fitted on the"
            f" {len(ready.cells) // 2} of most compute and as many spread over the others"
        )
    for point in ready.points:
        if point.seed_sd > 0.02:
            warnings.append(
                f"{DISAGREE} at {point.flops:.3g} FLOPs: {point.seed_sd:.1%} of the loss ({point.replicates} runs)"
            )
    if not ready.points:
        warnings.append("no replicated settings: seed noise is taken from public ladders (0.07%)")
    return warnings


@dataclass
class _Parts:
    """What the surface's laws came to."""

    surface: Surface | None = None
    allocation: Allocation | None = None
    compute: ComputeLaw | None = None
    minima: list[IsoMinimum] = None  # type: ignore[assignment]
    core: Core | None = None
    predictive: Predictive | None = None
    """Of a flat ladder, which needs no core."""
    bad: frozenset[int] = frozenset()
    """Data rows that a warning names already."""


def _surface_laws(
    ready: Prepared, design: Design, forms: tuple[Form, ...], level: float, n_draws: int, warnings: list[str]
) -> _Parts:
    cells, factor = ready.used, ready.table.flops_factor
    flat = ready.rungs.flat
    parts = _Parts(minima=minima(cells, factor, level))
    if flat is not None:  # its minima and exponents are noise
        widen = calibration.PRE_SCALING if ready.rungs.regime == "pre-scaling" else 1.0
        parts.surface, parts.predictive = flat.surface(level), flat.predictive(cells, widen)
        return parts
    warnings += _edge_warnings(parts.minima, cells)
    if not design.forecast:
        return parts
    pinned = fit_chinchilla(cells.size, cells.tokens, cells.loss) if forms == (PLAIN,) else None
    core = fit_core(cells, ready.noise, forms, n_draws=n_draws, pinned=pinned)
    parts.core = core
    warnings += _bad_warnings(cells, ready.table, core)
    parts.bad = frozenset(int(ready.table.row[k]) for i, _ in core.bad for k in cells.members[i])
    if design.surface:
        main = core.predictive.members[0].surface
        draws = core.surfaces()
        parts.surface = main.model_copy(update={"intervals": _intervals(draws, level)})
        parts.minima = minima(cells, factor, level, main)
        warnings += _floor_warnings(parts.surface)
        parts.allocation = allocation_through(parts.minima, factor, level)
        if parts.allocation is None:
            parts.allocation = allocation_of_surface(main, draws, factor, level)
    budgets = len(np.unique(cells.budget))
    flops, loss = frontier(cells, parts.minima)
    if design.surface or budgets >= 3:
        parts.compute = fit_compute(flops, loss, float(np.median(cells.noise)), level)
    if parts.compute is None:
        warnings.append(
            f"no compute law: {len(flops)} budgets with a best run, over {flops.max() / flops.min():.2g}x of compute;"
            " three over 3x are needed"
        )
    return parts


def _floor_warnings(surface: Surface) -> list[str]:
    """A floor that ran to 0, of the fit itself or of a share of its draws."""
    low, high = surface.intervals["E"]
    if surface.E > 0 and low > 0:
        return []
    ran = "the fit" if surface.E == 0 else "a part of its draws"
    return [
        f"E is not identified: the floor of {ran} ran to 0 (interval {low:.4g} to {high:.4g}), so these runs do not"
        " show where the loss ends, and far beyond them the law falls too low; runs at larger compute would tell, the"
        " forms with weak priors (no --form) do without"
    ]


def _edge_warnings(points: list[IsoMinimum], cells: Cells) -> list[str]:
    """Budgets whose best size is the smallest or largest tried, and which sizes to add there."""
    warnings = []
    for side in ("larger", "smaller"):
        edges = []
        for point in points:
            sizes = cells.size[cells.budget == _nearest(cells, point)]
            at_top = point.size > np.sqrt(sizes.min() * sizes.max())
            if point.edge and at_top == (side == "larger"):
                edges.append(point.flops)
        if edges:
            listed = ", ".join(f"{c:.3g}" for c in edges[:4]) + (", ..." if len(edges) > 4 else "")
            warnings.append(
                f"{EDGE} at {len(edges)} budgets ({listed} FLOPs): bounds only,"
                f" left out of the allocation law; add {side} sizes there"
            )
    return warnings


def _bad_warnings(cells: Cells, table: RunTable, core: Core) -> list[str]:
    """Runs far from a law that explains the others: they weigh little, and their reader should know."""
    warnings = []
    for i, left in sorted(core.bad, key=lambda found: int(table.row[cells.members[found[0]][0]])):
        rows = ", ".join(str(int(table.row[k])) for k in cells.members[i])
        side, why = ("above", ABOVE) if left > 0 else ("below", BELOW)
        warnings.append(
            f"row {rows} lies {abs(np.expm1(left)):.1%} {side} the law that explains the others, and counts little:"
            f" {why}"
        )
    return warnings


def _nearest(cells: Cells, point: IsoMinimum) -> float:
    budgets = np.unique(cells.budget)
    return float(budgets[np.abs(np.log(budgets / point.flops)).argmin()])


def _intervals(draws: list[Surface], level: float) -> dict[str, tuple[float, float]]:
    tail = (1 - level) / 2
    names = ("E", "A", "alpha", "B", "beta", "gamma")
    values = {name: np.array([getattr(s, name) for s in draws]) for name in names}
    return {
        name: (float(np.quantile(v, tail)), float(np.quantile(v, 1 - tail)))
        for name, v in values.items()
        if name != "gamma" or np.ptp(v) > 0
    }


def _check_warnings(check: SelfCheck | None, level: float) -> list[str]:
    """The largest budgets, forecast from the smaller ones, missed more often than they should."""
    if check is None or check.n < 3 or check.coverage >= level - 1.6 * np.sqrt(level * (1 - level) / check.n) - 0.2:
        return []
    return [
        f"the largest budgets did not come out as the smaller ones forecast: {check.coverage:.0%} of {check.n} runs"
        f" inside, median error {check.median_error:.1%}; is the top tuned, or does the law bend?"
    ]


LARGE_ERROR = 0.05
"""Median error of the self-check from which a fit is doubted, however wide its interval was: public ladders have 0.1 to
3.7%, and rows of two units or of two data sets 20 and more."""


def _check_doubts(check: SelfCheck | None) -> list[str]:
    """A self-check so far off that no forecast from these laws should be read without it."""
    if check is None or check.median_error < LARGE_ERROR:
        return []
    return [
        f"the self-check failed: the runs above {check.held_out_above:.3g} FLOPs came out {check.median_error:.0%}"
        f" (median of {check.n}) away from what the smaller ones forecast, {check.coverage:.0%} of them inside; are two"
        " units, data sets or ways of training in one table? residuals.csv (fit --out) shows row by row what does not"
        " fit, --where leaves rows out"
    ]


def _trunk_warnings(table: RunTable) -> list[str]:
    trunks = len(np.unique(table.trunk))
    if trunks >= len(table):
        return []
    spans = [float(np.ptp(np.log(table.tokens[table.trunk == t]))) for t in np.unique(table.trunk)]
    warnings = [f"{len(table)} runs share trunks ({trunks} of them): draws treat branches of one as dependent"]
    if max(spans) > np.log(4.0) + 0.05:
        warnings.append(f"a trunk spans {np.exp(max(spans)):.2g}x of tokens: its batch fits one end only (at most 4x)")
    return warnings


def _widening(rungs: Rungs, design: Design, inflation: float, under_tuned: bool) -> dict[str, float]:
    widen = max(inflation, calibration.PRE_SCALING) if rungs.regime == "pre-scaling" else inflation
    if not design.surface:
        widen *= 1.5
    return {"widen": widen, "widen_low": calibration.STEEPENING if rungs.steepening or under_tuned else 1.0}


def _scales(ready: Prepared, design: Design) -> tuple[dict[str, float], list[ScaleCurve]]:
    """Held-out error and frontier in each unit of size that the table allows (the paper's Figure 6)."""
    table, cells = ready.table, ready.used
    if len(table.sizes) < 2 or not design.surface or ready.rungs.flat is not None:
        return {}, []
    first = np.array([m[0] for m in cells.members])
    return compare_units({scale: sizes[first] for scale, sizes in table.sizes.items()}, cells)
