"""Batch, tokens and learning rate of a planned shape, and what another batch would buy: time for tokens of one loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from forescale.base.config import ScheduleSection
from forescale.base.records.plan import Objective, ParetoPoint
from forescale.base.shape import ModelShape
from forescale.scaling import cost, layout
from forescale.scaling.dials import Dials
from forescale.scaling.equal_loss import EqualLoss
from forescale.scaling.guide import Guide


@dataclass(frozen=True)
class Training:
    """How a shape is trained, before rounding to whole steps."""

    batch: int
    tokens: float
    rate: float
    credited: float | None = None
    """Tokens at the laws' own batch that reach the same loss, where another is taken; None: `tokens`."""
    points: list[ParetoPoint] | None = None
    notes: tuple[str, ...] = ()


def decide(
    shape: ModelShape, tokens: float, guide: Guide, schedule: ScheduleSection, objective: Objective, dials: Dials
) -> Training:
    """Batch, tokens, rate and, where another objective than FLOPs asks for it, the trade between them."""
    seq_len = shape.seq_len
    fixed = schedule.batch_tokens
    best = guide.batch.value(shape, tokens, math.nan)
    batch = fixed or seq_len * _sequences(shape, best / seq_len, dials)
    batch = min(batch, _multiple(tokens, seq_len))
    rate = guide.learning_rate.value(shape, tokens, batch)
    equal = EqualLoss(shape, guide)
    credited, notes = _charged(batch, tokens, best, equal)
    usual = Training(batch, tokens, schedule.learning_rate or _digits(rate), credited, notes=notes)
    if objective == "flops":
        return usual
    points = cost.pareto(
        equal, batch, tokens, gpus=dials.gpus, device=dials.hardware, utilisation=dials.utilisation, price=dials.price,
        sharding=dials.sharding,
    )  # fmt: skip
    chosen = None if fixed is not None else cost.prefer(points, objective)
    notes += _trade(points, chosen, batch, equal, dials)
    shown = cost.worth_showing(points, batch if chosen is None else chosen.batch_tokens)
    if chosen is None or chosen.batch_tokens == batch:
        return replace(usual, points=shown, notes=notes)
    other = chosen.batch_tokens
    if "batch_tokens" in guide.learning_rate.law.exponents:
        rate = guide.learning_rate.value(shape, tokens, other)
    else:  # the law's rate is for its own batch
        rate *= cost.rate_factor(other, best) / cost.rate_factor(batch, best)
    credited = tokens if credited is None else credited
    return Training(other, chosen.tokens, schedule.learning_rate or _digits(rate), credited, shown, notes)


def _charged(batch: int, tokens: float, best: float, equal: EqualLoss) -> tuple[float | None, tuple[str, ...]]:
    """What tokens at a batch far from the laws' are worth at theirs; nothing where these laws have no batch law: their
    losses are those of the batches that their runs had."""
    if abs(math.log(batch / best)) <= math.log1p(layout.WINDOW) or equal.borrowed:
        return None, ()
    worth = equal.worth(batch, tokens)
    return worth, (
        f"a batch of {batch:,} tokens is {batch / best:.3g} x the laws' own: {tokens:.4g} tokens count as"
        f" {worth:.4g} at that ({equal.source})",
    )


def _sequences(shape: ModelShape, sequences: float, dials: Dials) -> int:
    """The law's batch in whole sequences, moved a little so that devices or processes can share it."""
    if dials.gpus is None or dials.hardware is None:
        return _multiple(sequences, layout.dealing(sequences, dials.sharers))
    dealt = layout.dealt(shape, sequences, dials.gpus, dials.hardware, dials.utilisation, dials.sharding)
    return dealt or _multiple(sequences, 1)


def _trade(
    points: list[ParetoPoint], chosen: ParetoPoint | None, batch: int, equal: EqualLoss, dials: Dials
) -> tuple[str, ...]:
    """What the choice of another batch buys and costs, in words."""
    if not points and dials.gpus is not None:
        return (
            f"no batch from {batch // 2:,} to {8 * batch:,} tokens can be dealt to {dials.gpus} devices"
            " that hold this model: the batch stays the laws' own",
        )
    if chosen is None:
        return ()
    if chosen.batch_tokens == batch:
        return ("the laws' own batch is the fastest and the cheapest here: others gain no time for their tokens",)
    usual = next((p for p in points if p.batch_tokens == batch), None)
    against = f" (that one {usual.tokens:.4g} and {usual.hours:.3g})" if usual is not None and usual.hours else ""
    return (
        f"a batch of {chosen.batch_tokens:,} tokens instead of {batch:,} takes {chosen.tokens:.4g} tokens and"
        f" {chosen.hours or 0.0:.3g} hours to the same loss{against}, by {equal.source}",
    )


def _digits(rate: float) -> float:
    return float(f"{rate:.4g}")


def _multiple(amount: float, unit: int) -> int:
    return unit * max(1, round(amount / unit))
