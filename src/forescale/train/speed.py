"""Seconds per token of a shape on this machine: C = M * D is not time at small sizes, so it is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from forescale.base.executor import Executor, results
from forescale.base.shape import ModelShape
from forescale.model.objective import Batch, next_token_nats
from forescale.model.transformer import Transformer, initialise
from forescale.train.device import default_device, hold_memory
from forescale.train.feed import MICRO_BATCH_TOKENS
from forescale.train.optimizer import adamw
from forescale.train.parallel import Ranks, Replicated
from forescale.train.steps import train_step

WARM_STEPS = 2


@dataclass(frozen=True)
class SpeedCase:
    """One thing to time: `batch_tokens` a step of `shape` on `threads` threads, for about `seconds`."""

    shape: ModelShape
    batch_tokens: int
    threads: int = 1
    seconds: float = 1.0


def seconds_per_token(case: SpeedCase) -> float:
    """Train on random tokens for about `case.seconds`; the median step's seconds divided by its tokens.

    The median, because a machine that does something else for a moment must not decide a plan.
    """
    hold_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        return _median_step(case) / case.batch_tokens
    finally:
        torch.set_num_threads(before)


def _median_step(case: SpeedCase) -> float:
    device = default_device()
    model = Transformer(case.shape)
    initialise(model, 0)
    model.to(device)
    layout, optimizer = Replicated(model, Ranks(device=device)), adamw(model, learning_rate=1e-3)
    rows = max(1, case.batch_tokens // case.shape.seq_len)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(case.shape.vocab_size, (rows, case.shape.seq_len + 1), generator=generator).to(device)
    micro = max(1, MICRO_BATCH_TOKENS // case.shape.seq_len)
    batches = [
        Batch(ids[at : at + micro, :-1].contiguous(), ids[at : at + micro, 1:].contiguous())
        for at in range(0, rows, micro)
    ]
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    times: list[float] = []
    deadline = time.perf_counter() + case.seconds
    while len(times) < WARM_STEPS + 3 or time.perf_counter() < deadline:
        started = time.perf_counter()
        result = train_step(
            model, optimizer, batches, next_token_nats, layout=layout, rate=1e-3, clip=1.0,
            counted=case.batch_tokens, bf16=bf16,
        )  # fmt: skip
        float(result.grad_norm)  # wait for the device
        times.append(time.perf_counter() - started)
    ordered = sorted(times[WARM_STEPS:])
    return ordered[len(ordered) // 2]


def measure_seconds_per_token(
    shapes: Sequence[ModelShape],
    batch_tokens: int,
    *,
    executor: Executor | None = None,
    threads: int = 1,
    seconds: float = 1.0,
) -> list[float]:
    """Seconds a token of each shape, while as many processes train as the executor has workers.

    Each shape is timed by all workers at once (they share caches and memory), and the slowest counts: that is what a
    run of a ladder gets. Without an executor it is timed in this process alone: what a single big run gets.
    """
    if executor is None:
        return [seconds_per_token(SpeedCase(shape, batch_tokens, threads, seconds)) for shape in shapes]
    n = executor.workers
    cases = [SpeedCase(shape, batch_tokens, threads, seconds) for shape in shapes for _ in range(n)]
    times = results(executor.map(seconds_per_token, cases, label="speed"))
    return [max(times[at : at + n]) for at in range(0, len(times), n)]
