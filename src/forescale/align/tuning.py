"""What SFT and DPO share: the order of examples, the rate, the loop over the trainer's one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from forescale.align.chat import Rendered
from forescale.base.records.align import CurvePoint
from forescale.model.objective import Batch
from forescale.model.threads import few_threads
from forescale.model.transformer import Transformer
from forescale.train.optimizer import adamw
from forescale.train.parallel import Ranks, Replicated
from forescale.train.steps import Counted, train_step

B = TypeVar("B", bound=Counted)
OnStep = Callable[[int, int, float], None]
"""Called after each step with (step from 1, steps in all, loss before the step)."""

CLIP = 1.0
"""As in pretraining (paper 2.3; the paper says nothing for tuning)."""
WARMUP_SHARE = 0.05
"""Share of the steps that warm up (our choice; the paper says `warmup` only)."""


def cosine(step: int, n_steps: int, warmup_steps: int) -> float:
    """Factor on the peak rate at `step` (from 0): linear warm-up, then a cosine to zero (paper 6.3).

    >>> [round(cosine(step, 6, 2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, n_steps - warmup_steps)))


def warmup_of(n_steps: int) -> int:
    """Warm-up steps of a tuning run of `n_steps`."""
    return max(1, round(WARMUP_SHARE * n_steps)) if n_steps > 1 else 0


def order(n: int, n_steps: int, batch: int, seed: int) -> list[list[int]]:
    """Which examples each step takes: every epoch all of them once, in an order of its own; batches are full and go
    on over the border of epochs.
    """
    wanted: list[int] = []
    rng = np.random.default_rng(seed)
    while len(wanted) < n_steps * batch:
        wanted += rng.permutation(n).tolist()
    return [wanted[step * batch : (step + 1) * batch] for step in range(n_steps)]


def steps_of(n: int, epochs: float, batch: int) -> int:
    """Steps that go through `n` examples `epochs` times."""
    return max(1, math.ceil(n * epochs / batch))


@dataclass
class Tuned:
    """What a tuning loop saw."""

    n_steps: int
    warmup_steps: int
    counted: int = 0
    curve: list[CurvePoint] = field(default_factory=list)


def tune(
    model: Transformer,
    plan: Sequence[Sequence[int]],
    make: Callable[[Sequence[int]], list[B]],
    objective: Callable[[Transformer, B], Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
    on_step: OnStep | None = None,
) -> Tuned:
    """Take one optimizer step for each list of examples in `plan`; `make` turns a list into micro-batches."""
    model.train()
    n_steps = len(plan)
    tuned = Tuned(n_steps, warmup_of(n_steps))
    optimizer = adamw(model, learning_rate=learning_rate, weight_decay=weight_decay)
    layout = Replicated(model, Ranks())
    for step, chosen in enumerate(plan):
        rate = learning_rate * cosine(step, n_steps, tuned.warmup_steps)
        with few_threads(model.shape.params):
            result = train_step(model, optimizer, make(chosen), objective, layout=layout, rate=rate, clip=CLIP)
        tuned.counted += result.counted
        tuned.curve.append(CurvePoint(step, result.loss, rate))
        if on_step is not None:
            on_step(step + 1, n_steps, result.loss)
    for parameter in model.parameters():
        parameter.grad = None
    model.eval()
    return tuned


def collate(examples: Sequence[Rendered], *, most_tokens: int = 8192, slack: float = 1.4) -> list[Batch]:
    """Micro-batches of at most `most_tokens` positions, padded on the right; the mask says which targets count.

    Rows are sorted by length, and a row over `slack` times as long as the shortest of its micro-batch opens the next:
    padding costs as much as text.
    """
    batches, rows = [], sorted(examples, key=lambda e: len(e.ids))
    start = 0
    while start < len(rows):
        stop = start + 1
        while (
            stop < len(rows)
            and (stop + 1 - start) * len(rows[stop].ids) <= most_tokens
            and len(rows[stop].ids) <= slack * len(rows[start].ids)
        ):
            stop += 1
        batches.append(pad(rows[start:stop]))
        start = stop
    return batches


def pad(rows: Sequence[Rendered]) -> Batch:
    """One batch in the order given: inputs, next ids, and the mask of the next ids that count."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.int64)
        mask[i, : len(row.ids)] = torch.tensor(row.mask, dtype=torch.bool)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), mask[:, 1:].contiguous())
