"""What a run costs, and what another batch would: the best batch for time is not the best for tokens."""

from __future__ import annotations

import math

from forescale.base.records.plan import Cost, Objective, ParetoPoint, Sharding
from forescale.scaling import layout
from forescale.scaling.devices import Device
from forescale.scaling.equal_loss import EqualLoss

CRITICAL = 2.0
"""Batch over the law's from which a larger one allows no larger rate (our choice)."""
TRIED = range(-2, 7)
"""Half powers of two around the law's batch that are tried: a half to eight times."""


def cost(device_hours: float | None, price: float | None, ladder_share: float | None) -> Cost:
    """Device-hours, money and the ladder's share of ladder and run together; None: not known."""
    money = None if device_hours is None or price is None else device_hours * price
    return Cost(device_hours=device_hours, money=money, ladder_share=ladder_share)


def pareto(
    equal: EqualLoss,
    batch_tokens: int,
    tokens: float,
    *,
    gpus: int | None,
    device: Device | None,
    utilisation: float,
    price: float | None,
    sharding: Sharding = "full",
) -> list[ParetoPoint]:
    """Batches of 1/2 to 8 times the plan's that can be dealt to the devices, the tokens each needs for the loss of
    `tokens` at the plan's, hours and money. Where devices are known, other batches are moved by up to an eighth so that
    these can share them; one that no layout of them holds is left out, and so is one that no tokens bring there.

    Tokens are whole steps, and hours are the layout's: what the table says of a batch is what the plan with it says.
    """
    shape, worth = equal.shape, equal.worth(batch_tokens, tokens)
    batches = {batch_tokens}
    for power in TRIED:
        sequences = batch_tokens * 2.0 ** (power / 2) / shape.seq_len
        if power == 0:
            continue
        if gpus and device:
            dealt = layout.dealt(shape, sequences, gpus, device, utilisation, sharding)
        else:
            dealt = max(1, round(sequences))
        if dealt is not None:
            batches.add(dealt * shape.seq_len)
    points: list[ParetoPoint] = []
    for batch in sorted(batches):
        amount = tokens if batch == batch_tokens else equal.tokens(batch, worth)
        if amount is None:
            continue
        need = math.ceil(amount / batch - 1e-9) * batch
        hours = money = None
        if gpus and device:
            flops = shape.flops_per_token * need
            placed, _ = layout.choose(shape, batch, flops, gpus, device, utilisation, sharding)
            if placed is None:
                continue
            hours = 24.0 * placed.days
            money = None if price is None else hours * gpus * price
        points.append(ParetoPoint(batch_tokens=batch, tokens=need, hours=hours, money=money))
    return points


def worth_showing(points: list[ParetoPoint], chosen: int) -> list[ParetoPoint]:
    """Those that no other undercuts in tokens and time together (steps, where hours are not known), and the chosen."""

    def price(point: ParetoPoint) -> tuple[float, float]:
        return point.tokens, point.tokens / point.batch_tokens if point.hours is None else point.hours

    def undercut(point: ParetoPoint) -> bool:
        tokens, time = price(point)
        return any(price(p) != (tokens, time) and price(p)[0] <= tokens and price(p)[1] <= time for p in points)

    return [point for point in points if point.batch_tokens == chosen or not undercut(point)]


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
