"""Do learning-rate and batch laws find a truth that is known? Made-up grids, 72 by default.

    python -m benchmarks.hyper_grids [N] [--json]

Laws in compute, in (size, tokens), batch laws in compute or tokens; response with and without coupling, or steeper on
one side than the model can be; cells on one line, at several sizes a budget, or in a grid; 9 or 20 runs a cell, up to
twice off-centre; noise 0.1-0.3%. A row: share of exponents inside their 90% intervals, tables whose laws took other
variables than the truth's (where the cells could tell), and the excess of the laws' choice at 10 and 30 times the
largest compute, at 20 tokens a parameter.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import dataclass

import numpy as np

from forescale.scaling.hyper import fit_hyper
from forescale.scaling.table import read_runs

LINE, BUDGETS, GRID = "one line", "three sizes a budget", "sizes x tokens"
RATES = {"C": (0.249, -0.125, -0.125), "(N, D)": (1.79, -0.713, 0.307)}
BATCHES = {"C": (0.525, 0.3271, 0.3271), "D": (0.58, 0.0, 0.571)}
"""Coefficient, exponent of size, exponent of tokens: DeepSeek's Eq. 1 with C = 6 N D, and Step Law."""
RISES = {
    "uncoupled": (0.008, 0.005, 0.0, 0.0),
    "coupled": (0.008, 0.005, -0.005, 0.0),
    "cubic": (0.008, 0.005, -0.004, 0.004),
}
"""Of u², v², u v and, for rates above the best, u³."""


@dataclass(frozen=True)
class Truth:
    """Laws that made a table, and the surface around them."""

    rate: str
    batch: str
    rise: str

    def best(self, size: float, tokens: float) -> tuple[float, float]:
        """ln of the best rate and batch."""
        x, y = (
            math.log(k) + n * math.log(size) + d * math.log(tokens)
            for k, n, d in (RATES[self.rate], BATCHES[self.batch])
        )
        return x, y

    def excess(self, u: float, v: float) -> float:
        """ln loss above the best."""
        a, b, c, d = RISES[self.rise]
        return a * u * u + b * v * v + c * u * v + d * max(u, 0.0) ** 3

    def exponents(self, names: set[str], kind: str) -> dict[str, float] | None:
        """What a law in these variables should say; None where the truth is none in them."""
        _, n, d = RATES[self.rate] if kind == "rate" else BATCHES[self.batch]
        k = 0.0
        if "batch_tokens" in names:
            a, _, c, _ = RISES[self.rise]
            k = -c / (2 * a)
            n, d = n - k * BATCHES[self.batch][1], d - k * BATCHES[self.batch][2]
        if "size" not in names and n not in (0.0, d):
            return None
        if ("flops" in names) != (n == d) and "size" not in names:
            return None
        return {"flops": n, "size": n, "tokens": d, "batch_tokens": k}


def cells(design: str) -> list[tuple[float, float]]:
    if design == GRID:
        return [(n, n * t) for n in (5e7, 1e8, 2e8, 4e8) for t in (10, 40, 160)]
    around = (0.5, 1.0, 2.0) if design == BUDGETS else (1.0,)
    middles = [(c, math.sqrt(c / 120)) for c in np.geomspace(1e17, 1e19, 5 if design == BUDGETS else 6)]
    return [(n * f, c / 6 / n / f) for c, n in middles for f in around]


def judge(truth: Truth, design: str, width: int, index: int) -> dict[str, object]:
    rng = np.random.default_rng(index)
    noise, off = float(rng.choice([0.001, 0.002, 0.003])), float(rng.choice([-0.5, 0.0, 0.7]))
    rows = []
    for size, tokens in cells(design):
        x, y = truth.best(size, tokens)
        for i, j in itertools.product(range(width), range(3 if width == 3 else 4)):
            u, v = (i - (width - 1) / 2) * math.log(2) + off, (j - 1 - (width > 3) / 2) * math.log(2) + off
            loss = (1.8 + 480 * size**-0.35 + 2100 * tokens**-0.37) * math.exp(
                truth.excess(u, v) + noise * rng.standard_normal()
            )
            rows.append(
                {"params_non_embedding": size, "tokens": tokens, "lr": math.exp(x + u), "batch_tokens": math.exp(y + v)}
                | {"loss": loss}
            )
    rate, batch, _ = fit_hyper(read_runs(rows, scale="N1"))
    assert rate is not None
    assert batch is not None
    inside, wrong = [], 0
    for kind, law in (("rate", rate), ("batch", batch)):
        true = truth.exponents(set(law.exponents), kind)
        wrong += true is None and design != LINE
        if true is not None:
            inside += [law.intervals[n][0] <= true[n] <= law.intervals[n][1] for n in law.exponents]
        elif design != LINE:  # exponents of variables that are not the truth's miss it
            inside += [False] * len(law.exponents)
    excess = []
    for times in (10, 30):
        flops = times * max(6 * n * d for n, d in cells(design))
        size = math.sqrt(flops / 120)
        given = {"flops": flops, "size": size, "tokens": 20 * size}
        chosen = batch.value(**given)
        x, y = truth.best(size, 20 * size)
        excess.append(100 * truth.excess(math.log(rate.value(**given, batch_tokens=chosen)) - x, math.log(chosen) - y))
    return {"truth": truth, "design": design, "noise": noise, "inside": inside, "wrong": wrong, "excess": excess}


def _row(name: str, found: list[dict[str, object]]) -> dict[str, object]:
    excess = np.array([f["excess"] for f in found])
    return {
        "grids": name,
        "n": len(found),
        "inside": round(float(np.mean([i for f in found for i in f["inside"]])), 3),  # type: ignore[attr-defined]
        "wrong": sum(bool(f["wrong"]) for f in found),
        "mean_percent": excess.mean(axis=0).round(3).tolist(),
        "max_percent": excess.max(axis=0).round(3).tolist(),
    }


def main() -> None:
    given = [a for a in sys.argv[1:] if a.isdigit()]
    n = int(given[0]) if given else 72
    kinds = list(
        itertools.product(
            itertools.starmap(Truth, itertools.product(RATES, BATCHES, RISES)), (LINE, BUDGETS, GRID), (3, 5)
        )
    )
    order = np.random.default_rng(0).permutation(max(n, len(kinds))) % len(kinds)
    found = []
    for index, k in enumerate(order[:n]):
        truth, design, width = kinds[k]
        found.append(judge(truth, design, width, index))
    groups = [("all", found)]
    groups += [(r, [f for f in found if f["truth"].rise == r]) for r in RISES]  # type: ignore[attr-defined]
    groups += [(d, [f for f in found if f["design"] == d]) for d in (LINE, BUDGETS, GRID)]
    groups += [(f"noise {s:.1%}", [f for f in found if f["noise"] == s]) for s in (0.001, 0.002, 0.003)]
    rows = [_row(name, group) for name, group in groups if group]
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    print("| grids | n | exponents inside | wrong variables | mean excess % at 10x, 30x | largest % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in rows:
        print(f"| {r['grids']} | {r['n']} | {r['inside']} | {r['wrong']} | {r['mean_percent']} | {r['max_percent']} |")


if __name__ == "__main__":
    main()
