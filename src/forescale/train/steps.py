"""One optimizer step, shared by pretraining, SFT and DPO."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from forescale.base.errors import DivergedError
from forescale.train.optimizer import set_rate
from forescale.train.parallel import Layout


class Counted(Protocol):
    """A batch that knows what its loss is a sum over: tokens, or pairs."""

    @property
    def n_counted(self) -> int:
        """Counted tokens or pairs."""
        ...


B = TypeVar("B", bound=Counted)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class StepResult:
    """What a step saw before it moved the weights; tensors, so that nobody waits for a device."""

    nats: Tensor
    """The objective summed over all micro-batches and ranks."""
    n_bytes: Tensor
    """UTF-8 bytes behind the counted tokens of all ranks, where the caller counts them."""
    counted: int
    """Counted tokens (or pairs) of all ranks."""
    grad_norm: Tensor
    """Norm of the whole gradient before clipping."""
    stop: bool = False
    """Some rank wishes to stop after this step."""

    @property
    def loss(self) -> float:
        """Mean over what was counted (waits for the device)."""
        return float(self.nats) / self.counted


def train_step(
    model: M,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[B],
    objective: Callable[[M, B], Tensor],
    *,
    layout: Layout,
    rate: float,
    clip: float,
    counted: int | None = None,
    n_bytes: int = 0,
    bf16: bool = False,
    stop: bool = False,
    before_update: Callable[[], None] | None = None,
) -> StepResult:
    """Take one step over micro-batches; the weights stay as they were when a gradient is not finite.

    `objective` gives a *sum* over what a batch counts, so that ragged micro-batches and ranks weigh right. `counted`
    is the number over all ranks, where the caller knows it (pretraining does); otherwise it is summed here.
    `before_update` is called when the gradients are ready and the weights are about to change.
    """
    ranks = layout.ranks
    if counted is None:
        counted = sum(batch.n_counted for batch in batches)
        if ranks.size > 1:
            counted = int(ranks.sum(torch.tensor(float(counted), dtype=torch.float64)))
    layout.begin()
    nats = torch.zeros((), device=ranks.device)
    for batch in batches:
        with torch.autocast(ranks.device.type, dtype=torch.bfloat16, enabled=bf16):
            part = objective(model, batch)
        (part / counted).backward()  # type: ignore[no-untyped-call]
        nats += part.detach()
    sums = layout.combine(nats, n_bytes, stop)
    norm = layout.clip(clip)
    if ranks.device.type == "cpu" and not math.isfinite(float(norm)):  # on a GPU the loop looks at log steps
        raise diverged(float(norm), float(sums[0]) / counted, rate)
    if before_update is not None:
        before_update()
    set_rate(optimizer, rate)
    optimizer.step()
    return StepResult(sums[0], sums[1], counted, norm, stop=bool(sums[2]) if ranks.size > 1 else stop)


def diverged(norm: float, loss: float, rate: float) -> DivergedError:
    """The error of a step whose numbers are not finite."""
    return DivergedError(
        f"the gradient is {norm} and the loss {loss} at learning rate {rate:.2e}",
        why="a batch or a layer overflowed; the checkpoints before this step are whole",
        remedy='use a lower learning rate, a longer warm-up, or train.precision = "fp32"',
    )
