"""Rows of the run table, read for drawing: numbers coerced, rungs grouped, losers set apart."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forescale.report.figure import number, percent

COMPUTE = "compute C (FLOPs)"
UNITS = {"bpb": "bits per byte", "nats_per_token": "nats per token"}
SIZES = {"M": "model scale M (FLOPs a token)", "N1": "parameters without embeddings N1", "N2": "parameters N2"}
Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One finished run as a figure needs it; NaN where the table says nothing."""

    name: str
    flops: float
    budget: float
    """The nominal compute; runs within 10% of each other share one."""
    size: float
    tokens: float
    loss: float
    lr: float
    batch: float
    path: str = ""

    @property
    def hover(self) -> str:
        """What a reader sees on this run's mark: its name, its numbers, where it lies."""
        lines = [
            self.name,
            f"loss {number(self.loss, 5)}",
            f"C {number(self.flops, 3)} FLOPs · size {number(self.size, 3)} · D {number(self.tokens, 3)} tokens",
        ]
        if math.isfinite(self.lr) or math.isfinite(self.batch):
            lines.append(f"learning rate {number(self.lr, 3)} · batch {number(self.batch, 4)} tokens")
        return "\n".join(lines + ([self.path] if self.path else []))


def read(rows: Rows, *, scale: str = "M", unit: str = "bpb", paths: Mapping[str, str] | None = None) -> list[Run]:
    """The finished runs that have a loss in `unit`, in order of compute."""
    runs = []
    for place, row in enumerate(rows, start=1):
        if str(row.get("status") or "finished") != "finished":
            continue
        loss = value(row, "bpb" if unit == "bpb" else "loss")
        size = _size(row, scale)
        tokens, flops = value(row, "tokens"), value(row, "flops")
        if scale != "M":
            flops = 6.0 * size * tokens
        if not math.isfinite(flops):
            flops = size * tokens
        if not (math.isfinite(loss) and math.isfinite(flops)):
            continue
        budget = value(row, "budget")
        name = str(row.get("run") or f"row {place}")
        path = (paths or {}).get(f"runs/{row.get('trunk') or name}", (paths or {}).get(f"runs/{name}", ""))
        runs.append(
            Run(
                name, flops, budget if math.isfinite(budget) and scale == "M" else flops, size, tokens, loss,
                value(row, "lr"), value(row, "batch_tokens"), path,
            )
        )  # fmt: skip
    return sorted(runs, key=lambda run: run.flops)


def _size(row: Mapping[str, Any], scale: str) -> float:
    if scale == "M":
        return value(row, "flops_per_token")
    if scale == "N1":
        given = value(row, "params_non_embedding")
        embedding = 2 * value(row, "vocab_size") * value(row, "d_model")
        return given if math.isfinite(given) else value(row, "params") - embedding
    return value(row, "params")


def value(row: Mapping[str, Any], key: str) -> float:
    """A cell as a number; NaN for an empty, missing or unreadable one."""
    try:
        return float(row[key])
    except (KeyError, TypeError, ValueError):
        return math.nan


def by_budget(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Rungs, ascending: runs whose budgets lie within 10% of the rung's first."""
    rungs: dict[float, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.budget):
        last = next(reversed(rungs), None)
        if last is not None and run.budget <= 1.1 * last:
            rungs[last].append(run)
        else:
            rungs[run.budget] = [run]
    return rungs


def best_by_size(runs: Iterable[Run]) -> list[Run]:
    """The best run of each size (within 1%), ascending in size: the others lost on learning rate or batch."""
    best: dict[int, Run] = {}
    for run in runs:
        if not (math.isfinite(run.size) and run.size > 0):
            continue
        key = round(100 * math.log(run.size))
        if key not in best or run.loss < best[key].loss:
            best[key] = run
    return [best[key] for key in sorted(best)]


@dataclass(frozen=True)
class Cell:
    """One setting of learning rate and batch at one budget and size, its seeds averaged."""

    lr: float
    batch: float
    loss: float
    excess: float
    """Fraction above the best cell."""
    runs: tuple[Run, ...]

    @property
    def hover(self) -> str:
        """The cell's numbers, then its runs."""
        seeds = f"mean of {len(self.runs)} runs\n" if len(self.runs) > 1 else ""
        return f"{percent(self.excess)} above the best setting\n{seeds}{self.runs[0].hover}"


def cells(rung: Sequence[Run]) -> list[Cell]:
    """The settings tried at the size of a rung where most were tried; empty when fewer than four differ."""
    by_size: dict[int, dict[tuple[float, float], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in rung:
        if math.isfinite(run.lr) and math.isfinite(run.batch) and run.lr > 0 and run.batch > 0:
            key = round(20 * math.log(run.size)) if math.isfinite(run.size) and run.size > 0 else 0
            by_size[key][(run.lr, run.batch)].append(run)
    if not by_size:
        return []
    tried = max(by_size.values(), key=len)
    if len(tried) < 4:
        return []
    means = {setting: sum(run.loss for run in runs) / len(runs) for setting, runs in tried.items()}
    best = min(means.values())
    return [Cell(*setting, means[setting], means[setting] / best - 1, tuple(runs)) for setting, runs in tried.items()]
