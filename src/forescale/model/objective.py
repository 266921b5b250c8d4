"""What a model is trained on: sums of nats over counted tokens, without ever holding all logits.

Sums, not means, so that ragged micro-batches and ranks weigh right. Shapes: B sequences, T positions, D width,
V vocabulary, N = B * T rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from forescale.model.transformer import Transformer

CHUNK_ROWS = 256
"""Rows of logits alive at once: they stay in the processor's cache (measured)."""


@dataclass(frozen=True)
class Batch:
    """Token ids and the tokens that follow them, both [B, T]; `mask` is false where a target does not count."""

    ids: Tensor
    targets: Tensor
    mask: Tensor | None = None
    documents: Tensor | None = None
    """Number of each position's document; given, attention does not cross document ends."""

    @property
    def n_counted(self) -> int:
        """Targets that count."""
        return self.targets.numel() if self.mask is None else int(self.mask.sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch elsewhere."""
        moved = (None if t is None else t.to(device) for t in (self.mask, self.documents))
        return Batch(self.ids.to(device), self.targets.to(device), *moved)


def next_token_nats(model: Transformer, batch: Batch) -> Tensor:
    """Summed negative log-likelihood of the counted targets, in nats (a scalar with a gradient)."""
    hidden = model(batch.ids, documents_BT=batch.documents).flatten(0, 1)
    return cross_entropy_sum(hidden, model.head.weight, batch.targets.flatten(), _flat(batch.mask))


def token_nats(model: Transformer, batch: Batch) -> Tensor:
    """Negative log-likelihood of each target, [B, T]; 0 where it does not count."""
    hidden = model(batch.ids, documents_BT=batch.documents).flatten(0, 1)
    nats: Tensor = _TokenNats.apply(hidden, model.head.weight, batch.targets.flatten())  # type: ignore[no-untyped-call]
    nats = nats.view_as(batch.targets)
    return nats if batch.mask is None else nats * batch.mask


def sequence_logprobs(model: Transformer, batch: Batch) -> Tensor:
    """Log-likelihood of each sequence's counted targets, [B], in nats."""
    return -token_nats(model, batch).sum(1)


def cross_entropy_sum(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, mask_N: Tensor | None) -> Tensor:
    """Summed cross-entropy of `hidden @ weight.T`, chunk by chunk; the gradients are made in the same pass."""
    nats: Tensor = _SumNats.apply(hidden_ND, weight_VD, targets_N, mask_N)  # type: ignore[no-untyped-call]
    return nats


def _flat(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.flatten()


def _add_gradients(gradient: Tensor, hidden: Tensor, weight: Tensor, grad_hidden: Tensor, grad_weight: Tensor) -> None:
    """From one chunk's gradient of the logits: write that of its hidden rows, add that of the weight."""
    gradient = gradient.to(hidden.dtype)
    torch.mm(gradient, weight, out=grad_hidden)
    if grad_weight.dtype == hidden.dtype:
        grad_weight.addmm_(gradient.T, hidden)
    else:  # half-precision rows: their sum over chunks stays in the weight's own precision
        grad_weight += gradient.T @ hidden


class _SumNats(torch.autograd.Function):
    """The loss is a sum, so its gradient is known up to a factor before `backward` is called."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        weight_kept, weight = weight, weight.to(hidden.dtype)
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight = torch.zeros_like(weight_kept) if wanted else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            h, t = hidden[rows], targets[rows, None]
            logprobs = torch.log_softmax((h @ weight.T).float(), 1)
            nats = -logprobs.gather(1, t)
            if mask is not None:
                nats *= mask[rows, None]
            total += nats.sum()
            if grad_hidden is None or grad_weight is None:
                continue
            gradient = logprobs.exp_().scatter_add_(1, t, torch.full_like(nats, -1.0))
            if mask is not None:
                gradient *= mask[rows, None]
            _add_gradients(gradient, h, weight, grad_hidden[rows], grad_weight)
        if wanted:
            ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad_hidden, grad_weight = ctx.saved_tensors
        (factor,) = grads
        return grad_hidden * factor.to(grad_hidden.dtype), grad_weight * factor.to(grad_weight.dtype), None, None


class _TokenNats(torch.autograd.Function):
    """Nats of each row; logits are made again in `backward`, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        nats = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            logits = (hidden[rows] @ weight.T).float()
            nats[rows] = F.cross_entropy(logits, targets[rows], reduction="none")
        ctx.save_for_backward(hidden, weight, targets, nats)
        return nats

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        hidden, weight, targets, _ = ctx.saved_tensors
        (factors,) = grads
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        weight = weight.to(hidden.dtype)
        for start in range(0, hidden.shape[0], CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            h, t = hidden[rows], targets[rows, None]
            gradient = torch.softmax((h @ weight.T).float(), 1)
            gradient.scatter_add_(1, t, torch.full(t.shape, -1.0, device=t.device))
            gradient *= factors[rows, None]
            _add_gradients(gradient, h, weight, grad_hidden[rows], grad_weight)
        return grad_hidden, grad_weight, None
