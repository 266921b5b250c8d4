"""A budget as a run that can be trained: shape, batch and whole steps, on the devices that there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

SIZE_STEP, SERVE_STEP = 0.12, 0.03
"""Sizes tried where tokens repeat, and where they are served, are so far apart in ln M."""
BESIDE = range(-60, 61)
"""Half hundredths of ln M around a served size at which shapes are tried."""
SMALLEST = 3.6
"""ln of how many times smaller than the laws' the smallest of them is: a thirty-sixth."""


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
    asked_tokens: float
    """Tokens at the laws' batch that it was made for, before rounding."""
    wanted: float | None = None
    """The size (M) that its shape was to have; None: the shape was fixed."""
    layout: Layout | None = None
    alone: bool = True
    """Whether no devices are known that would need a layout."""
    split_notes: tuple[str, ...] = ()
    layout_notes: tuple[str, ...] = ()
    weighed_by: str | None = None
    """Whose loss weighs size against tokens where tokens repeat or are served; None: nothing had to be weighed."""

    @classmethod
    def of(cls, asked: Asked, guide: Guide, wishes: Wishes, dials: Dials) -> Run:
        """Split, batch and layout; the notes say what moved them from the laws', and why nothing fits."""
        split = _split(asked, guide, wishes)
        return cls._made(split, split.tokens, guide, wishes, dials)

    def on(self, tokens: float, guide: Guide, wishes: Wishes, dials: Dials) -> Run:
        """The same shape on other tokens."""
        split = Split(self.shape, tokens, self.wanted, self.weighed_by, self.split_notes)
        return self._made(split, tokens, guide, wishes, dials)

    @classmethod
    def _made(cls, split: Split, tokens: float, guide: Guide, wishes: Wishes, dials: Dials) -> Run:
        shape = split.shape
        training = decide(shape, tokens, guide, wishes.schedule, wishes.objective, dials)
        steps = max(1, math.ceil(training.tokens / training.batch - 1e-9))
        alone = dials.hardware is None or dials.gpus is None
        placed: Layout | None = None
        reasons: list[str] = []
        if dials.hardware is not None and dials.gpus is not None:
            flops = shape.flops_per_token * steps * training.batch
            placed, reasons = choose(
                shape, training.batch, flops, dials.gpus, dials.hardware, dials.utilisation, dials.sharding
            )
        return cls(
            shape, training, steps, tokens, split.wanted, placed, alone, split.notes, tuple(reasons), split.weighed_by
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What moved it from the laws', and why nothing fits."""
        return (*self.split_notes, *self.layout_notes)

    @property
    def asked_flops(self) -> float:
        """M x D at the laws' batch, before rounding."""
        return self.shape.flops_per_token * self.asked_tokens

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


@dataclass(frozen=True)
class Split:
    """Size against tokens, and what moved it."""

    shape: ModelShape
    tokens: float
    wanted: float | None = None
    weighed_by: str | None = None
    notes: tuple[str, ...] = ()


def _split(asked: Asked, guide: Guide, wishes: Wishes) -> Split:
    """Shape and tokens: what is fixed, then what limited data or serving ask for, then the laws; and whose loss weighed
    one against the other."""
    rules = wishes.rules
    if asked.shape is not None or asked.tokens is not None:
        m = asked.flops / (asked.tokens or math.nan)
        shape = asked.shape or nearest(m, rules)
        moves = "the shape or the tokens are fixed: --serve-tokens moves nothing"
        notes = (moves,) if wishes.serve_tokens is not None else ()
        tokens = asked.tokens or asked.flops / shape.flops_per_token
        return Split(shape, tokens, None if asked.shape else m, None, notes)
    m, tokens = guide.split(asked.flops)
    around = repeat.Around(m, tokens, *guide.slopes())
    made = Split(nearest(m, rules), 0.0, m)
    if wishes.serve_tokens is not None:
        made = _served(around, guide, wishes.serve_tokens, rules)
    served = asked.flops / made.shape.flops_per_token if wishes.serve_tokens is not None else tokens
    if wishes.unique_tokens is not None and wishes.unique_tokens < max(tokens, served):
        if wishes.serve_tokens is not None:
            words = "serving was weighed with new tokens, repeats after it: together, another size may cost less"
            made = replace(made, notes=(words,))
        made = _repeating(around, made, guide, wishes.unique_tokens, rules)
    return replace(made, tokens=asked.flops / made.shape.flops_per_token)


def _served(around: repeat.Around, guide: Guide, serve: float, rules: ShapeRules) -> Split:
    """The shape that no other of equal loss undercuts in training and serving: found along sizes as a continuum, then
    among the shapes around it, which differ by a few percent in what a FLOP buys."""
    m, _ = repeat.split_served(around, serve)
    shape, whose = nearest(m, rules), guide.whose_slopes()
    words = "by these slopes the size whose training and serving together cost least for its loss"
    if guide.knows_loss:
        scale, whose, flops = guide.laws.scale, OWN_LOSS, around.flops
        sizes = [around.m * math.exp(-SERVE_STEP * k) for k in range(math.ceil(SMALLEST / SERVE_STEP))]
        losses = [guide.log_loss(one, guide.family.convert(one, "M", scale), flops / one) for one in sizes]
        start = min(range(len(sizes)), key=lambda i: abs(math.log(sizes[i] / m)))
        m = sizes[repeat.cheapest_served(sizes, losses, flops, serve, start, 1)[0]]
        shapes = list(dict.fromkeys(nearest(m * math.exp(k / 200.0), rules) for k in BESIDE))
        sizes = [one.flops_per_token for one in shapes]
        losses = [
            guide.log_loss(one.flops_per_token, size_of(one, scale), flops / one.flops_per_token) for one in shapes
        ]
        start = min(range(len(sizes)), key=lambda i: abs(math.log(sizes[i] / m)))
        chosen, undercut = repeat.cheapest_served(sizes, losses, flops, serve, start, len(sizes))
        shape = shapes[chosen]
        m = shape.flops_per_token
        less = "less " if undercut < 5e-4 else f"over {undercut:.1%} less "
        words = (
            f"of {len(shapes)} shapes with an M from {min(sizes):.3g} to {max(sizes):.3g} none costs {less}in training"
            " and serving together for its loss"
        )
    words = (
        f"for {serve:.3g} served tokens the model is {shape.flops_per_token / around.m:.2f} x the compute-optimal size:"
        f" {words} (weighed by {whose})"
    )
    return Split(shape, 0.0, m, whose, (words,))


def _smaller(m: float, rules: ShapeRules) -> list[ModelShape]:
    """Shapes of up to `m`, down to a thirty-sixth of it; the largest first."""
    steps = range(math.ceil(SMALLEST / SIZE_STEP))
    return list(dict.fromkeys(nearest(m * math.exp(-SIZE_STEP * k), rules) for k in steps))


def _repeating(around: repeat.Around, before: Split, guide: Guide, unique: float, rules: ShapeRules) -> Split:
    """The shape that loses least where tokens repeat: up to M of plenty, since size wears out sooner than tokens do."""
    from forescale.scaling.forecast import expected, size_for

    assert before.wanted is not None
    shapes = _smaller(before.wanted, rules)
    laws, whose = guide.laws, guide.whose_slopes()
    if guide.knows_loss:
        choices = [(size_of(one, laws.scale), around.flops / one.flops_per_token) for one in shapes]
        chosen = repeat.split_repeated(choices, unique, partial(size_for, laws), partial(expected, laws))
        whose = OWN_LOSS
    else:
        choices = [(one.flops_per_token, around.flops / one.flops_per_token) for one in shapes]
        chosen = repeat.split_repeated(choices, unique, guide.size_for_tokens, around.loss)
    words = (
        f"what repeats do to the split is weighed by {whose}; their worth is of Muennighoff et al. (arXiv 2305.16264)"
    )
    shape = shapes[chosen]
    wanted = before.wanted if chosen == 0 else shape.flops_per_token
    return Split(shape, 0.0, wanted, whose, (*before.notes, words))
