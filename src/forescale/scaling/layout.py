"""Which devices do what: the data, tensor and pipeline split (paper 2.4) that fits and is soonest done."""

from __future__ import annotations

import math
from collections.abc import Iterator

from forescale.base.records.plan import Layout, Sharding
from forescale.base.shape import ModelShape
from forescale.scaling.devices import Device
from forescale.scaling.memory import USABLE, Split, memory
from forescale.scaling.step_time import run_hours, step_seconds, turns_seconds, waits

LARGEST_MICRO_BATCH = 16
"""Sequences at once: more fill no device better (our choice)."""
WINDOW = 1.0 / 8.0
"""How far a law's batch is moved so that devices can share it (our choice): a factor of 2 costs 0.2% of the loss."""
AS_FAST = 1.01
"""Among batches that are as fast to this factor, the one nearest to the law's is taken (our choice)."""


def choose(
    shape: ModelShape,
    batch_tokens: int,
    flops: float,
    gpus: int,
    device: Device,
    utilisation: float,
    sharding: Sharding = "full",
) -> tuple[Layout | None, list[str]]:
    """The layout that is soonest done with `flops` (M x D) at this batch; or why none fits.

    All tensor splits inside a node, all numbers of stages and all numbers of copies that the batch can be dealt to
    evenly are tried; devices that remain stand idle. Equal times: least splitting, then the largest micro-batch.
    """
    sequences = max(1, batch_tokens // shape.seq_len)
    best: tuple[tuple[float, ...], Split] | None = None
    divisors = _divisors(sequences)[::-1]
    for tensor, pipeline in _grids(shape, gpus, device):
        for data in (n for n in divisors if n * tensor * pipeline <= gpus):
            one = Split(data, tensor, pipeline, 1, sharding)
            if best is not None and turns_seconds(shape, one, sequences, device, utilisation) > best[0][0]:
                break  # fewer copies and larger micro-batches compute no sooner
            for micro in _micro_batches(sequences // data):
                split = Split(data, tensor, pipeline, micro, sharding)
                if not _fits(shape, split, sequences, device):
                    continue
                seconds = float(f"{step_seconds(shape, split, sequences, device, utilisation):.9g}")
                rank = (seconds, tensor * pipeline, pipeline, -micro)
                if best is None or rank < best[0]:
                    best = rank, split
    if best is None:
        return None, [_reason(shape, sequences, gpus, device, sharding)]
    split = best[1]
    seconds = step_seconds(shape, split, sequences, device, utilisation)
    waiting = waits(shape, split, sequences, gpus, device, utilisation)
    return Layout(
        data=split.data,
        tensor=split.tensor,
        pipeline=split.pipeline,
        micro_batch=split.micro_batch,
        memory_gib_per_device=memory(shape, split, sequences).total,
        days=run_hours(batch_tokens, flops / shape.flops_per_token, seconds) / 24.0,
        busy=waiting.busy,
        waits=waiting,
        sharding=sharding,
    ), []


def dealt(
    shape: ModelShape, sequences: float, gpus: int, device: Device, utilisation: float, sharding: Sharding = "full"
) -> int | None:
    """A batch within an eighth of `sequences` that the devices get through soonest; None where none fits.

    For each tensor and pipeline split as many copies of the model as devices allow, and the nearest batch that can be
    dealt to them.
    """
    middle = max(1, round(sequences))
    low = min(middle, math.ceil(sequences * (1 - WINDOW)))
    high = max(middle, math.floor(sequences * (1 + WINDOW)))
    found: list[tuple[float, float, int]] = []
    for tensor, pipeline in _grids(shape, gpus, device):
        count = _shared(sequences, low, high, gpus // (tensor * pipeline))
        if count is None:
            continue
        data, batch = count
        fitting = [
            step_seconds(shape, split, batch, device, utilisation)
            for micro in _micro_batches(batch // data)
            if _fits(shape, split := Split(data, tensor, pipeline, micro, sharding), batch, device)
        ]
        if fitting:
            found.append((min(fitting) / batch, abs(math.log(batch / sequences)), batch))
    if not found:
        return None
    fastest = min(found)[0]
    return min(one[1:] for one in found if one[0] <= AS_FAST * fastest)[1]


def _shared(sequences: float, low: int, high: int, most: int) -> tuple[int, int] | None:
    """The largest number of copies, at most `most`, that share some batch from low to high evenly, and that batch."""
    each = math.ceil(low / most)
    data = min(most, high // each)
    if data * each < low:
        return None
    copies = min(max(round(sequences / data), math.ceil(low / data)), high // data)
    return data, copies * data


def dealing(sequences: float, sharers: int | None) -> int:
    """What the batch, in sequences, is best a multiple of, so that so many ranks can share it: the largest halving of
    their number that moves the batch by no more than a sixteenth. For ranks of which nothing else is known.

    >>> dealing(527.0, 64), dealing(100.0, 64), dealing(3.0, 64)
    (64, 8, 1)
    """
    unit = sharers or 1
    while unit > 1 and sequences < 8 * unit:
        unit = unit // 2 if unit % 2 == 0 else 1
    return unit


def _enough(shape: ModelShape, sequences: int, device: Device, sharding: Sharding) -> int | None:
    """The fewest devices that hold this model with this batch; more always do too. None: no number does."""
    counts = []
    for tensor, pipeline in _grids(shape, None, device):
        for data in _divisors(sequences):
            if _fits(shape, Split(data, tensor, pipeline, 1, sharding), sequences, device):
                counts.append(data * tensor * pipeline)
                break
    return min(counts, default=None)


def _reason(shape: ModelShape, sequences: int, gpus: int, device: Device, sharding: Sharding) -> str:
    """Why no layout was found, and what would do: other batches, or more devices."""
    enough = _enough(shape, sequences, device, sharding)
    more = f"--gpus {enough} or more" if enough is not None else "devices with more memory, or a smaller shape"
    other = dealt(shape, sequences, gpus, device, 1.0, sharding)
    if other is not None:
        return (
            f"a batch of {sequences:,} sequences cannot be dealt to {gpus:,} x {device.name} so that the model fits:"
            f" one of {other:,} can (schedule.batch_tokens = {other * shape.seq_len}); or try {more}"
        )
    least = memory(shape, Split(1, 1, 1, 1, sharding), 1)
    return (
        f"{gpus:,} x {device.name} ({device.memory_gib:g} GiB each) cannot hold this model with a batch of"
        f" {sequences:,} sequences: weights, optimizer and one sequence want about {least.total:,.0f} GiB in all;"
        f" try {more}"
    )


def _grids(shape: ModelShape, gpus: int | None, device: Device) -> Iterator[tuple[int, int]]:
    """Tensor splits that share out key/value heads and never reach across a node, times numbers of stages."""
    for tensor in range(1, device.per_node + 1):
        if device.per_node % tensor == 0 and shape.n_kv_head % tensor == 0 and (gpus is None or tensor <= gpus):
            stages = shape.n_layer if gpus is None else min(shape.n_layer, gpus // tensor)
            for pipeline in range(1, stages + 1):
                yield tensor, pipeline


def _fits(shape: ModelShape, split: Split, sequences: int, device: Device) -> bool:
    return memory(shape, split, sequences).total <= USABLE * device.memory_gib


def _micro_batches(sequences: int) -> list[int]:
    """Powers of two that divide a copy's sequences, the largest first."""
    largest = math.gcd(sequences, LARGEST_MICRO_BATCH)
    return [largest >> k for k in range(largest.bit_length())]


def _divisors(n: int) -> list[int]:
    small = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})
