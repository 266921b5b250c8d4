"""Batched generation and scoring. Shapes: B rows, T positions, V vocabulary.

Rows of a batch stand at different lengths: prompts are padded on the right, each row writes its keys and values at
its own position, and nothing behind a row's position is seen. A row's random numbers come from its own seed, so its
answer is the same whichever rows it is batched with (up to the rounding of matrix products of another size).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from forescale.base.errors import InputError
from forescale.engine.sampling import choose, row_seeds, uniforms
from forescale.model import weights
from forescale.model.objective import Batch, token_nats
from forescale.model.threads import few_threads
from forescale.model.transformer import KVCache, Transformer
from forescale.tokens.tokenizer import Tokenizer

Ids = Sequence[int]
Floats = npt.NDArray[np.float64]
SCORE_TOKENS = 8192
"""Positions of one scoring pass (our choice: it fits a processor's cache at small widths)."""


class Completion(NamedTuple):
    """The ids that follow a prompt, without the stop id; whether a stop id ended it or room ran out."""

    ids: list[int]
    finished: bool


class Engine:
    """A model with its tokenizer, ready to generate and to score."""

    def __init__(self, model: Transformer | Path | str, tokenizer: Tokenizer | None = None) -> None:
        if isinstance(model, Transformer):
            if tokenizer is None:
                raise TypeError("an Engine made from a model needs a tokenizer")
            self.model, self.tokenizer = model, tokenizer
        else:
            self.model = weights.load(Path(model))
            self.tokenizer = tokenizer or Tokenizer.open(Path(model))
        self.model.eval()
        self.limit = self.model.shape.seq_len
        """Positions the model was trained on: no row goes beyond."""

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Ids],
        *,
        max_new: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        stop_ids: Sequence[int] | None = None,
        batch: int = 32,
    ) -> list[Completion]:
        """A completion for each prompt, in order.

        `seeds` gives each row its seed; without it they are made from `seed` and the prompt. `stop_ids` defaults to
        the tokenizer's end. A row also ends where the model's positions end.
        """
        own = row_seeds(prompts, seed) if seeds is None else list(seeds)
        stops = torch.tensor([self.tokenizer.eos_id] if stop_ids is None else list(stop_ids), dtype=torch.int64)
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))  # equal lengths together: little padding
        found: dict[int, Completion] = {}
        with few_threads(self.model.shape.params):
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                part = _Rows(self, [prompts[i] for i in rows], [own[i] for i in rows], max_new)
                found |= dict(zip(rows, part.run(stops, temperature, top_p), strict=True))
        return [found[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def stream(
        self,
        prompt: Ids,
        *,
        max_new: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop_ids: Sequence[int] | None = None,
    ) -> Iterator[int]:
        """The ids of one completion as they come; the same ones that `generate` gives for this prompt and seed."""
        stops = set([self.tokenizer.eos_id] if stop_ids is None else stop_ids)
        rows = _Rows(self, [prompt], row_seeds([prompt], seed), max_new)
        for _ in range(rows.steps):
            token = int(rows.advance(temperature, top_p))
            if token in stops:
                return
            yield token

    @torch.inference_mode()
    def token_nats(self, sequences: Sequence[Ids]) -> list[Floats]:
        """For each sequence, the nats of every id but the first, given those before it."""
        found: dict[int, Floats] = {}
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(sequences[order[stop]]) <= SCORE_TOKENS:
                stop += 1
            rows = order[start:stop]
            ids_BT = _pad([sequences[i] for i in rows])
            with few_threads(self.model.shape.params):
                nats_BT = token_nats(self.model, Batch(ids_BT[:, :-1], ids_BT[:, 1:])).double().numpy()
            found |= {i: nats_BT[row, : len(sequences[i]) - 1] for row, i in enumerate(rows)}
            start = stop
        return [found[i] for i in range(len(sequences))]

    def score(self, sequences: Sequence[Ids], masks: Sequence[Sequence[bool]]) -> list[float]:
        """Log-likelihood in nats of the masked ids of each sequence (`masks[i][j]`: does id j count)."""
        return [
            -float(nats[np.asarray(mask[1:], dtype=bool)].sum())
            for nats, mask in zip(self.token_nats(sequences), masks, strict=True)
        ]


class _Rows:
    """Rows that are generated together."""

    def __init__(self, engine: Engine, prompts: Sequence[Ids], seeds: Sequence[int], max_new: int) -> None:
        self.model = engine.model
        lengths = [len(prompt) for prompt in prompts]
        if min(lengths) < 1 or max(lengths) >= engine.limit:
            raise InputError(
                f"a prompt of {max(lengths)} ids" if min(lengths) else "an empty prompt",
                why=f"the model was trained on {engine.limit} positions, and an answer needs at least one",
                remedy="shorten the prompt" if min(lengths) else "begin with the tokenizer's bos",
            )
        self.n = len(prompts)
        self.room = [min(max_new, engine.limit - length) for length in lengths]
        self.steps = max(self.room)
        self.uniforms = torch.from_numpy(np.stack([uniforms(seed, max(self.steps, 1)) for seed in seeds]))
        self.cache = KVCache(self.model.shape, self.n, min(engine.limit, max(lengths) + self.steps))
        hidden_BTD = self.model(_pad(prompts), cache=self.cache)
        self.cache.lengths = torch.tensor(lengths)  # what lies behind a row's own prompt is padding
        self.logits = self.model.logits(hidden_BTD[torch.arange(self.n), self.cache.lengths - 1])
        self.alive = torch.arange(self.n)
        self.last = torch.zeros(self.n, dtype=torch.int64)
        """The id chosen last in every live row."""
        self.step = 0

    def advance(self, temperature: float, top_p: float) -> torch.Tensor:
        """Next id of every live row; the one after it is prepared lazily, when it is asked for."""
        if self.step:
            self.logits = self.model.logits(self.model(self.last[:, None], cache=self.cache)[:, -1])
        u_B = self.uniforms[self.alive, self.step]
        self.last = choose(self.logits, u_B, temperature=temperature, top_p=top_p)
        self.step += 1
        return self.last

    def run(self, stops: torch.Tensor, temperature: float, top_p: float) -> list[Completion]:
        """Generate until every row has met a stop id or its room; ended rows leave the batch."""
        ids: list[list[int]] = [[] for _ in range(self.n)]
        finished = [False] * self.n
        room = torch.tensor(self.room)
        self._leave(room[self.alive] > 0)
        while len(self.alive):
            next_B = self.advance(temperature, top_p)
            stopped_B = torch.isin(next_B, stops)
            for row, token, stopped in zip(self.alive.tolist(), next_B.tolist(), stopped_B.tolist(), strict=True):
                if stopped:
                    finished[row] = True
                else:
                    ids[row].append(token)
            self._leave(~stopped_B & (room[self.alive] > self.step))
        return [Completion(row, end) for row, end in zip(ids, finished, strict=True)]

    def _leave(self, stay_B: torch.Tensor) -> None:
        """Drop rows that have ended; the others' keys and values move together."""
        if bool(stay_B.all()):
            return
        kept = stay_B.nonzero().flatten()
        self.alive = self.alive[kept]
        self.cache.keep(kept)
        self.logits, self.last = self.logits[kept], self.last[kept]


def _pad(sequences: Sequence[Ids]) -> torch.Tensor:
    """[B, T] int64, zeros on the right."""
    ids_BT = torch.zeros(len(sequences), max(len(s) for s in sequences), dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids_BT[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return ids_BT
