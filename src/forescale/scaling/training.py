"""Batch, tokens and learning rate of a planned shape, and what another batch would buy: time for tokens of one loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from forescale.base.config import ScheduleSection
from forescale.base.records.plan import Objective, ParetoPoint
from forescale.base.shape import ModelShape
from forescale.scaling import cost, layout
from forescale.scaling.dials import Dials
from forescale.scaling.guide import Guide


@dataclass(frozen=True)
class Training:
    """How a shape is trained, before rounding to whole steps."""

    batch: int
    tokens: float
    rate: float
    credited: float | None = None
    """Tokens at the laws' own batch that reach the same loss, where an objective chose another; None: `tokens`."""
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
    usual = Training(batch, tokens, schedule.learning_rate or _digits(rate))
    if objective == "flops":
        return usual
    points = cost.pareto(
        shape, best, batch, tokens, gpus=dials.gpus, device=dials.hardware, utilisation=dials.utilisation,
        price=dials.price,
    )  # fmt: skip
    chosen = None if fixed is not None else cost.prefer(points, objective)
    notes = _trade(points, chosen, batch, shape, dials)
    if chosen is None or chosen.batch_tokens == batch:
        return replace(usual, points=points, notes=notes)
    other = chosen.batch_tokens
    if "batch_tokens" in guide.learning_rate.law.exponents:
        rate = guide.learning_rate.value(shape, tokens, other)
    else:  # the law's rate is for its own batch
        rate *= cost.rate_factor(other, best) / cost.rate_factor(batch, best)
    return Training(other, chosen.tokens, schedule.learning_rate or _digits(rate), tokens, points, notes)


def _sequences(shape: ModelShape, sequences: float, dials: Dials) -> int:
    """The law's batch in whole sequences, moved a little so that devices or processes can share it."""
    if dials.gpus is None or dials.hardware is None:
        return _multiple(sequences, layout.dealing(sequences, dials.sharers))
    dealt = layout.dealt(shape, sequences, dials.gpus, dials.hardware, dials.utilisation)
    return dealt or _multiple(sequences, 1)


def _trade(
    points: list[ParetoPoint], chosen: ParetoPoint | None, batch: int, shape: ModelShape, dials: Dials
) -> tuple[str, ...]:
    """What the choice of another batch buys and costs, in words."""
    notes = []
    if dials.gpus is not None and dials.hardware is not None:
        fewest = layout.smallest_batch(shape, dials.gpus, dials.hardware)
        if not points:
            notes.append(
                f"no batch from {batch / 4:,.0f} to {8 * batch:,} tokens can be dealt to {dials.gpus} devices"
                " that hold this model: the batch stays the laws' own"
            )
        elif fewest is not None and fewest * shape.seq_len > batch / 4:
            notes.append(
                f"batches below {fewest * shape.seq_len:,} tokens cannot be dealt to {dials.gpus} devices: not tried"
            )
    if chosen is None:
        return tuple(notes)
    if len(points) > 1 and chosen == points[0]:
        notes.append(
            "the smallest batch tried is the fastest and the cheapest here: larger ones gain no time for their tokens"
        )
    if chosen.batch_tokens != batch:
        usual = next((p for p in points if p.batch_tokens == batch), None)
        against = f" (that one {usual.tokens:.4g} and {usual.hours:.3g})" if usual is not None and usual.hours else ""
        notes.append(
            f"a batch of {chosen.batch_tokens:,} tokens instead of {batch:,} takes {chosen.tokens:.4g} tokens and"
            f" {chosen.hours or 0.0:.3g} hours to the same loss{against}"
        )
    return tuple(notes)


def _digits(rate: float) -> float:
    return float(f"{rate:.4g}")


def _multiple(amount: float, unit: int) -> int:
    return unit * max(1, round(amount / unit))
