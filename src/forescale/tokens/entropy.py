"""How well tables of one and of two tokens already predict the validation split: what a model must beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ids = npt.NDArray[np.unsignedinteger]

DENSE_VOCABULARY = 4096
"""Up to here the table of pairs is a plain matrix."""
SPARSE_TOKENS = 1 << 25
"""Above it, the pairs of at most this many training tokens are sorted (the first ones of evenly spread slices)."""
SLICE = 1 << 22


@dataclass(frozen=True)
class Entropies:
    """Nats per validation token (the first one left out) under training tables."""

    unigram: float
    bigram: float


def entropies(train: Ids, validation: Ids, vocab_size: int) -> Entropies:
    """Cross-entropies of `validation` under tables counted on `train`, smoothed so that nothing is impossible.

    The unigram table is interpolated with the uniform one, the bigram table with the unigram one, both after
    Witten and Bell (1991): the share left to the lower order is the number of different followers seen, over that
    and the count. It has no knob to tune.
    """
    counts = _unigram_counts(train, vocab_size)
    kinds, total = np.count_nonzero(counts), counts.sum()
    unigram = (counts + kinds / vocab_size) / max(total + kinds, 1.0) if total else np.full(vocab_size, 1 / vocab_size)
    before, after = validation[:-1].astype(np.int64), validation[1:].astype(np.int64)
    if len(after) == 0:
        return Entropies(math.nan, math.nan)
    if vocab_size <= DENSE_VOCABULARY:
        pair, row, followers = _dense_pairs(train, before, after, vocab_size)
    else:
        pair, row, followers = _sparse_pairs(train, before, after, vocab_size)
    lower = unigram[after]
    weight = row + followers
    bigram = np.where(weight > 0, (pair + followers * lower) / np.maximum(weight, 1), lower)
    return Entropies(float(-np.log(lower).mean()), float(-np.log(bigram).mean()))


def _unigram_counts(ids: Ids, vocab_size: int) -> FloatArray:
    counts = np.zeros(vocab_size, dtype=np.float64)
    for start in range(0, len(ids), SLICE):
        counts += np.bincount(ids[start : start + SLICE], minlength=vocab_size)
    return counts


def _dense_pairs(
    train: Ids, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], vocab_size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """For each validation pair: its count, its first token's count, how many followers that one has."""
    table = np.zeros(vocab_size * vocab_size, dtype=np.int64)
    for start in range(0, len(train) - 1, SLICE):
        piece = train[start : start + SLICE + 1].astype(np.int64)
        table += np.bincount(piece[:-1] * vocab_size + piece[1:], minlength=len(table))
    square = table.reshape(vocab_size, vocab_size)
    rows, followers = square.sum(1).astype(np.float64), np.count_nonzero(square, axis=1).astype(np.float64)
    return square[before, after].astype(np.float64), rows[before], followers[before]


def _sparse_pairs(
    train: Ids, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], vocab_size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same from a sorted list of the pairs seen."""
    n_slices = max(1, math.ceil(len(train) / SLICE))
    length = min(SLICE, SPARSE_TOKENS // n_slices)
    keys = []
    for number in range(n_slices):
        start = number * len(train) // n_slices
        piece = train[start : start + length + 1].astype(np.int64)
        keys.append(piece[:-1] * vocab_size + piece[1:])
    seen, count = np.unique(np.concatenate(keys), return_counts=True)
    first = seen // vocab_size
    rows = np.bincount(first, weights=count, minlength=vocab_size).astype(np.float64)
    followers = np.bincount(first, minlength=vocab_size).astype(np.float64)
    wanted = before * vocab_size + after
    place = np.minimum(np.searchsorted(seen, wanted), max(len(seen) - 1, 0))
    found = np.where(seen[place] == wanted, count[place], 0).astype(np.float64) if len(seen) else np.zeros(len(wanted))
    return found, rows[before], followers[before]
