"""How long a step takes: the devices' compute, and all that keeps them from it.

The utilisation of a plan is that of a device while it has work: M x D over its peak, as runs measure it that split
nothing but the batch and hide the traffic of that behind compute: 36 to 46% on H100s for 3B to 70B parameters (LLM
Foundry's benchmark table, full sharding, up to 4,096 positions). What a layout adds is counted here, and nowhere else:
idle devices, the pipeline's bubble, its uneven stages, the traffic of a tensor split, gradients and weights that take
longer to exchange than the step's compute, and each step's own floor. Not counted: restarts and evaluation.
"""

from __future__ import annotations

import math

from forescale.base.records.plan import Waits
from forescale.base.shape import ModelShape
from forescale.scaling.devices import Device
from forescale.scaling.memory import Split, stage_params

STEP_FLOOR = 0.02
"""Seconds that a step costs whatever its batch: launches and one round of collectives (our choice)."""
SECONDS_A_DAY = 86_400
ALL_REDUCES = 4
"""All-reduces of a layer's activations by a tensor split, two forward and two backward (Shoeybi 2019, Megatron-LM)."""
VALUE_BYTES = 2
"""Bytes of an activation in bf16."""


def _turn(shape: ModelShape, split: Split, device: Device, utilisation: float) -> tuple[float, float]:
    """Seconds of compute and of traffic that the longest stage spends on one micro-batch, forward and backward.

    A ring all-reduce sends 2 (t - 1) / t times the values (Patarasuk and Yuan 2009). At the link's rated speed and
    with nothing hidden behind compute: links reach less, good kernels hide some.
    """
    layers = split.stage_layers(shape)
    tokens = split.micro_batch * shape.seq_len
    flops = shape.flops_per_token * tokens * layers / shape.n_layer / split.tensor
    sent = ALL_REDUCES * VALUE_BYTES * shape.d_model * tokens * layers * 2 * (split.tensor - 1) / split.tensor
    return flops / (device.peak_flops * utilisation), sent / device.link


def exchange_seconds(shape: ModelShape, split: Split, device: Device) -> float:
    """Seconds to sum gradients over the copies and hand out the new weights, once a step (Rajbhandari 2020, ZeRO, 7).

    The least that any sharding sends, in bf16 at the rated speed: of each stage's share twice (d - 1) / d.
    """
    wire = device.link if split.devices <= device.per_node else device.network
    sent = 2 * VALUE_BYTES * stage_params(shape, split) / split.tensor * (split.data - 1) / split.data
    return 0.0 if wire is None else sent / wire


def turns_seconds(shape: ModelShape, split: Split, sequences: int, device: Device, utilisation: float) -> float:
    """Seconds of a step's compute: under 1F1B m micro-batches take m + p - 1 turns of the longest of p stages."""
    turns = split.micro_batches(sequences) + split.pipeline - 1
    return turns * sum(_turn(shape, split, device, utilisation))


def step_seconds(shape: ModelShape, split: Split, sequences: int, device: Device, utilisation: float) -> float:
    """Seconds of a step: its turns, or the exchange that they hide where that takes longer, and the floor."""
    turns = turns_seconds(shape, split, sequences, device, utilisation)
    return max(turns, exchange_seconds(shape, split, device)) + STEP_FLOOR


def run_hours(batch_tokens: int, tokens: float, seconds: float) -> float:
    """Hours of a run whose steps take so many seconds."""
    return math.ceil(tokens / batch_tokens - 1e-9) * seconds / 3600.0


def waits(shape: ModelShape, split: Split, sequences: int, gpus: int, device: Device, utilisation: float) -> Waits:
    """What keeps the devices from work, each as a share of the time that what stands before it has left over: the
    product of what is left is `busy`."""
    compute, traffic = _turn(shape, split, device, utilisation)
    turns = split.micro_batches(sequences) + split.pipeline - 1
    step = step_seconds(shape, split, sequences, device, utilisation)
    return Waits(
        idle=1.0 - split.devices / gpus,
        steps=STEP_FLOOR / step,
        network=max(0.0, 1.0 - turns * (compute + traffic) / (step - STEP_FLOOR)),
        bubble=(split.pipeline - 1) / turns,
        uneven=1.0 - shape.n_layer / (split.stage_layers(shape) * split.pipeline),
        traffic=traffic / (compute + traffic),
    )


def days(flops: float, gpus: int, device: Device, utilisation: float) -> float:
    """Days for `flops` (M x D) on devices that never wait."""
    return flops / (gpus * device.peak_flops * utilisation * SECONDS_A_DAY)


def reach(n_days: float, gpus: int, device: Device, utilisation: float) -> float:
    """FLOPs (M x D) of so many days on devices that never wait."""
    return n_days * gpus * device.peak_flops * utilisation * SECONDS_A_DAY
