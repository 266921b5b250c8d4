"""Pairs of runs that differ in nothing but the corpus: the difference as it was measured, before any law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import t as student

from forescale.base.records.compare import Paired
from forescale.scaling.sources import read_rows

SETTING = ("budget", "tokens", "n_layer", "d_model", "n_head", "n_kv_head", "d_ffn", "vocab_size", "seq_len",
           "flops_per_token", "params", "lr", "batch_tokens", "seed", "warmup_tokens", "weight_decay", "optimizer",
           "schedule", "validation", "tokenizer")  # fmt: skip
"""Columns that must agree; a column that neither table has agrees."""
LEVEL = 0.9

Key = tuple[Any, ...]


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
        loss = _number(row.get(metric or ("bpb" if row.get("bpb") not in (None, "") else "loss")))
        if _number(row.get("budget")) is None or loss is None or loss <= 0:
            continue
        if row.get("status") not in (None, "", "finished"):
            continue
        runs[tuple(_plain(row.get(column)) for column in SETTING)] = loss
    return runs


def _plain(value: Any) -> Any:
    number = _number(value)
    return (None if value in (None, "") else str(value)) if number is None else number


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


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
