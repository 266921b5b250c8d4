"""Tokens a second of the trainer, beside a plain eager PyTorch loop of the same shape, in turns on the same machine.

    python benchmarks/train.py [--seconds 3] [--rounds 3]

The plain loop is what a careful newcomer writes: nn.Linear layers, scaled_dot_product_attention, F.cross_entropy over
all logits, clip_grad_norm_, AdamW with its defaults, batches cut from a memory map. Ours is the whole loop: schedule,
log, signals, checkpoints. One thread each, as in a ladder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from forescale.base.runtime import child_environment, machine
from forescale.base.shape import ModelShape, ffn_width

VOCAB, SEQ_LEN = 512, 128
SHAPES = [(32, 2, 2), (48, 2, 2), (64, 3, 2), (96, 3, 3)]
BATCHES = [1024, 2048, 4096]


def shape_of(d: int, layers: int, heads: int) -> ModelShape:
    return ModelShape(layers, d, heads, heads, ffn_width(d, 16), VOCAB, SEQ_LEN)


def ours(shape: ModelShape, batch: int, folder: Path, seconds: float) -> float:
    """Tokens a second of `run_trunk`, from its own log, first tenth left out."""
    import torch

    from forescale.base.records.spec import RunSpec
    from forescale.train.device import hold_memory
    from forescale.train.log import read_log
    from forescale.train.loop import run_trunk

    torch.set_num_threads(1)
    hold_memory()
    steps = max(20, int(seconds * 40_000 * 1024 / shape.d_model / 32 / batch))
    with tempfile.TemporaryDirectory() as out:
        spec = RunSpec(
            name="bench", shape=shape, learning_rate=0.004, batch_tokens=batch, branches=(steps * batch,),
            warmup_steps=steps // 50, tokens_dir=str(folder), tokenizer_dir="", out_dir=out, validation_tokens=1024,
        )  # fmt: skip
        run_trunk(spec)
        lines = list(read_log(Path(out) / "log.jsonl"))
    first, last = lines[len(lines) // 10], lines[-1]
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def plain(shape: ModelShape, batch: int, folder: Path, seconds: float) -> float:
    """Tokens a second of the plain loop."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(1)
    torch.manual_seed(0)
    d, h, e = shape.d_model, shape.n_head, shape.head_dim
    angles = torch.outer(torch.arange(SEQ_LEN), 1e4 ** (-torch.arange(0, e, 2) / e)).repeat(1, 2)
    cos, sin = angles.cos(), angles.sin()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n1, self.n2 = nn.RMSNorm(d, 1e-6), nn.RMSNorm(d, 1e-6)
            self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
            width = int(shape.d_ffn)
            self.gate, self.up = (nn.Linear(d, width, bias=False) for _ in range(2))
            self.down = nn.Linear(width, d, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.n1(x)
            q, k, v = (p(y).unflatten(-1, (h, e)).transpose(1, 2) for p in (self.q, self.k, self.v))
            y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + self.o(y.transpose(1, 2).flatten(-2))
            y = self.n2(x)
            return x + self.down(F.silu(self.gate(y)) * self.up(y))

    model = nn.Sequential(
        nn.Embedding(VOCAB, d), *(Block() for _ in range(shape.n_layer)), nn.RMSNorm(d, 1e-6),
        nn.Linear(d, VOCAB, bias=False),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, betas=(0.9, 0.95), weight_decay=0.1)
    data = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r")
    rng = np.random.default_rng(0)

    def step() -> None:
        starts = rng.integers(0, len(data) - SEQ_LEN - 1, batch // SEQ_LEN)
        rows = torch.from_numpy(np.stack([data[s : s + SEQ_LEN + 1] for s in starts]).astype(np.int64))
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()

    for _ in range(5):
        step()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()
        count += 1
    return count * batch / (time.perf_counter() - started)


def tokens(folder: Path) -> None:
    """A TokenShards folder of random ids."""
    import numpy as np

    from forescale.base.records.tokens import SplitCount, TokensSummary

    rng = np.random.default_rng(0)
    counts = {}
    for split, n in (("train", 4_000_000), ("validation", 10_000)):
        rng.integers(1, VOCAB, n).astype(np.uint16).tofile(folder / f"{split}.bin")
        np.save(folder / f"{split}.ends.npy", np.array([n]))
        np.save(folder / f"{split}.bytes.npy", np.array([2 * n]))
        counts[split] = SplitCount(documents=1, tokens=n, bytes=2 * n)
    np.save(folder / "token_bytes.npy", np.full(VOCAB, 2, np.int64))
    TokensSummary(
        vocab_size=VOCAB, dtype="uint16", eos_id=0, train=counts["train"], validation=counts["validation"],
        unigram_nats=6.2, bigram_nats=6.2, unigram_bpb=4.5, bigram_bpb=4.5, tokenizer="random", validation_id="random",
    ).write(folder / "summary.json")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        which, d, layers, heads, batch, folder = options.child
        timed = {"ours": ours, "plain": plain}[which]
        print(timed(shape_of(int(d), int(layers), int(heads)), int(batch), Path(folder), options.seconds))
        return
    print(f"{machine()}; vocabulary {VOCAB}, sequences of {SEQ_LEN}, one thread, median of {options.rounds} turns")
    print(
        "| d, layers | parameters | batch | ours tokens/s | plain loop | ratio |\n| --- | --- | --- | --- | --- | --- |"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tokens(Path(folder))
        for d, layers, heads in SHAPES:
            for batch in BATCHES:
                speeds: dict[str, list[float]] = {"ours": [], "plain": []}
                for _ in range(options.rounds):
                    for which, seen in speeds.items():
                        case = [which, str(d), str(layers), str(heads), str(batch), folder]
                        command = [sys.executable, __file__, "--seconds", str(options.seconds), "--child", *case]
                        done = subprocess.run(command, env=child_environment(1), capture_output=True, check=True)
                        seen.append(float(done.stdout))
                us, them = statistics.median(speeds["ours"]), statistics.median(speeds["plain"])
                params = int(shape_of(d, layers, heads).params)
                print(
                    f"| {d}, {layers} | {params:,} | {batch:,} | {us:,.0f} | {them:,.0f} | {us / them:.2f} |",
                    flush=True,
                )
                rows.append({"d_model": d, "n_layer": layers, "batch_tokens": batch, "ours": us, "plain": them})
    out = os.environ.get("FORESCALE_BENCH_OUT")
    if out:
        Path(out).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
