"""What a run costs, and what another batch would: the best batch for time is not the best for tokens."""

from __future__ import annotations

import math

from forescale.base.records.plan import Cost, Objective, ParetoPoint
from forescale.base.shape import ModelShape
from forescale.scaling import layout
from forescale.scaling.devices import Device

CRITICAL = 2.0
"""B_crit over the near-optimal batch of a law (our choice: there tokens are within 0.25% of the flat optimum)."""


def cost(device_hours: float | None, price: float | None, flops: float, ladder_flops: float | None) -> Cost:
    """Device-hours, money and the ladder's share of ladder and run together; None: not known."""
    share = None if ladder_flops is None else ladder_flops / (ladder_flops + flops)
    money = None if device_hours is None or price is None else device_hours * price
    return Cost(device_hours=device_hours, money=money, ladder_share=share)


def pareto(
    shape: ModelShape,
    best: float,
    batch_tokens: int,
    tokens: float,
    *,
    gpus: int | None,
    device: Device | None,
    utilisation: float,
    price: float | None,
) -> list[ParetoPoint]:
    """Batches of 1/4 to 8 times the plan's that can be dealt to the devices, the tokens each needs for the plan's loss,
    hours and money. `best` is the law's batch. Where devices are known, other batches are moved by up to an eighth so
    that these can share them; one that no layout of them holds is left out.

    Tokens follow McCandlish et al. (2018, Eq. 5.1): steps S and tokens D that reach one loss obey
    (S / S_min - 1)(D / D_min - 1) = 1, so D = D_min (1 + B / B_crit). They are whole steps, and hours are the layout's:
    what the table says of a batch is what the plan with it says.
    """
    least = tokens / (1.0 + batch_tokens / (CRITICAL * best))
    batches = {batch_tokens}
    for power in (-2, -1, 1, 2, 3):
        sequences = batch_tokens * 2.0**power / shape.seq_len
        if gpus and device:
            dealt = layout.dealt(shape, sequences, gpus, device, utilisation)
        else:
            dealt = max(1, round(sequences))
        if dealt is not None:
            batches.add(dealt * shape.seq_len)
    points: list[ParetoPoint] = []
    for batch in sorted(batches):
        need = math.ceil(least * (1.0 + batch / (CRITICAL * best)) / batch - 1e-9) * batch
        hours = money = None
        if gpus and device:
            placed, _ = layout.choose(shape, batch, shape.flops_per_token * need, gpus, device, utilisation)
            if placed is None:
                continue
            hours = 24.0 * placed.days
            money = None if price is None else hours * gpus * price
        points.append(ParetoPoint(batch_tokens=batch, tokens=need, hours=hours, money=money))
    return points


def rate_factor(batch_tokens: float, best: float) -> float:
    """What a learning rate that is best for the law's batch is multiplied by at another: the square root of their ratio
    (Malladi et al. 2022, arXiv 2205.10782, for Adam), level beyond the critical batch, where steps gain nothing more.

    >>> rate_factor(1e6, 4e6), round(rate_factor(64e6, 4e6), 3)
    (0.5, 1.414)
    """
    return math.sqrt(min(batch_tokens / best, CRITICAL))


def prefer(points: list[ParetoPoint], objective: Objective) -> ParetoPoint | None:
    """The point that an objective picks; None where its numbers are not known. Money counts all devices held."""
    if objective == "hours":
        known = [p for p in points if p.hours is not None]
        return min(known, key=lambda p: p.hours or math.inf) if known else None
    if objective == "money":
        priced = [p for p in points if p.money is not None]
        return min(priced, key=lambda p: p.money or math.inf) if priced else None
    return None
