"""The paper's Figure 6 from the reader's own runs: the model's size in N1, N2 and M, and which forecasts best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from forescale.base.records.laws import Laws, ScaleCurve
from forescale.report.figure import Axis, Bars, Figure, Line, Points, Role, Rule, Series, number, percent
from forescale.report.rows import UNITS

NAMES = {"N1": "6 N1", "N2": "6 N2", "M": "M"}
ROLES: dict[str, Role] = {"M": "main", "N1": "accent", "N2": "ink"}


def scale_figures(laws: Laws) -> list[Figure]:
    """The frontier in each unit beside what was measured, the error of each on hidden runs, and their medians."""
    drawn = (scale_curves(laws), scale_errors(laws), scales(laws))
    return [figure for figure in drawn if figure is not None]


def scale_curves(laws: Laws) -> Figure | None:
    """Loss against compute counted in each unit: the frontier of the smaller budgets, and the larger ones it missed."""
    curves = laws.scale_curves
    if len(curves) < 2:
        return None
    series: list[Series] = []
    for curve in curves:
        series += _curve(curve)
    hidden = max(sum(run.hidden for run in curve.runs) for curve in curves)
    ends = "; ".join(f"{NAMES[c.scale]} {percent(top.predicted / top.loss - 1, sign=True)}"
                     for c in curves if (top := c.runs[-1]).hidden)  # fmt: skip
    caption = (
        f"Each frontier was fitted to the runs of at most {number(curves[0].hidden_above, 3)} FLOPs (dots) and drawn "
        f"on (dashed); the best run of {'the' if hidden == 1 else f'each of the {hidden}'} larger "
        f"budget{'s' * (hidden > 1)} ({'star' if hidden == 1 else 'stars'}) was hidden from it. A star below its curve "
        "did better than that unit forecast."
    )
    caption += f" Error at the largest run: {ends}." if ends else ""
    return Figure(
        "scale-curves", "One frontier for each measure of model scale", caption,
        Axis("compute, counted as 6 N1 D, 6 N2 D or M D (FLOPs)", log=True), Axis(UNITS[laws.unit], log=True),
        tuple(series), height=480, wide=True,
    )  # fmt: skip


def _curve(curve: ScaleCurve) -> list[Series]:
    role, name = ROLES[curve.scale], NAMES[curve.scale]
    seen = [run for run in curve.runs if not run.hidden]
    last = max((run.flops for run in seen), default=0.0)
    inside = [pair for pair in curve.curve if pair[0] <= last * (1 + 1e-9)]
    beyond = inside[-1:] + [pair for pair in curve.curve if pair[0] > last * (1 + 1e-9)]
    series: list[Series] = []
    for part, dash in ((inside, False), (beyond, True)):
        if len(part) > 1:
            label = "" if dash else f"frontier in {name}"
            series.append(Line(label, tuple(c for c, _ in part), tuple(loss for _, loss in part), role, dash))
    for hidden, mark in ((False, "dot"), (True, "star")):
        runs = [run for run in curve.runs if run.hidden == hidden]
        if not runs:
            continue
        hover = tuple(
            f"{name} D = {number(run.flops, 3)}\nmeasured {number(run.loss)} · this unit says {number(run.predicted)}\n"
            f"{percent(run.predicted / run.loss - 1, sign=True)}" for run in runs
        )  # fmt: skip
        series.append(
            Points(
                f"hidden, in {name}" if hidden else "", tuple(run.flops for run in runs),
                tuple(run.loss for run in runs), role, hover, mark="star" if mark == "star" else "dot",
            )
        )  # fmt: skip
    return series


def scale_errors(laws: Laws) -> Figure | None:
    """Signed error on hidden best runs against how far they lie beyond what the fit saw, over all rolling origins."""
    curves = [curve for curve in laws.scale_curves if len(_means(curve.errors)[0]) > 1]
    if len(curves) < 2:  # one distance only: the bars of `scales` say it all
        return None
    series: list[Series] = []
    for curve in curves:
        role, name = ROLES[curve.scale], NAMES[curve.scale]
        xs, ys = _means(curve.errors)
        series.append(Line(f"mean in {name}", xs, ys, role))
        hover = tuple(
            f"{name}: {percent(y, sign=True)}\n{number(x, 3)} × the largest run seen" for x, y in curve.errors
        )
        series.append(
            Points("", tuple(x for x, _ in curve.errors), tuple(y for _, y in curve.errors), role, hover, mark="small")
        )  # fmt: skip
    caption = (
        "The best run of each hidden budget, forecast by the same fit from every smaller part of the ladder. Above "
        "zero, larger models came out better than that measure of scale said; below, worse."
    )
    return Figure(
        "scale-errors", "How each measure of model scale errs as it looks ahead", caption,
        Axis("compute of the hidden run over the largest seen", log=True),
        Axis("forecast over measured loss, less 1", form="percent"), tuple(series),
        rules=(Rule(0.0, upright=False),),
    )  # fmt: skip


def _means(errors: Sequence[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean error where distances agree within a factor of 2: a line through clouds that hold several origins."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for ratio, error in errors:
        groups.setdefault(round(math.log2(ratio)), []).append((ratio, error))
    means = []
    for _, group in sorted(groups.items()):
        at = math.exp(sum(math.log(ratio) for ratio, _ in group) / len(group))
        means.append((at, sum(error for _, error in group) / len(group)))
    return tuple(at for at, _ in means), tuple(error for _, error in means)


def scales(laws: Laws) -> Figure | None:
    """Held-out error of the same fit with the model measured as 6N1, 6N2 or M (paper A.2, Fig. 6)."""
    if len(laws.scales) < 2:
        return None
    value = tuple(laws.scales.values())
    bars = Bars(
        "held-out error", tuple(NAMES.get(key, key) for key in laws.scales), value,
        roles=tuple("main" if key == laws.scale else "muted" for key in laws.scales),
        printed=tuple(percent(v) for v in value),
    )  # fmt: skip
    caption = (
        "Median error on hidden larger runs when the model's scale is measured without embeddings (N1), with them "
    )
    caption += f"(N2), or as FLOPs a token (M). These laws use {NAMES[laws.scale]}."
    return Figure(
        "scales", "Which measure of model scale forecasts best", caption, Axis("", names=bars.names),
        Axis("median held-out error", form="percent"), (bars,), legend=False,
    )  # fmt: skip
