"""Seconds per token of a shape on this machine: C = M * D is not time at small sizes, so it is measured."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from forescale.base.files import write_atomic
from forescale.base.shape import ModelShape
from forescale.model.objective import Batch, next_token_nats
from forescale.model.transformer import Transformer, initialise
from forescale.train.device import default_device, hold_memory
from forescale.train.feed import MICRO_BATCH_TOKENS
from forescale.train.optimizer import adamw
from forescale.train.parallel import Ranks, Replicated, join
from forescale.train.steps import train_step

WARM_STEPS = 2


@dataclass(frozen=True)
class SpeedCase:
    """One thing to time: `batch_tokens` a step of `shape` on `threads` threads, for about `seconds`."""

    shape: ModelShape
    batch_tokens: int
    threads: int = 1
    seconds: float = 1.0


def seconds_per_token(case: SpeedCase, ranks: Ranks | None = None) -> float:
    """Train on random tokens for about `case.seconds`; the median step's seconds divided by its tokens.

    With `ranks`, all of them take their share of a step's sequences, and the tokens of all are counted. The median,
    because a machine that does something else for a moment must not decide a plan.
    """
    hold_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        return _median_step(case, ranks or Ranks(device=default_device())) / case.batch_tokens
    finally:
        torch.set_num_threads(before)


def _median_step(case: SpeedCase, ranks: Ranks) -> float:
    device = ranks.device
    model = Transformer(case.shape)
    initialise(model, 0)
    model.to(device)
    layout, optimizer = Replicated(model, ranks), adamw(model, learning_rate=1e-3)
    rows = max(1, case.batch_tokens // case.shape.seq_len // ranks.size)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(case.shape.vocab_size, (rows, case.shape.seq_len + 1), generator=generator).to(device)
    micro = max(1, MICRO_BATCH_TOKENS // case.shape.seq_len)
    batches = [
        Batch(ids[at : at + micro, :-1].contiguous(), ids[at : at + micro, 1:].contiguous())
        for at in range(0, rows, micro)
    ]
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    times: list[float] = []
    deadline, last = time.perf_counter() + case.seconds, False
    while not last or len(times) < WARM_STEPS + 3:
        started = time.perf_counter()
        result = train_step(
            model, optimizer, batches, next_token_nats, layout=layout, rate=1e-3, clip=1.0,
            counted=case.batch_tokens, bf16=bf16, stop=time.perf_counter() > deadline,
        )  # fmt: skip
        float(result.grad_norm)  # wait for the device
        last = last or result.stop  # ranks agree on the last step
        times.append(time.perf_counter() - started)
    ordered = sorted(times[WARM_STEPS:])
    return ordered[len(ordered) // 2]


def main(path: Path) -> None:
    """One of torchrun's ranks: time the case in this file; rank 0 writes the seconds per token beside it."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    case = SpeedCase(ModelShape(**fields["shape"]), fields["batch_tokens"], fields["threads"], fields["seconds"])
    with join() as ranks:
        seconds = seconds_per_token(case, ranks)
        ranks.barrier()
        if ranks.leads:
            write_atomic(path.with_suffix(".out"), json.dumps(seconds).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)
