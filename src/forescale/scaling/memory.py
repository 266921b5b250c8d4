"""What a run's devices must hold: weights, optimizer and activations of the fullest one, and a checkpoint on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forescale.base.records.plan import Sharding
from forescale.base.shape import ModelShape

GIB = 2.0**30
OPTIMIZER_BYTES = 12
"""Bytes a parameter of the optimizer: fp32 weight and two moments of AdamW (Rajbhandari 2020, ZeRO, 3.1: K)."""
GRADIENT_BYTES = 4
"""Bytes of a gradient, accumulated in fp32 as in the paper (2.4); ZeRO's own formulas have 2, in fp16."""
WEIGHT_BYTES = 2
"""Bytes of a weight that computes, in bf16."""
CHECKPOINT_BYTES = 12
"""Bytes a parameter on disk: fp32 weight and two moments."""
ACTIVATION_BYTES = 34
"""Bytes a token, layer and unit of width kept for backward in bf16 with flash attention (Korthikanti 2022, Eq. 1)."""
LOGIT_BYTES = 4
"""Bytes a logit: bf16 and its gradient, in place (paper 2.4)."""
USABLE = 0.9
"""Share of a device's memory that may be planned; the rest is fragmentation, buffers and the runtime (our choice)."""


@dataclass(frozen=True)
class Split:
    """How devices share a run: copies of the model, shares of each matrix, stages of layers; sequences at once."""

    data: int
    tensor: int
    pipeline: int
    micro_batch: int = 1
    sharding: Sharding = "full"
    """What the copies share out: `full` all of the state (ZeRO-3), `zero1` the optimizer alone."""

    @property
    def devices(self) -> int:
        """How many work."""
        return self.data * self.tensor * self.pipeline

    def micro_batches(self, sequences: int) -> int:
        """How many micro-batches each copy takes in a step of so many sequences."""
        return sequences // (self.data * self.micro_batch)

    def stage_layers(self, shape: ModelShape) -> int:
        """Layers of the longest stage."""
        return math.ceil(shape.n_layer / self.pipeline)


@dataclass(frozen=True)
class Need:
    """What one device must hold, in GiB."""

    state: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.state + self.activations


def stage_params(shape: ModelShape, split: Split) -> float:
    """Parameters of the largest stage: the embedding is on the first one, the head on the last."""
    layer = shape.block_weights / shape.n_layer + 2 * shape.d_model
    matrices = 2 if split.pipeline == 1 else 1
    return split.stage_layers(shape) * layer + matrices * shape.vocab_size * shape.d_model + shape.d_model


def memory(shape: ModelShape, split: Split, sequences: int) -> Need:
    """Memory of the fullest rank (Rajbhandari 2020, ZeRO, Fig. 1, of the parameters that it has a part of).

    `full`: weights, gradients and optimizer over the copies, two blocks gathered at a time. `zero1`: the optimizer over
    the copies, weights and gradients whole on each.
    Under 1F1B the first stage keeps the activations of as many micro-batches as there are stages (or as there are at
    all); the last keeps one, and its logits.
    """
    layers, block = split.stage_layers(shape), shape.block_weights / shape.n_layer
    params = stage_params(shape, split) / split.tensor
    if split.sharding == "full":
        at_once = (2 * block + shape.vocab_size * shape.d_model) / split.tensor  # two blocks, one embedding
        state = WEIGHT_BYTES * at_once + (GRADIENT_BYTES + OPTIMIZER_BYTES) * params / split.data
    else:
        state = (WEIGHT_BYTES + GRADIENT_BYTES + OPTIMIZER_BYTES / split.data) * params
    tokens = split.micro_batch * shape.seq_len
    one = ACTIVATION_BYTES * tokens * shape.d_model * layers / split.tensor
    first = min(split.pipeline, split.micro_batches(sequences)) * one
    last = one + LOGIT_BYTES * tokens * shape.vocab_size / split.tensor
    return Need(state / GIB, max(first, last) / GIB)


def checkpoint_gib(shape: ModelShape) -> float:
    """Size of a resumable checkpoint."""
    return CHECKPOINT_BYTES * shape.params / GIB
