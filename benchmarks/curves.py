"""Loss curves with known ends, by laws that `watch` does not use, and the same curves as people's logs have them.

Half of them follow the annealing law of Tissue et al. (arXiv 2408.11029): L0 + A S1^-a - C S2, where S1 is the rate
summed over steps and S2 the drops of the rate, each remembered for a while. The other half have an excess that goes with
a power of the rate and follows it with a lag. Both get a start from the loss of chance, noise that is partly shared by
neighbours, a slow wander, and some of them spikes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.records.spec import MULTI_STEP

Array = npt.NDArray[np.float64]

SCHEDULES = ("multi-step", "cosine to 0.1", "cosine to 0", "linear to 0", "last fifth to 0", "constant")


@dataclass(frozen=True)
class Known:
    """A curve at every logged step, and the end it truly comes to."""

    step: Array
    loss: Array
    rate: Array
    steps: float
    end: float


def factor(schedule: str, done: Array) -> Array:
    """Rate over its peak at a share of the steps, after warm-up."""
    if schedule == "multi-step":
        return np.select([done >= start for start, _ in MULTI_STEP[::-1]], [f for _, f in MULTI_STEP[::-1]], 1.0)
    floor = 0.1 if schedule.endswith("0.1") else 0.0
    if schedule.startswith("cosine"):
        return floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * done))
    if schedule == "linear to 0":
        return 1.0 - done
    if schedule == "last fifth to 0":
        return np.clip((1.0 - done) / 0.2, 0.0, 1.0)
    return np.ones_like(done)


def make_curve(schedule: str, seed: int, *, points: int = 400) -> Known:
    """One run of this schedule; everything else is drawn."""
    rng = np.random.default_rng((seed, SCHEDULES.index(schedule)))
    n = 4000  # the fine grid; a step of it stands for steps / n
    steps = float(np.round(10 ** rng.uniform(3.0, 5.5)))
    done = np.arange(1, n + 1) / n
    warm = rng.uniform(0.005, 0.03)
    f = np.minimum(1.0, done / warm) * factor(schedule, done)
    floor, slope = rng.uniform(1.5, 3.0), rng.uniform(0.25, 0.7)
    reducible = floor * rng.uniform(0.04, 0.3)  # still above the floor at the end
    gain = rng.uniform(0.02, 0.09)
    area = np.cumsum(f) / n
    hot = floor + reducible * (area / area[-1]) ** -slope
    if rng.random() < 0.5:
        keep = 1.0 - 10 ** rng.uniform(0.7, 2.0) / n  # memory of the drops: 1 to 20% of the run
        drops = np.maximum(0.0, -np.diff(np.maximum.accumulate(f[::-1])[::-1], prepend=f.max()))
        held = np.empty(n)
        total = 0.0
        for k, drop in enumerate(drops):
            total = keep * total + drop
            held[k] = total
        s2 = np.cumsum(held)
        reference = (1.0 - 0.1) * 0.1 * n * 0.6
        clean = hot - gain * floor * np.minimum(s2 / reference, 1.6)
    else:
        power, lag = rng.uniform(0.4, 1.0), rng.uniform(0.002, 0.02)
        aim = f**power
        aim[: int(warm * n)] = 1.0
        excess = np.empty(n)
        now = 1.0
        for k in range(n):
            now += (aim[k] - now) / (lag * n)
            excess[k] = now
        clean = hot * (1.0 - gain * (1.0 - excess) / (1.0 - 0.1**power))
    chance = rng.uniform(9.0, 11.8)
    start = np.exp(-done / rng.uniform(0.004, 0.02))
    clean = np.minimum(clean, chance) * (1 - start) + chance * start
    wander = 10 ** rng.uniform(-3.3, -2.6) * np.cumsum(rng.standard_normal(n)) / np.sqrt(n)
    true = clean * np.exp(wander)
    at = np.unique(np.linspace(n / points, n, points).astype(int)) - 1
    sd, shared = 10 ** rng.uniform(-2.5, -1.5), rng.uniform(0.0, 0.6)
    noise = np.empty(len(at))
    last = 0.0
    for k in range(len(at)):
        last = shared * last + np.sqrt(1 - shared**2) * rng.standard_normal()
        noise[k] = sd * last
    loss = true[at] * np.exp(noise)
    if rng.random() < 0.3:  # spikes that heal
        for where in rng.integers(20, len(at) - 20, 3):
            width = int(rng.integers(1, 6))
            loss[where : where + width] *= 1.0 + rng.uniform(0.05, 0.5) * np.linspace(1, 0.2, width)
    return Known(np.ceil(done[at] * steps), loss, 1e-3 * f[at], steps, float(true[-1]))


def rows(known: Known, until: float, *, rates: bool = True, dirt: int | None = None) -> list[dict[str, object]]:
    """The log up to a share of the run; with `dirt`, as a log is after restarts, gaps and lost points."""
    seen = known.step <= until * known.steps
    table: list[dict[str, object]] = [
        {"step": int(s), "train/loss": float(v), **({"lr": float(r)} if rates else {})}
        for s, v, r in zip(known.step[seen], known.loss[seen], known.rate[seen], strict=True)
    ]
    if dirt is None or len(table) < 12:
        return table
    rng = np.random.default_rng(dirt)
    back, size = int(rng.integers(4, len(table) - 4)), int(rng.integers(1, 4))
    again = [row | {"train/loss": float(row["train/loss"]) * 1.01} for row in table[back - size : back]]  # type: ignore[arg-type]
    table = [*table[: back - size], *again, *table[back - size :]]  # killed, and resumed from a checkpoint before
    hole = int(rng.integers(2, len(table) - 2))
    table = table[:hole] + table[hole + max(1, len(table) // 20) :] if len(table) > 30 else table
    if rng.random() < 0.5:  # logged four times as seldom from some step on
        turn = int(rng.integers(len(table) // 3, len(table)))
        table = table[:turn] + table[turn::4]
    table[int(rng.integers(1, len(table) - 1))]["train/loss"] = float("nan")
    return [row | {"val/loss": 1.02 * float(row["train/loss"]) if k % 10 == 0 else ""} for k, row in enumerate(table)]  # type: ignore[arg-type]
