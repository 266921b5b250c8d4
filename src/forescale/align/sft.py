"""Supervised tuning with the loss on answers only, in one stage or several (paper 6.2).

Learning rate: the paper's 1e-5 (7B) is 1/42 of its pretraining peak. A model of some hundred thousand weights wants
about a sixth of its peak (1e-3 where that was .006): at this size tuning has to teach the form of an answer, not only
to wake it (decision 0262, with the measurement). Fewer than one epoch takes a random part of the examples.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from forescale.align.chat import Rendered, answer_bytes, fit, render
from forescale.align.data import Chat, read_chats
from forescale.align.tuning import OnStep, collate, order, pad, steps_of, tune
from forescale.base.config import SftSection
from forescale.base.errors import InputError
from forescale.base.files import sha256_file
from forescale.base.records.align import AlignRecord, StageRecord
from forescale.base.records.loss import LossSum
from forescale.model import weights
from forescale.model.objective import next_token_nats, token_nats
from forescale.model.threads import few_threads
from forescale.model.transformer import Transformer
from forescale.tokens.tokenizer import Tokenizer

RECORD = "record.json"


def run(
    weights_dir: Path,
    data: Path | Sequence[Path],
    out_dir: Path,
    section: SftSection,
    seed: int = 0,
    *,
    heldout: Path | None = None,
    weight_decay: float = 0.0,
    on_step: OnStep | None = None,
) -> AlignRecord:
    """Tune the model in `weights_dir` on chat files, one stage a file; writes `out_dir/weights/` and `record.json`.

    Each stage but the last leaves its weights in `out_dir/stageN/weights/`: run again after a stop, finished stages
    are not repeated, and a finished run gives its record at once. The paper's two stages (7B: all data, then without
    math and code) are two files.
    """
    done = out_dir / RECORD
    if done.exists():
        return AlignRecord.read(done)
    started = time.monotonic()
    tokenizer = Tokenizer.open(weights_dir)
    parent = weights.load(weights_dir)
    before = None if heldout is None else answer_loss(parent, tokenizer, heldout)
    # All files are read before any work: a bad line in the second stage must not cost the first.
    stages = [_prepare(path, tokenizer, parent.shape.seq_len) for path in ([data] if isinstance(data, Path) else data)]
    current, records = weights_dir, []
    for number, stage in enumerate(stages, 1):
        folder = out_dir if number == len(stages) else out_dir / f"stage{number}"
        records.append(_tune_stage(current, folder, stage, section, seed + number - 1, weight_decay, on_step))
        current = folder / "weights"
    result = AlignRecord(
        kind="sft",
        status="finished",
        parent=str(weights_dir),
        weights=str(current),
        stages=records,
        epochs=section.epochs,
        learning_rate=section.learning_rate,
        batch=section.batch,
        heldout_before=before,
        heldout_after=None if heldout is None else answer_loss(weights.load(current), tokenizer, heldout),
        seed=seed,
        seconds=time.monotonic() - started,
    )
    result.write(done)
    return result


def _tune_stage(
    parent: Path,
    folder: Path,
    stage: tuple[list[Rendered], StageRecord],
    section: SftSection,
    seed: int,
    weight_decay: float,
    on_step: OnStep | None,
) -> StageRecord:
    """Tune on one file and write `folder/weights/` and, last, `folder/stage.json`; a finished stage is only read."""
    done = folder / "stage.json"
    if done.exists():
        return StageRecord.read(done)
    examples, record = stage
    model = weights.load(parent)
    n_steps = steps_of(len(examples), section.epochs, section.batch)
    tuned = tune(
        model,
        order(len(examples), n_steps, section.batch, seed),
        lambda chosen: collate([examples[i] for i in chosen]),
        next_token_nats,
        learning_rate=section.learning_rate,
        weight_decay=weight_decay,
        on_step=on_step,
    )
    weights.save(model, folder / "weights", parent, chat=True)
    update = {
        "steps": n_steps,
        "warmup_steps": tuned.warmup_steps,
        "counted_tokens": tuned.counted,
        "curve": tuned.curve,
    }
    record = record.model_copy(update=update)
    record.write(done)
    return record


def _prepare(path: Path, tokenizer: Tokenizer, seq_len: int) -> tuple[list[Rendered], StageRecord]:
    """Examples of one file that fit the model's positions, and what was shortened or dropped."""
    limit = seq_len + 1  # the last id is only a target
    rendered, shortened, too_long = [], 0, 0
    for chat in read_chats(path):
        example, cut = fit(chat.messages, tokenizer, limit)
        shortened += cut
        if example is None:
            too_long += 1
        else:
            rendered.append(example)
    if not rendered:
        raise InputError(
            f"no conversation of {path} fits the model's {seq_len} positions",
            why=f"{too_long} conversations are longer",
            remedy="give shorter conversations, or a model with a longer seq_len",
            file=path,
        )
    record = StageRecord(
        data=path.name,
        data_sha256=sha256_file(path),
        examples=len(rendered),
        shortened=shortened,
        dropped={"too long": too_long} if too_long else {},
    )
    return rendered, record


@torch.inference_mode()
def answer_loss(model: Transformer, tokenizer: Tokenizer, path: Path) -> LossSum:
    """Nats, tokens and bytes of the last answers of a chat file, their ends not counted; too long ones left out."""
    limit = model.shape.seq_len + 1
    rows: list[tuple[Rendered, Chat]] = []
    for chat in read_chats(path):
        question = render([*chat.question], tokenizer).ids
        whole = render([*chat.question, chat.messages[len(chat.question)]], tokenizer, ended=False)
        if len(whole.ids) <= limit:
            first = len(question)
            rows.append((Rendered(whole.ids, [m and i >= first for i, m in enumerate(whole.mask)]), chat))
    rows.sort(key=lambda row: len(row[0].ids))
    total = LossSum()
    for start in range(0, len(rows), 32):
        part = rows[start : start + 32]
        batch = pad([rendered for rendered, _ in part])
        with few_threads(model.shape.params):
            nats = float(token_nats(model, batch).double().sum())
        total += LossSum(
            nats=nats,
            tokens=batch.n_counted,
            bytes=sum(answer_bytes(chat.answer) for _, chat in part),
        )
    return total
