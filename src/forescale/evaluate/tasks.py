"""The tasks: each takes the questions put to one model and gives a score and one line an item."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from forescale.align.chat import TEMPLATE, answer_bytes, answer_ids, prompt_ids
from forescale.align.data import Chat, read_chats
from forescale.base.errors import ConfigError, InputError
from forescale.base.records.evaluation import TaskScore
from forescale.engine.engine import Completion, Engine
from forescale.evaluate.intervals import ratio_bootstrap, wilson
from forescale.evaluate.repetition import repeats
from forescale.tokens.stream import TokenStream

FEW_DOCUMENTS = 10
"""With fewer documents the bootstrap draws windows instead (our choice)."""


class Scored(NamedTuple):
    """A task's score and its items, one JSON object a line."""

    score: TaskScore
    items: list[dict[str, Any]]


class Question(NamedTuple):
    """A held-out conversation as it is put to the model."""

    chat: Chat
    ids: list[int]


@dataclass
class Exam:
    """A model and what it is asked; what several tasks share is made once."""

    engine: Engine
    tokens_dir: Path | None
    heldout: Path | None
    seed: int
    limit: int
    """At most so many held-out questions, spread evenly over the file."""
    validation_tokens: int
    max_new: int

    @cached_property
    def _asked(self) -> tuple[list[Question], int]:
        if self.heldout is None:
            raise ConfigError(
                "this task asks held-out questions, and none were given",
                remedy="give a JSONL of conversations that tuning never saw",
                key="heldout",
            )
        asked = [Question(c, prompt_ids(c.question, self.engine.tokenizer)) for c in read_chats(self.heldout)]
        fitting = [q for q in asked if len(q.ids) < self.engine.limit]
        if not fitting:
            raise InputError(
                f"no question of {self.heldout} fits the model's {self.engine.limit} positions",
                remedy="give shorter questions",
                file=self.heldout,
            )
        n = min(self.limit, len(fitting))
        return [fitting[i * len(fitting) // n] for i in range(n)], len(asked) - len(fitting)

    @property
    def questions(self) -> list[Question]:
        """The questions that fit the model."""
        return self._asked[0]

    @property
    def left_out(self) -> int:
        """Questions that do not fit."""
        return self._asked[1]

    @cached_property
    def completions(self) -> list[Completion]:
        """The model's answers at temperature 0 (paper 6.2, 7.1)."""
        return self.engine.generate([q.ids for q in self.questions], max_new=self.max_new, batch=64)

    @cached_property
    def prompt_sha256(self) -> str:
        """Hash of all prompts as the model sees them."""
        return sha256_of([q.ids for q in self.questions])


def sha256_of(prompts: Sequence[Sequence[int]]) -> str:
    """Hash of a list of id lists."""
    return hashlib.sha256(json.dumps([list(p) for p in prompts]).encode()).hexdigest()


def bits_per_byte(exam: Exam) -> Scored:
    """Bits per byte on the validation split, on the same windows as a run's own score; interval over documents."""
    if exam.tokens_dir is None:
        raise ConfigError(
            "bits_per_byte needs the tokens of a validation split",
            remedy="run it in a workspace with tokens/, or give the folder",
            key="tokens_dir",
        )
    stream = TokenStream(exam.tokens_dir, "validation")
    seq_len = exam.engine.limit
    ids_WT, targets_WT = stream.validation_windows(exam.validation_tokens, seq_len)
    windows = np.concatenate([ids_WT, targets_WT[:, -1:]], axis=1)
    nats_WT = np.stack(exam.engine.token_nats(windows.tolist()))
    bytes_WT = stream.token_bytes[targets_WT].astype(np.float64)
    document_WT = _documents(exam.tokens_dir, len(windows), stream.n_windows(seq_len), seq_len)
    names, place = np.unique(document_WT, return_inverse=True)
    if len(names) < FEW_DOCUMENTS:
        names, place = np.arange(len(windows)), np.repeat(np.arange(len(windows)), seq_len)
    nats = np.bincount(place.ravel(), nats_WT.ravel()).astype(np.float64)
    sizes = np.bincount(place.ravel(), bytes_WT.ravel()).astype(np.float64)
    low, high = ratio_bootstrap(nats, sizes * math.log(2), seed=exam.seed)
    score = TaskScore(
        metric="bits_per_byte",
        score=float(nats.sum() / (math.log(2) * sizes.sum())),
        interval=(low, high),
        n=len(names),
        protocol="language-modelling",
        normalisation="bytes",
        seed=exam.seed,
        prompt_sha256=sha256_of(windows.tolist()),
    )
    kind = "document" if len(np.unique(document_WT)) >= FEW_DOCUMENTS else "window"
    items = [
        {"task": "bits_per_byte", "id": f"{kind}-{name}", "nats": float(n), "bytes": int(b), "correct": None}
        for name, n, b in zip(names.tolist(), nats, sizes, strict=True)
    ]
    return Scored(score, items)


def _documents(tokens_dir: Path, wanted: int, available: int, seq_len: int) -> npt.NDArray[np.int64]:
    """Number of the document that each target of the stream's validation windows belongs to, [W, T]."""
    ends = np.load(tokens_dir / "validation.ends.npy")
    starts = np.arange(wanted, dtype=np.int64) * available // wanted * seq_len
    positions_WT = starts[:, None] + np.arange(1, seq_len + 1)
    return np.searchsorted(ends, positions_WT, side="right").astype(np.int64)


def answers(exam: Exam) -> Scored:
    """Bits per byte of held-out reference answers given their questions; the end of an answer is scored apart."""
    tokenizer, limit = exam.engine.tokenizer, exam.engine.limit + 1
    rows = [(q, answer_ids(q.chat.answer, tokenizer)) for q in exam.questions]
    rows = [(q, ids) for q, ids in rows if len(q.ids) + len(ids) <= limit]
    if not rows:
        raise InputError(
            "no held-out answer fits the model's positions behind its question",
            remedy="give shorter conversations",
            file=exam.heldout,
        )
    items: list[dict[str, Any]] = []
    all_nats = exam.engine.token_nats([q.ids + ids for q, ids in rows])
    for question, nats in zip([q for q, _ in rows], all_nats, strict=True):
        own = nats[len(question.ids) - 1 :]
        items.append(
            {
                "task": "answers",
                "id": hashlib.sha256(json.dumps(question.ids).encode()).hexdigest()[:12],
                "prompt": question.chat.question[-1].content,
                "answer": question.chat.answer,
                "log_probability": -float(own[:-1].sum()),
                "log_probability_of_end": -float(own[-1]),
                "bytes": answer_bytes(question.chat.answer),
                "correct": None,
                "reason": "",
            }
        )
    nats_N = np.array([-item["log_probability"] for item in items])
    bytes_N = np.array([float(item["bytes"]) for item in items]) * math.log(2)
    score = TaskScore(
        metric="bits_per_byte",
        score=float(nats_N.sum() / bytes_N.sum()),
        interval=ratio_bootstrap(nats_N, bytes_N, seed=exam.seed),
        n=len(items),
        protocol="language-modelling",
        normalisation="bytes",
        seed=exam.seed,
        prompt_sha256=exam.prompt_sha256,
        template=TEMPLATE,
    )
    return Scored(score, items)


def repetition(exam: Exam) -> Scored:
    """Share of answers at temperature 0 that never end and repeat themselves (paper 6.2)."""
    return _share(exam, "repetition", "repetition_ratio", _loops)


def ends(exam: Exam) -> Scored:
    """Share of answers at temperature 0 that end by themselves."""
    return _share(exam, "ends", "ended_share", _ended)


def _loops(text: str, finished: bool) -> tuple[bool, str]:
    looping = not finished and repeats(text)
    return looping, "ended" if finished else "repeats to the last position" if looping else "cut off, not repeating"


def _ended(text: str, finished: bool) -> tuple[bool, str]:
    return finished, "ended" if finished else "cut off at the last position"


def _share(exam: Exam, task: str, metric: str, judge: Callable[[str, bool], tuple[bool, str]]) -> Scored:
    items, hits = [], 0
    for question, completion in zip(exam.questions, exam.completions, strict=True):
        text = exam.engine.tokenizer.decode(completion.ids).removeprefix(" ")
        hit, reason = judge(text, completion.finished)
        hits += hit
        items.append(
            {
                "task": task,
                "id": hashlib.sha256(json.dumps(question.ids).encode()).hexdigest()[:12],
                "prompt": question.chat.question[-1].content,
                "answer": text,
                "tokens": len(completion.ids),
                "correct": hit if task == "ends" else not hit,
                "reason": reason,
            }
        )
    score = TaskScore(
        metric=metric,
        score=hits / len(items),
        interval=wilson(hits, len(items)),
        n=len(items),
        protocol="generation",
        seed=exam.seed,
        prompt_sha256=exam.prompt_sha256,
        template=TEMPLATE,
    )
    return Scored(score, items)


TASKS = {"bits_per_byte": bits_per_byte, "answers": answers, "repetition": repetition, "ends": ends}
"""Every task by its name."""
