"""Runs that published laws, and others like them, would give: designs from laptop to hand-off, forecast and compared.

`python -m benchmarks.known [laws]` writes its table into docs/laws.md. The truths are `chinchilla` and `epoch` of
`forescale plan --laws`, and laws drawn around them; noise is 0.2% unless the row says otherwise.
"""

from __future__ import annotations

import sys
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from benchmarks.page import write
from benchmarks.scores import LEVELS, Score, covered, score
from forescale.base.records.laws import Surface
from forescale.scaling import published
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.predictive import surface_split

Rng = np.random.Generator
Point = tuple[float, float]
DESIGNS: dict[str, tuple[float, ...]] = {
    "IsoFLOP 1e16 to 1e18": (1e16, 3e16, 1e17, 3e17, 1e18),
    "IsoFLOP 1e18 to 1e20": (1e18, 3e18, 1e19, 3e19, 1e20),
    "IsoFLOP 6e18 to 3e21": (6e18, 3e19, 1e20, 6e20, 3e21),
}
"""Budgets, five sizes each; targets at the best split of 10 and 100 times the largest."""
HAND_OFF = "190M to 1.3B, 20 to 200 tokens a parameter"
TARGETS = {"7B on 0.14T": (7e9, 1.4e11), "7B on 4T": (7e9, 4e12), "13B on 5T": (13e9, 5e12)}


@dataclass(frozen=True)
class Known:
    """Rows of a run table, the targets by name, and what a run there comes to."""

    design: str
    rows: list[dict[str, Any]]
    targets: dict[str, tuple[float, float, float]]


def truths(count: int, rng: Rng) -> list[Surface]:
    """The published ones first, then laws drawn around them."""
    found = [s for name in ("chinchilla", "epoch") if (s := published.laws(name).surface) is not None]
    while len(found) < count:
        alpha, beta = (float(v) for v in rng.uniform(0.24, 0.42, 2))
        a, b = (float(v) for v in rng.uniform(0.25, 0.5, 2))
        floor = float(rng.uniform(1.4, 2.1))
        found.append(
            Surface(form="chinchilla", E=floor, A=a * 1e9**alpha, alpha=alpha, B=b * 2e10**beta, beta=beta)
        )  # fmt: skip
    return found[:count]


def ladders(truth: Surface, rng: Rng, noise: float) -> list[Known]:
    """Every design on one law."""

    def run(size: float, tokens: float) -> float:
        return truth.loss(size, tokens) * float(np.exp(noise * rng.standard_normal()))

    def row(size: float, tokens: float) -> dict[str, Any]:
        return {"params": size, "tokens": tokens, "loss": run(size, tokens)}

    exponent, log_coefficient = surface_split(truth)

    def best(flops: float) -> Point:
        size = float(np.exp(log_coefficient + exponent * np.log(flops / 6)))
        return size, flops / 6 / size

    found = []
    for design, budgets in DESIGNS.items():
        rows = []
        for flops in budgets:
            for step in np.linspace(-1.1, 1.1, 5):
                size = best(flops)[0] * float(np.exp(step + 0.1 * rng.standard_normal()))
                rows.append(row(size, flops / 6 / size))
        targets = {f"{k}x": best(k * budgets[-1]) for k in (10, 100)}
        found.append(Known(design, rows, {name: (n, d, run(n, d)) for name, (n, d) in targets.items()}))
    rows = [row(n, 20 * n * m) for n in (190e6, 370e6, 760e6, 1.3e9) for m in (1, 2, 5, 10)]
    found.append(Known(HAND_OFF, rows, {name: (n, d, run(n, d)) for name, (n, d) in TARGETS.items()}))
    return found


def scored(known: Known) -> dict[str, tuple[Score, list[bool]]]:
    """The score of each target's forecast, and whether its interval of each of LEVELS held."""
    laws = fit(known.rows, level=LEVELS[-1])
    found = {}
    for name, (size, tokens, outcome) in known.targets.items():
        scale = size * (6.0 if laws.scale == "M" else 1.0)
        made = [forecast(laws, model_scale=scale, tokens=tokens, level=level) for level in LEVELS]
        scores = [score(m.loss, m.interval, outcome, level) for m, level in zip(made, LEVELS, strict=True)]
        found[name] = scores[-1], [s.inside for s in scores]
    return found


def table(count: int, noises: tuple[float, ...] = (0.002, 0.005)) -> list[str]:
    """One line a noise, design and target."""
    lines = [
        "| noise | ladder | target | laws | mean error % | lean % | coverage of 50, 80, 90% | width % | Winkler % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for noise in noises:
        rng = np.random.default_rng(20_240_105)
        found: dict[tuple[str, str], list[tuple[Score, list[bool]]]] = {}
        for truth in truths(count, rng):
            for known in ladders(truth, rng, noise):
                for target, value in scored(known).items():
                    found.setdefault((known.design, target), []).append(value)
        for (design, target), values in found.items():
            error, width, _, winkler = np.array([astuple(v) for v, _ in values], dtype=float).T
            lines.append(
                f"| {noise:.1%} | {design} | {target} | {len(values)} | {100 * np.abs(error).mean():.2f} |"
                f" {100 * error.mean():+.2f} | {covered([held for _, held in values])} | {100 * width.mean():.1f} |"
                f" {100 * winkler.mean():.1f} |"
            )
    return lines


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    lines = table(count)
    print("\n".join(lines))
    if count >= 20:
        write("known", lines)


if __name__ == "__main__":
    main()
