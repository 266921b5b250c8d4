"""A budget as a run that can be trained: shape, batch and whole steps, on the devices that there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from forescale.base.config import ScheduleSection
from forescale.base.records.plan import Layout, Objective
from forescale.base.shape import ModelShape
from forescale.scaling import repeat
from forescale.scaling.dials import Asked, Dials
from forescale.scaling.guide import OWN_LOSS, Guide
from forescale.scaling.layout import choose
from forescale.scaling.shapes import ShapeRules, nearest, size_of
from forescale.scaling.step_time import days
from forescale.scaling.training import Training, decide

SIZE_STEP, SIZE_STEPS = 0.12, 30
"""Sizes tried where tokens repeat: 12% apart, down to a thirtieth."""


@dataclass(frozen=True)
class Wishes:
    """What beside the dial shapes a plan."""

    rules: ShapeRules
    schedule: ScheduleSection
    unique_tokens: float | None = None
    serve_tokens: float | None = None
    objective: Objective = "flops"
    level: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A budget as a run that can be trained: whole steps, on the devices that there are."""

    shape: ModelShape
    training: Training
    steps: int
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    weighed_by: str | None = None
    """Whose loss weighs size against tokens where tokens repeat or are served; None: nothing had to be weighed."""

    @classmethod
    def of(cls, asked: Asked, guide: Guide, wishes: Wishes, dials: Dials) -> Run:
        """Split, batch and layout; `notes` say what moved them from the laws', and why nothing fits."""
        notes: list[str] = []
        shape, tokens, weighed_by = _split(asked, guide, wishes, notes)
        training = decide(shape, tokens, guide, wishes.schedule, wishes.objective, dials)
        steps = max(1, math.ceil(training.tokens / training.batch - 1e-9))
        if dials.hardware is None or dials.gpus is None:
            return cls(shape, training, steps, None, tuple(notes), weighed_by)
        flops = shape.flops_per_token * steps * training.batch
        layout, reasons = choose(shape, training.batch, flops, dials.gpus, dials.hardware, dials.utilisation)
        return cls(shape, training, steps, layout, (*notes, *reasons), weighed_by)

    @property
    def tokens(self) -> int:
        """Tokens of its whole steps."""
        return self.steps * self.training.batch

    @property
    def flops(self) -> float:
        """M x D."""
        return self.shape.flops_per_token * self.tokens

    @property
    def hours(self) -> float | None:
        """From first step to last; None: no layout."""
        return None if self.layout is None else 24.0 * self.layout.days

    def device_hours(self, dials: Dials) -> float | None:
        """All devices are held as long as the run lasts; of no layout its compute alone is known."""
        if self.hours is not None and dials.gpus is not None:
            return dials.gpus * self.hours
        return None if dials.hardware is None else 24.0 * days(self.flops, 1, dials.hardware, dials.utilisation)


def _split(asked: Asked, guide: Guide, wishes: Wishes, warnings: list[str]) -> tuple[ModelShape, float, str | None]:
    """Shape and tokens: what is fixed, then what limited data or serving ask for, then the laws; and whose loss weighed
    one against the other."""
    if asked.shape is not None or asked.tokens is not None:
        shape = asked.shape or nearest(asked.flops / (asked.tokens or math.nan), wishes.rules)
        if wishes.serve_tokens is not None:
            warnings.append("the shape or the tokens are fixed: --serve-tokens moves nothing")
        return shape, asked.tokens or asked.flops / shape.flops_per_token, None
    m, tokens = guide.split(asked.flops)
    around = repeat.Around(m, tokens, *guide.slopes())
    if wishes.serve_tokens is not None:
        m, tokens = repeat.split_served(around, wishes.serve_tokens)
        warnings.append(
            f"for {wishes.serve_tokens:.3g} served tokens the model is {m / around.m:.2f} x the compute-optimal size: "
            "no other run of equal loss is cheaper in training and serving together"
        )
    weighed_by = None if wishes.serve_tokens is None else guide.whose_slopes()
    if wishes.unique_tokens is not None and wishes.unique_tokens < tokens:
        shape, weighed_by = _repeating(around, m, guide, wishes.unique_tokens, wishes.rules)
        warnings.append(
            f"what repeats do to the split is weighed by {weighed_by}; their worth is of Muennighoff et al."
            " (arXiv 2305.16264)"
        )
    else:
        shape = nearest(m, wishes.rules)
        if weighed_by is not None:
            warnings.append(f"serving is weighed by {weighed_by}")
    return shape, asked.flops / shape.flops_per_token, weighed_by


def _repeating(
    around: repeat.Around, m: float, guide: Guide, unique: float, rules: ShapeRules
) -> tuple[ModelShape, str]:
    """The shape that loses least where tokens repeat: up to M of plenty, since size wears out sooner than tokens do."""
    from forescale.scaling.forecast import expected, size_for

    shapes = list(dict.fromkeys(nearest(m * math.exp(-SIZE_STEP * k), rules) for k in range(SIZE_STEPS)))
    laws = guide.laws
    lossless = laws.surface is None and laws.predictive is None
    if lossless or laws.line is not None or size_for(laws, unique) is None:  # flat laws know no best size either
        choices = [(one.flops_per_token, around.flops / one.flops_per_token) for one in shapes]
        chosen = repeat.split_repeated(choices, unique, guide.size_for_tokens, around.loss)
        return shapes[chosen], guide.whose_slopes()
    choices = [(size_of(one, laws.scale), around.flops / one.flops_per_token) for one in shapes]
    chosen = repeat.split_repeated(choices, unique, partial(size_for, laws), partial(expected, laws))
    return shapes[chosen], OWN_LOSS
