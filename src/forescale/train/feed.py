"""A rank's share of the data: micro-batches of a step, and the fixed windows that every branch is scored on."""

from __future__ import annotations

import math

import torch

from forescale.base.records.loss import LossSum
from forescale.base.records.spec import RunSpec
from forescale.model.objective import Batch, next_token_nats
from forescale.model.transformer import Transformer
from forescale.tokens.stream import IntArray, TokenStream
from forescale.train.parallel import Ranks

MICRO_BATCH_TOKENS = 8192


class Feed:
    """Batches are a pure function of (seed, step, rank): nothing here needs saving."""

    def __init__(self, spec: RunSpec, ranks: Ranks) -> None:
        self.spec, self.ranks = spec, ranks
        self.stream = TokenStream(spec.tokens_dir, "train")
        self.summary = self.stream.summary
        self.rows = spec.micro_batch or max(1, MICRO_BATCH_TOKENS // spec.shape.seq_len)

    def batches(self, step: int) -> tuple[list[Batch], int]:
        """This rank's micro-batches of a step, and the bytes behind their targets."""
        spec, ranks = self.spec, self.ranks
        ids, targets = self.stream.batch(
            spec.seed, step, spec.batch_tokens, spec.shape.seq_len, rank=ranks.rank, ranks=ranks.size
        )
        return self._cut(ids, targets), self.stream.target_bytes(targets)

    @torch.no_grad()
    def score(self, model: Transformer, *, bf16: bool) -> dict[str, LossSum]:
        """Loss on the same windows of the validation split for every run, shared out over ranks: set by set, one set,
        "", where the split has no parts."""
        stream = TokenStream(self.spec.tokens_dir, "validation")
        wanted = self.spec.validation_tokens, self.spec.shape.seq_len
        ids, targets = stream.validation_windows(*wanted)
        return {
            name: self._score(model, stream, ids[inside], targets[inside], bf16=bf16)
            for name, inside in stream.validation_sets(*wanted).items()
            if inside.any()
        }

    def _score(
        self, model: Transformer, stream: TokenStream, ids: IntArray, targets: IntArray, *, bf16: bool
    ) -> LossSum:
        rank, size, device = self.ranks.rank, self.ranks.size, self.ranks.device
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        mine_ids, mine_targets = ids[rank::size], targets[rank::size]
        batches = self._cut(mine_ids, mine_targets)
        # Every rank makes as many forward passes as rank 0: under FSDP2 they wait for one another.
        passes = math.ceil(math.ceil(len(ids) / size) / self.rows)
        for index in range(passes):
            counts = index < len(batches)
            batch = batches[index] if counts else self._cut(ids[:1], targets[:1])[0]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                nats = next_token_nats(model, batch)
            sums[0] += nats.double() * counts
        sums[1] += mine_targets.size
        sums[2] += stream.target_bytes(mine_targets)
        nats_, tokens, n_bytes = self.ranks.sum(sums).tolist()
        return LossSum(nats=nats_, tokens=int(tokens), bytes=int(n_bytes))

    def _cut(self, ids: IntArray, targets: IntArray) -> list[Batch]:
        batches = []
        for start in range(0, len(ids), self.rows):
            rows = slice(start, start + self.rows)
            documents = None
            if not self.spec.attend_across_documents:
                ends = torch.from_numpy((ids[rows] == self.summary.eos_id).astype("int64"))
                documents = ends.cumsum(1) - ends  # a document's closing token still belongs to it
            batch = Batch(torch.from_numpy(ids[rows]), torch.from_numpy(targets[rows]), documents=documents)
            batches.append(batch if self.ranks.device.type == "cpu" else batch.to(self.ranks.device))
        return batches
