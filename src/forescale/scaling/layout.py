"""Memory, parallel layout and time of a run on many devices (paper 2.4: data, tensor and pipeline axes, ZeRO)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forescale.base.records.plan import Layout
from forescale.base.shape import ModelShape
from forescale.scaling.devices import Device

GIB = 2.0**30
STATE_BYTES = 16
"""Bytes a parameter that are sharded over all ranks: fp32 weight, gradient and two moments of AdamW."""
CHECKPOINT_BYTES = 12
"""Bytes a parameter on disk: fp32 weight and two moments."""
ACTIVATION_BYTES = 34
"""Bytes a token, layer and unit of width kept for backward in bf16 with flash attention (Korthikanti 2022, Eq. 1)."""
LOGIT_BYTES = 4
"""Bytes a logit: bf16 and its gradient, in place (paper 2.4)."""
USABLE = 0.9
"""Share of a device's memory that may be planned; the rest is fragmentation, buffers and the runtime (our choice)."""
SECONDS_A_DAY = 86_400
STEP_FLOOR = 0.02
"""Seconds that a step costs whatever its batch: launches and one round of collectives (our choice)."""
NEAR = math.sqrt(2.0)
"""A batch may move by this factor to one that can be dealt out."""


@dataclass(frozen=True)
class Need:
    """What one device must hold, in GiB."""

    state: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.state + self.activations


def memory(shape: ModelShape, data: int, tensor: int, pipeline: int, micro_batch: int) -> Need:
    """Memory of the fullest rank, everything sharded over all ranks and two blocks gathered at a time."""
    params = shape.params
    block = shape.block_weights / shape.n_layer
    gathered = 2 * (2 * block + shape.vocab_size * shape.d_model) / tensor  # bf16: two blocks, one embedding
    state = STATE_BYTES * params / (data * tensor * pipeline) + gathered
    tokens = micro_batch * shape.seq_len
    # 1F1B: the first stage keeps `pipeline` micro-batches of its n_layer / pipeline layers: n_layer in all
    kept = ACTIVATION_BYTES * tokens * shape.d_model * shape.n_layer / tensor
    logits = LOGIT_BYTES * tokens * shape.vocab_size / tensor
    return Need(state / GIB, (kept + logits) / GIB)


def days(flops: float, gpus: int, device: Device, utilisation: float) -> float:
    """Days for `flops` (M x D): `utilisation` is the share of the device's peak that M counts for."""
    return flops / (gpus * device.peak_flops * utilisation * SECONDS_A_DAY)


def hours(shape: ModelShape, batch_tokens: int, tokens: float, gpus: int, device: Device, utilisation: float) -> float:
    """Hours of a run: its compute on the devices that its batch keeps busy, and each step's own floor.

    A device is busy where a rank has a sequence a step, or a share of one by tensor parallelism.
    """
    busy = min(gpus, max(1, batch_tokens // shape.seq_len) * _widest(shape, gpus, device))
    compute = 24.0 * days(shape.flops_per_token * tokens, busy, device, utilisation)
    return compute + math.ceil(tokens / batch_tokens - 1e-9) * STEP_FLOOR / 3600.0


def reach(n_days: float, gpus: int, device: Device, utilisation: float) -> float:
    """FLOPs (M x D) of so many days."""
    return n_days * gpus * device.peak_flops * utilisation * SECONDS_A_DAY


def checkpoint_gib(shape: ModelShape) -> float:
    """Size of a resumable checkpoint."""
    return CHECKPOINT_BYTES * shape.params / GIB


def dealing(sequences: float, gpus: int | None) -> int:
    """What the batch, in sequences, is best a multiple of, so that `gpus` devices can share it: the largest halving of
    their number that moves the batch by no more than a sixteenth.

    >>> dealing(527.0, 64), dealing(100.0, 64), dealing(3.0, 64)
    (64, 8, 1)
    """
    unit = gpus or 1
    while unit > 1 and (sequences < 8 * unit or gpus is None):
        unit = unit // 2 if unit % 2 == 0 else 1
    return unit


def dealt(shape: ModelShape, sequences: float, gpus: int, device: Device) -> int | None:
    """The sequences nearest to these that some layout deals to all devices; None where none is near."""
    units = {max(1, gpus >> k) for k in range(gpus.bit_length())}
    near = {max(1, round(sequences / unit)) * unit for unit in units}
    for count in sorted(near, key=lambda n: (abs(math.log(n / sequences)), n)):
        if max(count / sequences, sequences / count) > NEAR * (1 + 1e-9):
            return None
        if choose(shape, count * shape.seq_len, 1.0, gpus, device, 1.0)[0] is not None:
            return count
    return None


def choose(
    shape: ModelShape, batch_tokens: int, flops: float, gpus: int, device: Device, utilisation: float
) -> tuple[Layout | None, list[str]]:
    """The layout with the least tensor and pipeline splitting that fits, at the largest micro-batch; or why none does.

    Order of trial: tensor inside a node first (its traffic is the heaviest), then pipeline over layers. An uneven cut
    of the layers is allowed only where nothing even fits.
    """
    sequences = max(1, batch_tokens // shape.seq_len)
    taken = hours(shape, batch_tokens, flops / shape.flops_per_token, gpus, device, utilisation) / 24.0
    best: tuple[tuple[float, ...], Layout] | None = None
    for tensor in _tensor_splits(shape, gpus, device):
        for pipeline in _divisors(gpus // tensor):
            data = gpus // tensor // pipeline
            if pipeline > shape.n_layer or data > sequences or sequences % data:
                continue
            layout = _fill(shape, data, tensor, pipeline, sequences // data, device)
            if layout is None:
                continue
            micro, need = layout
            uneven = shape.n_layer % pipeline != 0
            bubble = (pipeline - 1) / (sequences / data / micro + pipeline - 1)
            rank = (uneven, bubble > 0.1, tensor * pipeline, pipeline, -micro)
            if best is None or rank < best[0]:
                plan = Layout(
                    data=data, tensor=tensor, pipeline=pipeline, micro_batch=micro, memory_gib_per_device=need,
                    days=taken,
                )  # fmt: skip
                best = rank, plan
    if best is not None:
        return best[1], []
    return None, [_reason(shape, sequences, gpus, device)]


def _reason(shape: ModelShape, sequences: int, gpus: int, device: Device) -> str:
    """Why no layout was found: too little memory, or a batch that cannot be dealt out evenly."""
    tensor = _widest(shape, gpus, device)
    if memory(shape, max(1, gpus // tensor), tensor, 1, 1).total <= USABLE * device.memory_gib:
        return (
            f"a batch of {sequences} sequences cannot be dealt evenly to {gpus} devices: fix schedule.batch_tokens to "
            f"a multiple of {gpus} sequences, or give a number of devices that divides it"
        )
    least = memory(shape, 1, 1, 1, 1)
    enough = math.ceil(least.total / (USABLE * device.memory_gib))
    return (
        f"{gpus} x {device.name} ({device.memory_gib:g} GiB each) cannot hold this model: weights, optimizer and one "
        f"sequence want about {least.total:,.0f} GiB in all; try --gpus {_next_power(max(enough, 2))} or more"
    )


def _fill(
    shape: ModelShape, data: int, tensor: int, pipeline: int, sequences: int, device: Device
) -> tuple[int, float] | None:
    """The largest micro-batch (a power of two that divides the rank's sequences, at most 16) that fits."""
    micro = math.gcd(sequences, 16)
    while micro >= 1:
        need = memory(shape, data, tensor, pipeline, micro).total
        enough_for_pipeline = pipeline == 1 or sequences // micro >= pipeline
        if need <= USABLE * device.memory_gib and enough_for_pipeline:
            return micro, need
        micro //= 2
    return None


def _divisors(n: int) -> list[int]:
    return [k for k in range(1, n + 1) if n % k == 0] if n < 100_000 else [2**k for k in range(17) if n % 2**k == 0]


def _widest(shape: ModelShape, gpus: int, device: Device) -> int:
    return max(_tensor_splits(shape, gpus, device))


def _tensor_splits(shape: ModelShape, gpus: int, device: Device) -> list[int]:
    """Tensor splits that share out key/value heads and devices, and never reach across a node."""
    return [
        k for k in range(1, device.per_node + 1)
        if device.per_node % k == 0 and shape.n_kv_head % k == 0 and gpus % k == 0
    ]  # fmt: skip


def _next_power(n: int) -> int:
    return 1 << (n - 1).bit_length()
