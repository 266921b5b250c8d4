"""The paper's Figures 2 to 6, drawn from the reader's own runs and laws. Records in, Figures out; nothing is fitted
here but the parabola that guides the eye through an IsoFLOP profile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws
from forescale.base.records.run import RunRecord
from forescale.report.figure import Axis, Band, Figure, Line, Points, Role, Rule, Series, number, percent
from forescale.report.hyper_figures import batch, learning_rate, responses
from forescale.report.rows import COMPUTE, SIZES, UNITS, Run, best_by_size, by_budget, read
from forescale.report.scale_figures import scale_figures


def all_figures(
    laws: Laws | None,
    rows: Sequence[Mapping[str, Any]],
    *,
    paths: Mapping[str, str] | None = None,
    band: Sequence[Forecast] = (),
    forecast: Forecast | None = None,
    target: RunRecord | None = None,
) -> list[Figure]:
    """Every figure that these laws and runs can fill, in the paper's order; no `band`: the laws are asked for it."""
    laws = laws or Laws()
    runs = read(rows, scale=laws.scale, unit=laws.unit, paths=paths)
    band = band or band_of(laws, runs, forecast)
    drawn = [*responses(laws, runs), learning_rate(laws, runs), batch(laws, runs), isoflop(laws, runs)]
    drawn += [model_scale(laws), token_scale(laws), frontier(laws, runs, band, forecast, target), *scale_figures(laws)]
    return [figure for figure in drawn if figure is not None]


# --- Figure 4: IsoFLOP profiles and the optimal split ---


def isoflop(laws: Laws, runs: Sequence[Run]) -> Figure | None:
    """Loss against model scale, one curve a budget, with the minima (paper Fig. 4a)."""
    rungs = {budget: best for budget, rung in by_budget(runs).items() if len(best := best_by_size(rung)) >= 2}
    if not rungs:
        return None
    series: list[Series] = []
    for place, (budget, best) in enumerate(rungs.items()):
        label = f"C = {number(budget, 2)}"
        xs, ys = tuple(run.size for run in best), tuple(run.loss for run in best)
        curve = _parabola(xs, ys)
        if curve is not None:
            series.append(Line("", *curve, role=place))
        hover, names = tuple(run.hover for run in best), tuple(run.name for run in best)
        series.append(Points(label, xs, ys, place, hover, names))
    known = [point for point in laws.minima if not point.edge]
    if known:
        sizes = [point.size_interval or (point.size, point.size) for point in known]
        losses = [point.loss_interval or (point.loss, point.loss) for point in known]
        series.append(
            Points(
                f"minimum, {100 * laws.level:.0f}% interval" if any(p.size_interval for p in known) else "minimum",
                tuple(p.size for p in known),
                tuple(p.loss for p in known), "accent",
                tuple(f"minimum at C = {number(p.flops, 3)}\nsize {number(p.size, 3)} · D {number(p.tokens, 3)}\n"
                      f"loss {number(p.loss, 5)} · from {p.runs} runs" for p in known),
                low=tuple(low for low, _ in losses), high=tuple(high for _, high in losses),
                left=tuple(low for low, _ in sizes), right=tuple(high for _, high in sizes), mark="diamond",
            )
        )  # fmt: skip
    edges = sum(point.edge for point in laws.minima)
    caption = "At one budget, a small model sees more tokens and a large one fewer: the lowest point is the best split."
    caption += f" {edges} budgets have their best size at the grid's edge, so no minimum is marked." if edges else ""
    return Figure(
        "isoflop", "IsoFLOP profiles", caption, Axis(SIZES[laws.scale], log=True), Axis(UNITS[laws.unit], log=True),
        tuple(series), height=440,
    )  # fmt: skip


def _parabola(xs: Sequence[float], ys: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """A parabola in ln(size) through a profile, to guide the eye; None when it would not open upward."""
    if len(xs) < 3:
        return None
    at = np.log(np.array(xs))
    middle = at.mean()
    a, b, c = np.polyfit(at - middle, np.array(ys), 2)
    if a <= 0:
        return None
    grid = np.linspace(at.min(), at.max(), 41)
    return tuple(np.exp(grid).tolist()), tuple((a * (grid - middle) ** 2 + b * (grid - middle) + c).tolist())


def model_scale(laws: Laws) -> Figure | None:
    """The optimal model scale against compute (paper Fig. 4b)."""
    return _split(laws, "model", SIZES[laws.scale], "Optimal model scale")


def token_scale(laws: Laws) -> Figure | None:
    """The optimal number of tokens against compute (paper Fig. 4c)."""
    return _split(laws, "data", "tokens D", "Optimal data scale")


def _split(laws: Laws, which: str, label: str, title: str) -> Figure | None:
    law = laws.allocation
    if law is None:
        return None
    first = which == "model"
    known = laws.minima
    reach = [p.flops for p in known] or (
        [laws.largest.flops / 100, laws.largest.flops] if laws.largest else [1e17, 3e20]
    )
    grid = np.geomspace(min(reach), 10 * max(reach), 40)
    middle = np.array([law.split(flops)[0 if first else 1] for flops in grid])
    xs, series = tuple(grid.tolist()), list[Series]()
    interval = law.intervals.get(f"{which}_exponent")
    if interval is not None:
        centre = math.exp(float(np.mean(np.log(reach))))
        exponent = law.model_exponent if first else law.data_exponent
        fan = [middle * (grid / centre) ** (end - exponent) for end in interval]
        low, high = np.minimum(*fan), np.maximum(*fan)
        words = f"{100 * laws.level:.0f}% interval of the exponent"
        series.append(Band(words, xs, tuple(low.tolist()), tuple(high.tolist())))
    series.append(Line("law", xs, tuple(middle.tolist())))
    for edge in (False, True):
        points = [p for p in known if p.edge == edge]
        if points:
            ys = [p.size if first else p.tokens for p in points]
            spread = [p.size_interval or (p.size, p.size) for p in points]
            ends = spread if first else [(p.tokens * p.size / b, p.tokens * p.size / a)
                                         for p, (a, b) in zip(points, spread, strict=True)]  # fmt: skip
            hover = tuple(f"C = {number(p.flops, 3)}\n{label} {number(y, 3)}" for p, y in zip(points, ys, strict=True))
            series.append(
                Points(
                    "at the grid's edge: a bound" if edge else "minima of the profiles", tuple(p.flops for p in points),
                    tuple(ys), "muted" if edge else "accent", hover, low=tuple(a for a, _ in ends),
                    high=tuple(b for _, b in ends), mark="ring" if edge else "diamond",
                )
            )  # fmt: skip
    letter, exponent, coefficient = (
        ("M", law.model_exponent, law.model_coefficient) if first else ("D", law.data_exponent, law.data_coefficient)
    )
    caption = (
        f"{letter} = {number(coefficient)} C^{exponent:.4g}: what the best split gives to the {which} as compute grows."
    )
    return Figure(f"{which}-scale", title, caption, Axis(COMPUTE, log=True), Axis(label, log=True), tuple(series))


# --- Figure 5: loss against compute ---


def forecast_band(laws: Laws, low: float, high: float, n: int = 32) -> list[Forecast]:
    """Forecasts at the optimal split along compute, asked of the laws themselves; empty when they cannot forecast."""
    from forescale.base.errors import ForescaleError
    from forescale.scaling.forecast import forecast

    found = []
    for flops in np.geomspace(low, high, n):
        try:
            found.append(forecast(laws, flops=float(flops)))
        except ForescaleError:
            return []
    return found


def band_of(laws: Laws | None, runs: Sequence[Run], forecast: Forecast | None) -> list[Forecast]:
    """Forecasts from the smallest rung to past the target, asked of the laws; empty where they cannot say."""
    if laws is None or laws.surface is None or not runs:
        return []
    low = laws.smallest_rung or min(run.flops for run in runs)
    high = max([run.flops for run in runs] + ([forecast.flops] if forecast else []))
    return forecast_band(laws, low, high * (1.6 if forecast else 10.0))


def frontier(
    laws: Laws,
    runs: Sequence[Run],
    band: Sequence[Forecast] = (),
    forecast: Forecast | None = None,
    target: RunRecord | None = None,
) -> Figure | None:
    """Loss against compute (paper Fig. 5): the ladder, the frontier with its interval, the forecast and the outcome."""
    rungs = by_budget(runs)
    if not rungs and forecast is None and not band:
        return None
    best = [min(rung, key=lambda run: run.loss) for rung in rungs.values()]
    series: list[Series] = []
    wide = [f for f in band if f.interval is not None]
    if wide:
        low, high = (tuple(f.interval[end] for f in wide if f.interval) for end in (0, 1))
        series.append(Band(f"{100 * wide[0].level:.0f}% interval", tuple(f.flops for f in wide), low, high))
    if band:
        series.append(Line("expected loss", tuple(f.flops for f in band), tuple(f.loss for f in band)))
    elif laws.compute is not None and best:
        end = max([run.flops for run in best] + ([forecast.flops] if forecast else []))
        grid = np.geomspace(best[0].flops, end, 60).tolist()
        series.append(Line("L = E + k C^−α", tuple(grid), tuple(laws.compute.loss(flops) for flops in grid), dash=True))
    others = [run for rung in rungs.values() for run in rung if run not in best]
    series += _ladder_marks(laws, best, others)
    series += _outcome_marks(laws, forecast, target)
    ends = max((run.flops for run in runs), default=None)
    rules = (Rule(ends, "ladder ends"),) if ends and (forecast or band) else ()
    caption = frontier_caption(laws, forecast, target, banded=bool(wide))
    return Figure(
        "frontier", "Loss against compute", caption, Axis(COMPUTE, log=True),
        Axis(UNITS[laws.unit], log=True), tuple(series), rules=rules, height=480, wide=True,
    )  # fmt: skip


def _ladder_marks(laws: Laws, best: Sequence[Run], others: Sequence[Run]) -> list[Series]:
    off = [rung.flops for rung in laws.rungs if rung.admissible is False]
    unfit = [run for run in best if any(abs(math.log(run.budget / flops)) < 0.1 for flops in off)]
    fit = [run for run in best if run not in unfit]
    return [
        *_marks("other ladder runs", others, "muted", "small"),
        *_marks("best of each budget", fit, "ink", "dot"),
        *_marks("budget off the curve", unfit, "muted", "ring"),
    ]


def _marks(label: str, runs: Sequence[Run], role: Role, mark: Literal["dot", "small", "ring"]) -> list[Points]:
    if not runs:
        return []
    xs, ys = tuple(run.flops for run in runs), tuple(run.loss for run in runs)
    return [Points(label, xs, ys, role, tuple(r.hover for r in runs), tuple(r.name for r in runs), mark=mark)]


def outcome_of(target: RunRecord | None, unit: str) -> float | None:
    """The target's validation loss in the forecast's unit."""
    if target is None or target.validation is None:
        return None
    loss = target.validation
    return loss.bits_per_byte if unit == "bpb" else loss.nats_per_token


def _outcome_marks(laws: Laws, forecast: Forecast | None, target: RunRecord | None) -> list[Series]:
    series: list[Series] = []
    if forecast is not None:
        low, high = forecast.interval or (forecast.loss, forecast.loss)
        hover = f"forecast {number(forecast.loss)}\n{number(low)} to {number(high)}\nC = {number(forecast.flops, 3)}"
        series.append(Points("forecast", (forecast.flops,), (forecast.loss,), "main", (hover,), low=(low,),
                             high=(high,), mark="diamond"))  # fmt: skip
    actual = outcome_of(target, forecast.unit if forecast else laws.unit)
    if target is not None and actual is not None:
        hover = f"{target.run}: outcome {number(actual)}\nC = {number(target.flops, 3)}"
        inside = forecast is None or forecast.interval is None or forecast.interval[0] <= actual <= forecast.interval[1]
        series.append(Points("outcome", (target.flops,), (actual,), "good" if inside else "bad", (hover,),
                             (target.run,), mark="star"))  # fmt: skip
    return series


def frontier_caption(laws: Laws, forecast: Forecast | None, target: RunRecord | None, *, banded: bool = True) -> str:
    """What the frontier says, in a sentence."""
    text = "Small runs fix the curve" + ("; the shaded band is where one new run should end." if banded else ".")
    actual = outcome_of(target, forecast.unit if forecast else laws.unit)
    if forecast is not None and actual is not None:
        text += f" The target was forecast at {number(forecast.loss)} and ended at {number(actual)}: an error of "
        text += f"{percent(forecast.loss / actual - 1, sign=True)}."
    return text
