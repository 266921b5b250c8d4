"""Pairs of runs that differ in nothing but the corpus: the difference as it was measured, before any law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from forescale.base.records.compare import Better, Comparison, Crossing, Paired, Trend, TrendPoint
from forescale.scaling.columns import number, text_of
from forescale.scaling.sources import read_rows

SETTING = ("budget", "tokens", "n_layer", "d_model", "n_head", "n_kv_head", "d_ffn", "vocab_size", "seq_len",
           "flops_per_token", "params", "lr", "batch_tokens", "seed", "warmup_tokens", "weight_decay", "optimizer",
           "schedule", "validation", "tokenizer")  # fmt: skip
"""Columns that must agree; a column that neither table has agrees."""
LEVEL = 0.9

REACH = 10.0
"""A trend is followed this far beyond the budgets, and no further: it is a line, not a law."""
N_DRAWS = 2000
LEAST_TRUNKS = 4

Key = tuple[Any, ...]
Array = npt.NDArray[np.float64]


def paired(tables: Mapping[str, Any], metric: str | None = None) -> list[Paired]:
    """For each budget and each two corpora: the mean relative difference over their pairs of like runs.

    The interval takes pairs as independent (Student's t); runs that share a trunk are at other budgets. Tables without
    a `budget` column, or without like runs, give nothing.
    """
    read = {name: _runs(table, metric) for name, table in tables.items()}
    found: list[Paired] = []
    for a, b in combinations(read, 2):
        by_budget: dict[float, list[float]] = {}
        for key in read[a].keys() & read[b].keys():
            by_budget.setdefault(float(key[0]), []).append(math.log(read[a][key] / read[b][key]))
        found += [_pair(budget, (a, b), sorted(logs)) for budget, logs in by_budget.items()]
    return sorted(found, key=lambda p: (p.flops, p.pair))


def _runs(table: Any, metric: str | None) -> dict[Key, float]:
    """Setting -> loss of the finished runs (bits per byte where the table has them, or what `metric` says)."""
    runs: dict[Key, float] = {}
    for row in read_rows(table).rows:
        loss = _finite(row.get(metric or ("bpb" if row.get("bpb") not in (None, "") else "loss")))
        if _finite(row.get("budget")) is None or loss is None or loss <= 0:
            continue
        if row.get("status") not in (None, "", "finished"):
            continue
        runs[tuple(_plain(row.get(column)) for column in SETTING)] = loss
    return runs


def _plain(value: Any) -> Any:
    """A cell to compare settings by: 1e-3 and 0.001 are one."""
    found = _finite(value)
    return found if found is not None else text_of(value) or None


def _finite(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def _pair(budget: float, pair: tuple[str, str], logs: Sequence[float]) -> Paired:
    values = np.array(logs)
    mean, n = float(values.mean()), len(values)
    interval = None
    if n > 1:
        reach = float(student.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
        interval = (math.expm1(mean - reach), math.expm1(mean + reach))
    return Paired(
        flops=budget,
        pair=pair,
        runs=n,
        difference=math.expm1(mean),
        interval=interval,
        first_better=int((values < 0).sum()),
    )


def trends(tables: Mapping[str, Any], metric: str | None = None) -> list[Trend]:
    """For each two corpora a line through the log ratios of their like runs against ln C, with what it says.

    It needs no law of either corpus, and what like runs share (initial weights, settings) cancels. Runs of one trunk
    are not independent: trunks are drawn anew, deviations widened by the two degrees of freedom that the line takes.
    """
    read = {name: _runs(table, metric) for name, table in tables.items()}
    found = []
    for a, b in combinations(read, 2):
        trunks: dict[Key, list[tuple[float, float]]] = {}
        for key in read[a].keys() & read[b].keys():
            point = (math.log(float(key[0])), math.log(read[a][key] / read[b][key]))
            trunks.setdefault(key[2:], []).append(point)  # all but budget and tokens
        clusters = [np.array(sorted(trunks[key])) for key in sorted(trunks, key=str)]
        budgets = sorted({float(x) for cluster in clusters for x in cluster[:, 0]})
        if len(clusters) >= LEAST_TRUNKS and len(budgets) > 1:
            found.append(_trend((a, b), clusters, np.array(budgets)))
    return found


def _trend(pair: tuple[str, str], clusters: Sequence[Array], budgets: Array) -> Trend:
    middle = float(budgets.mean())
    level, slope = _line(np.ones((1, len(clusters))), clusters, middle)
    weights = np.random.default_rng(0).multinomial(len(clusters), [1 / len(clusters)] * len(clusters), N_DRAWS)
    levels, slopes = _line(weights.astype(float), clusters, middle)
    wider = math.sqrt(len(clusters) / (len(clusters) - 2))
    levels, slopes = level + wider * (levels - level), slope + wider * (slopes - slope)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ten = math.log(10)
    points = []
    for x in [*budgets, budgets[-1] + math.log(3), budgets[-1] + math.log(REACH)]:
        drawn = levels + slopes * (x - middle)
        low, high = np.expm1(np.quantile(drawn, tails))
        points.append(
            TrendPoint(
                flops=float(f"{math.exp(x):.6g}"),
                difference=math.expm1(float(level[0] + slope[0] * (x - middle))),
                interval=(float(low), float(high)),
                first_better=float((drawn < 0).mean()),
            )
        )
    zero = middle - float(level[0] / slope[0]) if slope[0] else math.inf
    inside = budgets[0] - math.log(REACH) <= zero <= budgets[-1] + math.log(REACH)
    ends = [levels + slopes * (budgets[k] - middle) for k in (0, -1)]
    steep = np.quantile(slopes, tails) * ten
    return Trend(
        pair=pair,
        slope=float(slope[0] * ten),
        interval=(float(steep[0]), float(steep[1])),
        crossing=math.exp(zero) if inside else None,
        crosses=float((np.sign(ends[0]) != np.sign(ends[1])).mean()),
        points=points,
    )


def _line(weights: Array, clusters: Sequence[Array], middle: float) -> tuple[Array, Array]:
    """Least squares for each row of weights [draws, clusters]: level at `middle`, and slope (0 where none is seen)."""
    n = weights @ np.array([len(c) for c in clusters], dtype=float)
    x = weights @ np.array([(c[:, 0] - middle).sum() for c in clusters])
    y = weights @ np.array([c[:, 1].sum() for c in clusters])
    xx = weights @ np.array([((c[:, 0] - middle) ** 2).sum() for c in clusters])
    xy = weights @ np.array([((c[:, 0] - middle) * c[:, 1]).sum() for c in clusters])
    spread = xx - x * x / n
    slope = np.where(spread > 1e-9, (xy - x * y / n) / np.maximum(spread, 1e-9), 0.0)
    return (y - slope * x) / n, slope


def with_pairs(made: Comparison, tables: Mapping[str, Any], metric: str | None = None) -> Comparison:
    """The comparison with what its like runs say: pairs, trends, crossings that the laws do not see, contradictions."""
    lines = trends(tables, metric)
    crossings = list(made.crossings)
    for line in lines:
        if line.crossing is None or any(set(c.pair) == set(line.pair) for c in crossings):
            continue
        if line.points[0].flops <= line.crossing <= line.points[-3].flops:  # inside the budgets only
            pair = line.pair if line.slope > 0 else line.pair[::-1]
            crossings.append(Crossing(pair=pair, flops=line.crossing, probability=line.crosses))
    return made.model_copy(
        update={
            "paired": paired(tables, metric),
            "trends": lines,
            "crossings": sorted(crossings, key=lambda c: c.flops),
            "warnings": [*made.warnings, *contradictions(made.better, lines)],
        }
    )


def contradictions(better: Sequence[Better], lines: Sequence[Trend]) -> list[str]:
    """Where like runs say surely (95%) the opposite of the laws' order, at a budget that was run."""
    said = []
    for line in lines:
        a, b = line.pair
        for point in line.points[:-2]:
            order = next((x.order for x in better if math.isclose(x.flops, point.flops, rel_tol=1e-3)), None)
            if order is None or a not in order or b not in order or 0.05 < point.first_better < 0.95:
                continue
            first = a if point.first_better > 0.5 else b
            if order.index(first) != min(order.index(a), order.index(b)):
                said.append(
                    f"at {point.flops:.3g} FLOPs the laws have {order[0]} first, but like runs have {first} ahead by "
                    f"{abs(point.difference):.1%} of the loss: believe the runs"
                )
    return said
