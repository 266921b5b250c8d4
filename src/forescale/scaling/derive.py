"""What usable rows say together: trunks, budgets, entropy, and the conditions that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Unit
from forescale.base.records.spec import MULTI_STEP
from forescale.scaling.columns import number, text_of
from forescale.scaling.sources import Row

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUDGET_TOLERANCE = 0.10
"""Without a `budget` column, compute within this fraction is one budget."""
SHARED = MULTI_STEP[1][0]
"""Share of a branch's compute before its decay, which branches of one trunk have in common (paper 3.1)."""
CONDITIONS = (
    "seq_len", "tokenizer", "validation", "schedule", "warmup_tokens", "weight_decay", "optimizer", "unique_tokens",
    "batch_tokens", "lr",
)  # fmt: skip


def trained_flops(flops: Array, trunk: Ints) -> float:
    """Compute that runs took together. Branches of one trunk share all but their decay, which the longest one paid."""
    return sum(of_one_trunk(flops[trunk == one]) for one in np.unique(trunk))


def of_one_trunk(branches: Array) -> float:
    """What a trunk took, from what each of its branches [n] did alone (FLOPs, or tokens)."""
    return SHARED * float(branches.max()) + (1.0 - SHARED) * float(branches.sum())


def trunks_of(rows: list[Row], at: list[int], found: dict[str, str]) -> Ints:
    """Number of the trunk of each run; runs of one name are one trunk; all others stand alone."""
    keys = []
    for i in at:
        trunk = text_of(rows[i].get(found["trunk"])) if "trunk" in found else ""
        run = text_of(rows[i].get(found["run"])) if "run" in found else ""
        keys.append(f"t{trunk}" if trunk else f"r{run}" if run else f"#{i}")
    numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def budgets_of(named: Array, flops: Array) -> Array:
    """The budget of each run: its column, or the geometric mean of a chain of computes each within 10%."""
    result = named.copy()
    open_ = np.flatnonzero(np.isnan(named))
    order = open_[np.argsort(flops[open_])]
    start = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or flops[order[i]] > flops[order[start]] * (1 + BUDGET_TOLERANCE):
            members = order[start:i]
            result[members] = np.exp(np.log(flops[members]).mean())
            start = i
    return result


def bigram_of(column: Callable[[str], Array], unit: Unit, loss: Array) -> Array:
    """The tokens\' own bigram entropy in the unit of the losses; nan where the table has none."""
    if unit == "bpb":
        return column("bigram_bpb")
    nats = column("bigram_loss")
    bytes_ratio = loss / column("bpb")  # nats per token over bits per byte: the same for every entropy of these tokens
    return np.asarray(np.where(np.isnan(nats), column("bigram_bpb") * bytes_ratio, nats))


def conditions_of(rows: list[Row], at: list[int], found: dict[str, str], batch: Array) -> dict[str, Any]:
    """What the runs had in common: one value, or [lowest, highest], or the list of words."""
    result: dict[str, Any] = {}
    for name in CONDITIONS:
        if name not in found:
            continue
        texts = sorted({text_of(rows[i].get(found[name])) for i in at} - {""})
        if not texts:
            continue
        numbers = [number(t) for t in texts]
        if all(v is not None for v in numbers):
            values = sorted(v for v in numbers if v is not None)
            result[name] = values[0] if len(values) == 1 else [values[0], values[-1]]
        else:
            result[name] = texts[0] if len(texts) == 1 else texts
    finite = batch[np.isfinite(batch)]
    if "batch_tokens" not in result and len(finite):
        low, high = float(finite.min()), float(finite.max())
        result["batch_tokens"] = low if low == high else [low, high]
    return result
