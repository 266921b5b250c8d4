"""Everything a run carries from step to step, as named tensors and numbers: what is copied, restored and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from forescale.train.optimizer import moments, set_step
from forescale.train.parallel import Layout
from forescale.train.steps import StepResult

RECENT = 50
"""The training loss of a record is the mean over this many last steps (our choice)."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a state, in memory."""

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, float]


@dataclass
class TrainState:
    """Weights, moments, recent losses and sums of one run."""

    model: nn.Module
    optimizer: torch.optim.AdamW
    layout: Layout
    step: int = 0
    """Optimizer steps taken."""
    numbers: dict[str, float] = field(default_factory=lambda: {"seconds": 0.0, "window_steps": 0.0})

    def __post_init__(self) -> None:
        device = self.layout.ranks.device
        self._sums = {"recent": torch.zeros(RECENT, device=device), "window": torch.zeros(2, device=device)}
        self._moments = moments(self.model, self.optimizer)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; live, not copies."""
        weights = {f"weight.{name}": p.detach() for name, p in self.model.named_parameters()}
        return weights | self._moments | self._sums

    def took(self, result: StepResult) -> None:
        """Count a step."""
        self._sums["recent"][self.step % RECENT] = result.nats
        self._sums["window"] += torch.stack((result.nats, result.n_bytes))
        self.numbers["window_steps"] += 1
        self.step += 1

    def close_window(self) -> tuple[float, float, int]:
        """Nats, bytes and steps since the last log line (waits for the device); starts anew."""
        nats, n_bytes = self._sums["window"].tolist()
        steps = int(self.numbers["window_steps"])
        self._sums["window"].zero_()
        self.numbers["window_steps"] = 0.0
        return nats, n_bytes, steps

    def recent_nats(self) -> float:
        """Mean nats a step over the last steps."""
        count = min(self.step, RECENT)
        return float(self._sums["recent"][:count].double().mean()) if count else float("nan")

    def copy(self) -> Snapshot:
        """A copy that training on does not change."""
        return Snapshot(self.step, {name: t.clone() for name, t in self.tensors().items()}, dict(self.numbers))

    def whole(self) -> dict[str, Tensor]:
        """All tensors in full, whatever the layout (every rank must call)."""
        return {name: self.layout.whole(tensor) for name, tensor in self.tensors().items()}

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a copy."""
        for name, tensor in self.tensors().items():
            tensor.copy_(snapshot.tensors[name])
        self._moved(snapshot.step, snapshot.numbers)

    @torch.no_grad()
    def load(self, step: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]) -> None:
        """Take over full tensors from a checkpoint."""
        for name, tensor in self.tensors().items():
            self.layout.load(tensor, tensors[name])
        self._moved(step, numbers)

    def _moved(self, step: int, numbers: Mapping[str, float]) -> None:
        self.step = step
        self.numbers = dict(numbers)
        set_step(self.model, self.optimizer, step)
