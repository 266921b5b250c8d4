"""Direct preference optimisation (paper 6.3; Rafailov et al. 2023): raise the margin over a frozen reference.

    loss = -log sigmoid(beta x [(log p(chosen) - log ref(chosen)) - (log p(rejected) - log ref(rejected))])

Log-likelihoods are sums over the answer's ids, its end included when it ended. The reference is the policy at its
start; its log-likelihoods are taken once, before the first step, so no second model stays in memory.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from forescale.align.chat import Rendered, answer_ids, prompt_ids
from forescale.align.data import Pair, read_pairs
from forescale.align.sft import RECORD, answer_loss
from forescale.align.tuning import OnStep, order, pad, steps_of, tune
from forescale.base.config import DpoSection
from forescale.base.files import sha256_file
from forescale.base.records.align import AlignRecord, StageRecord
from forescale.model import weights
from forescale.model.objective import Batch, sequence_logprobs
from forescale.model.threads import few_threads
from forescale.model.transformer import Transformer
from forescale.tokens.tokenizer import Tokenizer

MICRO_PAIRS = 32
"""Pairs in one forward pass (our choice)."""


class Example(NamedTuple):
    """Both answers behind their prompt, as ids and masks."""

    chosen: Rendered
    rejected: Rendered
    answer_ids: int
    """Answer ids of both, that the loss sums over."""


@dataclass(frozen=True)
class PairBatch:
    """Chosen answers in the first half of the rows, rejected ones in the second, and the reference's view of them."""

    rows: Batch
    reference: Tensor
    """[2, P]: log-likelihoods of chosen and rejected under the reference."""
    beta: float

    @property
    def n_counted(self) -> int:
        """Pairs."""
        return self.reference.shape[1]


def sigmoid_loss(policy_2P: Tensor, reference_2P: Tensor, beta: float) -> Tensor:
    """DPO's loss of each pair, [P], from log-likelihoods of (chosen, rejected); ln 2 where policy = reference."""
    return -F.logsigmoid(margin(policy_2P, reference_2P, beta))


def margin(policy_2P: Tensor, reference_2P: Tensor, beta: float) -> Tensor:
    """Implicit reward of the chosen answer less that of the rejected one, [P], in nats."""
    gain_2P = policy_2P - reference_2P
    return beta * (gain_2P[0] - gain_2P[1])


def objective(model: Transformer, batch: PairBatch) -> Tensor:
    """Summed loss of the batch's pairs."""
    return sigmoid_loss(sequence_logprobs(model, batch.rows).view(2, -1), batch.reference, batch.beta).sum()


def run(
    policy_dir: Path,
    pairs_jsonl: Path,
    out_dir: Path,
    section: DpoSection,
    seed: int = 0,
    *,
    heldout: Path | None = None,
    weight_decay: float = 0.0,
    on_step: OnStep | None = None,
) -> AlignRecord:
    """One epoch of DPO from `policy_dir`; writes `out_dir/weights/` and `record.json`, or a skipped record.

    Fewer than `section.minimum_pairs` usable pairs: nothing is trained, and the record says why.
    """
    done = out_dir / RECORD
    if done.exists():
        return AlignRecord.read(done)
    started = time.monotonic()
    tokenizer = Tokenizer.open(policy_dir)
    model = weights.load(policy_dir)
    examples, dropped = _prepare(pairs_jsonl, tokenizer, model.shape.seq_len)
    stage = StageRecord(
        data=pairs_jsonl.name, data_sha256=sha256_file(pairs_jsonl), examples=len(examples), dropped=dropped
    )
    result = AlignRecord(
        kind="dpo", status="skipped", parent=str(policy_dir), stages=[stage], epochs=1.0, beta=section.beta,
        learning_rate=section.learning_rate, batch=section.batch, seed=seed,
    )  # fmt: skip
    if len(examples) < section.minimum_pairs:
        reason = f"{len(examples)} usable pairs; at least {section.minimum_pairs} are asked for (dpo.minimum_pairs)"
        result = result.model_copy(update={"reason": reason})
        result.write(done)
        return result
    before = None if heldout is None else answer_loss(model, tokenizer, heldout)
    reference = logprobs(model, examples)
    n_steps = steps_of(len(examples), 1.0, section.batch)
    tuned = tune(
        model,
        _epoch(len(examples), n_steps, seed),
        lambda chosen: _batches(examples, reference, chosen, section.beta),
        objective,
        learning_rate=section.learning_rate,
        weight_decay=weight_decay,
        on_step=on_step,
    )
    margins = margin(logprobs(model, examples), reference, section.beta)
    weights.save(model, out_dir / "weights", policy_dir, chat=True)
    result = result.model_copy(
        update={
            "status": "finished",
            "weights": str(out_dir / "weights"),
            "stages": [
                stage.model_copy(
                    update={
                        "steps": n_steps,
                        "warmup_steps": tuned.warmup_steps,
                        "counted_tokens": sum(example.answer_ids for example in examples),
                        "curve": tuned.curve,
                    }
                )
            ],
            "heldout_before": before,
            "heldout_after": None if heldout is None else answer_loss(model, tokenizer, heldout),
            "accuracy_after": float((margins > 0).double().mean()),
            "margin_after": float(margins.mean()),
            "seconds": time.monotonic() - started,
        }
    )
    result.write(done)
    return result


def _epoch(n: int, n_steps: int, seed: int) -> list[list[int]]:
    """One order of all pairs, cut into even batches: no step is left with a handful, which would weigh too much."""
    first = order(n, 1, n, seed)[0]
    bounds = [round(step * n / n_steps) for step in range(n_steps + 1)]
    return [first[a:b] for a, b in itertools.pairwise(bounds)]


def _prepare(path: Path, tokenizer: Tokenizer, seq_len: int) -> tuple[list[Example], dict[str, int]]:
    """Pairs as ids; those that say the same twice or do not fit are counted."""
    examples, dropped = [], {"too long": 0, "the same answer twice": 0}
    for pair in read_pairs(path):
        if pair.chosen == pair.rejected and pair.chosen_ended == pair.rejected_ended:
            dropped["the same answer twice"] += 1
            continue
        example = render_pair(pair, tokenizer)
        if max(len(example.chosen.ids), len(example.rejected.ids)) > seq_len + 1:
            dropped["too long"] += 1
        else:
            examples.append(example)
    return examples, {reason: n for reason, n in dropped.items() if n}


def render_pair(pair: Pair, tokenizer: Tokenizer) -> Example:
    """Both answers behind the prompt. An answer that was cut off carries no end: it must not be taught not to end."""
    prompt = prompt_ids(pair.prompt, tokenizer)
    answers = [
        answer_ids(pair.chosen, tokenizer, ended=pair.chosen_ended),
        answer_ids(pair.rejected, tokenizer, ended=pair.rejected_ended),
    ]
    chosen, rejected = (Rendered(prompt + answer, [False] * len(prompt) + [True] * len(answer)) for answer in answers)
    return Example(chosen, rejected, sum(len(answer) for answer in answers))


def _batches(examples: Sequence[Example], reference_2P: Tensor, chosen: Sequence[int], beta: float) -> list[PairBatch]:
    """Micro-batches of the pairs that are named."""
    batches = []
    for start in range(0, len(chosen), MICRO_PAIRS):
        part = chosen[start : start + MICRO_PAIRS]
        rows = [examples[i].chosen for i in part] + [examples[i].rejected for i in part]
        batches.append(PairBatch(pad(rows), reference_2P[:, list(part)], beta))
    return batches


@torch.no_grad()
def logprobs(model: Transformer, examples: Sequence[Example]) -> Tensor:
    """[2, P]: log-likelihoods of all chosen and rejected answers."""
    parts = []
    for start in range(0, len(examples), MICRO_PAIRS):
        part = examples[start : start + MICRO_PAIRS]
        rows = [example.chosen for example in part] + [example.rejected for example in part]
        with few_threads(model.shape.params):
            parts.append(sequence_logprobs(model, pad(rows)).view(2, -1))
    return torch.cat(parts, 1)
