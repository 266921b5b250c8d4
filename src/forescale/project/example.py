"""`example runs`: a table to try `fit` on. Synthetic, from the laws below, so that a fit can be held against the truth.

L = 1.8 + 30 / M^0.30 + 110 / D^0.32 nats per token, times 1 + 0.006 ln(lr/lr*)^2 + 0.004 ln(B/B*)^2, with the paper's
lr* = 0.3118 C^-0.1250 and B* = 0.2920 C^0.3271, and a seed noise of 0.1%. Best split: M ~ C^0.516, D ~ C^0.484.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Iterator

BUDGETS = (1e17, 3e17, 1e18, 3e18, 1e19)
SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)
RATES = (0.35, 0.6, 1.7, 2.8)
BATCHES = (0.4, 2.5)
SEEDS = (1, 2)
NOISE = 0.001
SEQ_LEN = 2048
COLUMNS = (
    "run", "flops_per_token", "tokens", "flops", "budget", "lr", "batch_tokens", "steps", "seed", "loss", "status",
)  # fmt: skip


def expected_loss(m: float, tokens: float, rate: float = 1.0, batch: float = 1.0) -> float:
    """The truth: `rate` and `batch` are factors on the best ones."""
    tuned = 1.8 + 30 / m**0.30 + 110 / tokens**0.32
    return tuned * (1 + 0.006 * math.log(rate) ** 2 + 0.004 * math.log(batch) ** 2)


def best_size(flops: float) -> float:
    """M at which 30 / M^0.30 + 110 / (C/M)^0.32 is least."""
    ratio = (0.30 * 30) / (0.32 * 110)
    return float((ratio * flops**0.32) ** (1 / 0.62))


def runs_csv() -> str:
    """The example table; the same on every machine."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows())
    return text.getvalue()


def _rows() -> Iterator[dict[str, object]]:
    noise = random.Random(2401_02954)
    for budget in BUDGETS:
        cells = [(size, 1.0, 1.0, 0) for size in SIZES]
        cells += [(1.0, rate, 1.0, 0) for rate in RATES] + [(1.0, 1.0, batch, 0) for batch in BATCHES]
        cells += [(1.0, 1.0, 1.0, seed) for seed in SEEDS]
        for size, rate, batch, seed in cells:
            yield _row(budget, size, rate, batch, seed, noise.gauss(0.0, NOISE))
    yield _row(BUDGETS[0], 1.0, 20.0, 1.0, 0, 0.0) | {"run": "1e17-diverged", "loss": "nan", "status": "diverged"}


def _row(budget: float, size: float, rate: float, batch: float, seed: int, noise: float) -> dict[str, object]:
    m = best_size(budget) * size
    batch_tokens = SEQ_LEN * max(1, round(0.2920 * budget**0.3271 * batch / SEQ_LEN))
    steps = math.ceil(budget / m / batch_tokens)
    tokens = steps * batch_tokens
    exact_batch = batch_tokens / (0.2920 * budget**0.3271)
    return {
        "run": f"{budget:.0e}-m{size:g}-lr{rate:g}-b{batch:g}-s{seed}".replace("+", ""),
        "flops_per_token": f"{m:.6g}",
        "tokens": tokens,
        "flops": f"{m * tokens:.6g}",
        "budget": f"{budget:.0e}".replace("+", ""),
        "lr": f"{0.3118 * budget**-0.1250 * rate:.4g}",
        "batch_tokens": batch_tokens,
        "steps": steps,
        "seed": seed,
        "loss": f"{expected_loss(m, tokens, rate, exact_batch) * (1 + noise):.5f}",
        "status": "finished",
    }
