"""Ladders with known truth: what a forecaster must pass before it is believed on real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forescale.base.records.laws import Surface

KINDS = ("well-specified", "broken law", "under-tuned top", "trunks", "pre-scaling")
BUDGETS = (1e17, 3e17, 1e18, 3e18, 1e19)
TARGET = 10.0
"""Targets lie at this many times the largest budget, at the optimal split."""


@dataclass(frozen=True)
class SyntheticLadder:
    """Rows of a run table, and what the target's loss really is."""

    kind: str
    seed: int
    rows: list[dict[str, Any]]
    truth: Surface
    size: float
    tokens: float
    expected: float
    """Noise-free loss of the target."""
    outcome: float
    """Loss of one new run there."""


def make_ladder(
    kind: str, seed: int, *, noise: float = 0.002, sizes: int = 5, budgets: tuple[float, ...] = BUDGETS
) -> SyntheticLadder:
    """A random but plausible ladder of one kind; the same seed gives the same ladder.

    well-specified: the generalised form. broken law: the loss falls faster from the middle of the ladder on.
    under-tuned top: the largest budget's runs are 3% too high. trunks: branches share most of their noise.
    pre-scaling: the smaller budgets are a plateau near the bigram entropy, with few steps.
    """
    rng = np.random.default_rng((KINDS.index(kind), seed))
    truth = _truth(rng)
    exponent, log_g = _split(truth)
    top = budgets[-1]
    rows: list[dict[str, Any]] = []
    trunk_noise: dict[int, float] = {}
    for flops in budgets:
        centre = np.exp(log_g + exponent * np.log(flops))
        spread = np.exp(np.linspace(-1.1, 1.1, sizes) + 0.2 * rng.standard_normal())
        for place, factor in enumerate(spread):
            size = float(centre * factor)
            tokens = float(flops / size)
            loss = _loss(kind, truth, size, tokens, top)
            error = noise * rng.standard_normal()
            row: dict[str, Any] = {"flops_per_token": size, "tokens": tokens, "budget": flops}
            if kind == "trunks":
                shared = trunk_noise.setdefault(place, 3 * noise * float(rng.standard_normal()))
                error = 0.4 * error + shared
                row["trunk"] = f"trunk-{place}"
            if kind == "under-tuned top" and flops == top:
                error += 0.03
            if kind == "pre-scaling":
                row["steps"] = 2000 if flops >= top / 4 else 300
                row["bigram_loss"] = truth.loss(centre, flops / centre) if flops == budgets[-2] else None
            rows.append({**row, "loss": loss * float(np.exp(error))})
    if kind == "pre-scaling":
        bigram = max(r["loss"] for r in rows if r["budget"] == budgets[-2])
        rows = [{**r, "bigram_loss": bigram} for r in rows]
    target = TARGET * top
    size = float(np.exp(log_g + exponent * np.log(target)))
    expected = _loss(kind, truth, size, target / size, top)
    outcome = expected * float(np.exp(noise * rng.standard_normal()))
    return SyntheticLadder(kind, seed, rows, truth, size, target / size, expected, outcome)


def _truth(rng: np.random.Generator) -> Surface:
    alpha, beta = (float(v) for v in rng.uniform(0.28, 0.42, 2))
    gamma = float(np.exp(rng.normal(-0.5, 0.25)))
    floor = float(rng.uniform(1.4, 2.1))
    # Both terms are of one size at M = 1e9, D = 1e9 (C = 1e18), and make the loss some 3.5 nats.
    term = float(rng.uniform(0.7, 1.3))
    return Surface(
        form="generalised", E=floor, A=term * 1e9**alpha, alpha=alpha, B=term * 1e9**beta, beta=beta, gamma=gamma
    )


def _split(surface: Surface) -> tuple[float, float]:
    from forescale.scaling.predictive import surface_split

    return surface_split(surface)


def _loss(kind: str, truth: Surface, size: float, tokens: float, top: float) -> float:
    loss = truth.loss(size, tokens)
    if kind == "broken law":
        beyond = max(0.0, float(np.log(size * tokens / (top / 12))))
        loss *= float(np.exp(-0.08 * beyond))
    if kind == "pre-scaling":
        below = max(0.0, float(np.log(top / 4 / (size * tokens))))
        loss *= float(np.exp(-0.04 * below))
    return loss
