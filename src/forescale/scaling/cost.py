"""What a run costs, and what another batch would: the best batch for time is not the best for tokens."""

from __future__ import annotations

import math

from forescale.base.records.plan import Cost, Objective, ParetoPoint
from forescale.base.shape import ModelShape
from forescale.scaling.devices import Device
from forescale.scaling.layout import days

STEP_FLOOR = 0.02
"""Seconds that a step costs whatever its batch: launches and one round of collectives (our choice)."""


def cost(device_days: float | None, price: float | None, flops: float, ladder_flops: float | None) -> Cost:
    """Device-hours, money and the ladder's share of ladder and run together; None: not known."""
    share = None if ladder_flops is None else ladder_flops / (ladder_flops + flops)
    hours = None if device_days is None else 24.0 * device_days
    money = None if hours is None or price is None else hours * price
    return Cost(device_hours=hours, money=money, ladder_share=share)


def pareto(
    shape: ModelShape,
    batch_tokens: int,
    tokens: float,
    *,
    gpus: int | None,
    device: Device | None,
    utilisation: float,
    price: float | None,
) -> list[ParetoPoint]:
    """Batches of 1/4 to 8 times the optimum, the tokens that each needs for the same loss, hours and money.

    Tokens follow McCandlish et al. (2018, Eq. 5.1): steps S and tokens D that reach one loss obey
    (S / S_min - 1)(D / D_min - 1) = 1, so D = D_min (1 + B / B_crit). The near-optimal batch of a law is taken as half
    of B_crit, where tokens are within 0.25% of the loss's flat optimum in practice (our choice). Utilisation falls
    where a rank has less than one sequence a step; each step costs at least STEP_FLOOR seconds.
    """
    critical = 2.0 * batch_tokens
    least = tokens / (1.0 + batch_tokens / critical)
    points: list[ParetoPoint] = []
    for power in (-2, -1, 0, 1, 2, 3):
        batch = max(1, round(batch_tokens * 2.0**power / shape.seq_len)) * shape.seq_len
        need = least * (1.0 + batch / critical)
        hours = money = None
        if gpus is not None and device is not None:
            busy = min(
                gpus, batch // shape.seq_len * device.per_node
            )  # tensor parallelism splits a sequence, a node wide
            compute = days(shape.flops_per_token * need, busy, device, utilisation) * 24.0
            hours = compute + math.ceil(need / batch) * STEP_FLOOR / 3600.0
            money = None if price is None else hours * gpus * price
        point = ParetoPoint(batch_tokens=batch, tokens=need, hours=hours, money=money)
        if not points or points[-1].batch_tokens != batch:
            points.append(point)
    return points


def prefer(points: list[ParetoPoint], objective: Objective) -> ParetoPoint | None:
    """The point that an objective picks; None where its numbers are not known. Money counts all devices held."""
    if objective == "hours":
        known = [p for p in points if p.hours is not None]
        return min(known, key=lambda p: p.hours or math.inf) if known else None
    if objective == "money":
        priced = [p for p in points if p.money is not None]
        return min(priced, key=lambda p: p.money or math.inf) if priced else None
    return None
