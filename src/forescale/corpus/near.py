"""Near duplicates: candidate pairs by MinHash bands, verified exactly, joined to groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from forescale.base.executor import Executor, InlineExecutor, results
from forescale.base.files import disk_failure
from forescale.corpus import kernels
from forescale.corpus.parts import I64, Work, part_file

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
NEIGHBOURS = 32
"""In a bucket of more documents than this, each is compared with the next 32 and the first: groups are joined through
their members, so that nothing is lost and a bucket of n costs n, not n squared."""
CHUNK = 100_000
"""Pairs a part of the verification; fewer are not worth another process."""
SLACK = 0.15
"""A pair goes to the exact check when its signature's estimate is at least threshold - SLACK: 4 standard errors."""


def _keys(work: Work, n_bands: int, n_rows: int) -> Iterator[kernels.U64]:
    """The band keys of all documents, one band after another: memory holds one band."""
    for band in range(n_bands):
        rows = slice(band * n_rows, (band + 1) * n_rows)
        yield np.concatenate([kernels.band_keys(np.asarray(part[rows])) for part in work.signatures])


def candidates(work: Work, active: Mask, bands: tuple[int, int] = kernels.BANDS) -> I64:
    """Pairs [m, 2] of active documents that share a band, each once, the smaller index first."""
    documents = np.flatnonzero(active & (work.n_grams > 0))
    n = len(work)
    found = np.empty(0, dtype=np.int64)
    for keys in _keys(work, *bands):
        found = np.union1d(found, _bucket_pairs(documents, keys[documents], n))
    return np.stack([found // n, found % n], axis=1) if n else np.empty((0, 2), dtype=np.int64)


def _bucket_pairs(documents: I64, keys: kernels.U64, n: int) -> I64:
    order = np.argsort(keys, kind="stable")
    documents, keys = documents[order], keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.empty(0, np.int64)
    first = np.repeat(starts, np.diff([*starts, keys.size])) if keys.size else starts
    place = np.arange(keys.size)
    pairs = []
    for distance in range(1, min(NEIGHBOURS + 1, keys.size)):
        near = place[distance:][first[distance:] == first[:-distance]]
        if not near.size:
            break
        pairs.append(documents[near - distance] * n + documents[near])
    far = place[place - first > NEIGHBOURS]
    pairs.append(documents[first[far]] * n + documents[far])
    return np.unique(np.concatenate(pairs))


def border_candidates(work: Work, inside: Mask, outside: Mask, bands: tuple[int, int] = kernels.LOOSE_BANDS) -> I64:
    """Pairs [m, 2] of one document inside and one outside that share a band; at most NEIGHBOURS of one band each."""
    n = len(work)
    left = np.flatnonzero(inside & (work.n_grams > 0))
    right = np.flatnonzero(outside & (work.n_grams > 0))
    found = np.empty(0, dtype=np.int64)
    for keys in _keys(work, *bands):
        order = np.argsort(keys[right], kind="stable")
        stored, asked = keys[right][order], keys[left]
        low = np.searchsorted(stored, asked, side="left")
        count = np.minimum(np.searchsorted(stored, asked, side="right") - low, NEIGHBOURS)
        rows = np.repeat(np.arange(left.size), count)
        within = np.arange(rows.size) - np.repeat(np.cumsum(count) - count, count)
        found = np.union1d(found, left[rows] * n + right[order[low[rows] + within]])
    return np.stack([found // n, found % n], axis=1) if n else np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class VerifyPart:
    """Pairs of one worker: where they lie, and the estimate below which the exact check is left out."""

    work: Path
    n_parts: int
    label: str
    index: int
    floor: float


def verify_part(part: VerifyPart) -> int:
    """Exact similarity of each pair of the part (0 where the estimate is below the floor), written beside them."""
    pairs = np.load(part_file(part.work, f"pairs-{part.label}", part.index, "npy"))
    target = part_file(part.work, f"similar-{part.label}", part.index, "npy")
    if target.exists():
        return part.index
    work = Work(part.work, part.n_parts)
    similar = np.zeros(len(pairs), dtype=np.float64)
    if part.floor > 0:
        estimates = _estimates(work, pairs)
    else:
        estimates = np.ones(len(pairs))
    for i in np.flatnonzero(estimates >= part.floor):
        similar[i] = kernels.jaccard(work.grams_of(int(pairs[i, 0])), work.grams_of(int(pairs[i, 1])))
    aside = target.with_name("." + target.name)
    try:
        np.save(aside, similar)
        aside.replace(target)
    except OSError as error:
        raise disk_failure(error, target) from error
    return part.index


def _estimates(work: Work, pairs: I64) -> F64:
    """Share of equal hashes of each pair."""
    documents, rows = np.unique(pairs, return_inverse=True)
    signatures = np.empty((documents.size, kernels.N_HASHES), dtype=np.uint32)
    parts = np.searchsorted(work.starts, documents, side="right") - 1
    for part in np.unique(parts):
        here = parts == part
        signatures[here] = np.asarray(work.signatures[part])[:, documents[here] - work.starts[part]].T
    rows = rows.reshape(pairs.shape)
    equal = np.empty(len(pairs), dtype=np.float64)
    for start in range(0, len(pairs), 10_000):
        block = rows[start : start + 10_000]
        equal[start : start + 10_000] = (signatures[block[:, 0]] == signatures[block[:, 1]]).mean(axis=1)
    return equal


def verify(work: Work, pairs: I64, label: str, floor: float, executor: Executor) -> F64:
    """Exact similarity of each pair, in parts through the executor; a rerun does only what is missing."""
    n_chunks = -(-len(pairs) // CHUNK)
    parts = []
    for index in range(n_chunks):
        path = part_file(work.folder, f"pairs-{label}", index, "npy")
        aside = path.with_name("." + path.name)
        try:
            np.save(aside, pairs[index * CHUNK : (index + 1) * CHUNK])
            aside.replace(path)
        except OSError as error:
            raise disk_failure(error, path) from error
        parts.append(VerifyPart(work.folder, work.n_parts, label, index, floor))
    runner: Executor = executor if n_chunks > 1 else InlineExecutor()
    results(runner.map(verify_part, parts, label="verify"))
    similar = [np.load(part_file(work.folder, f"similar-{label}", index, "npy")) for index in range(n_chunks)]
    return np.concatenate([np.empty(0), *similar])


def groups(n: int, pairs: I64) -> I64:
    """The group of each of n documents: connected components of the pairs."""
    if not len(pairs):
        return np.arange(n)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


@dataclass(frozen=True)
class Duplicates:
    """For each document: the one that is kept for it (itself, if it stays), how alike they are, and the kind."""

    kept: I64
    similarity: F64
    exact: Mask
    """It goes, and equals the one that is kept for it byte for byte."""

    @property
    def removed(self) -> Mask:
        """The documents that go."""
        return self.kept != np.arange(self.kept.size)


def find_duplicates(work: Work, threshold: float, rank: I64, executor: Executor) -> Duplicates:
    """Exact and near duplicates; of a connected group the first by `rank` stays."""
    n = len(work)
    first = _first_of(np.unique(work.digests, axis=0, return_inverse=True)[1].reshape(-1), rank)
    repeated = first != np.arange(n)
    pairs = candidates(work, ~repeated)
    similar = verify(work, pairs, "near", threshold - SLACK, executor)
    near = pairs[similar >= threshold]
    edges = np.concatenate([near, np.stack([first, np.arange(n)], axis=1)[repeated]])
    kept = _first_of(groups(n, edges), rank)
    removed = np.flatnonzero(kept != np.arange(n))
    links = np.stack([kept[removed], removed], axis=1)
    similarity = np.ones(n)
    exact = repeated & (kept == first)
    similarity[removed] = np.where(exact[removed], 1.0, verify(work, links, "kept", 0.0, executor))
    return Duplicates(kept, similarity, exact)


def _first_of(group: I64, rank: I64) -> I64:
    """For each document the member of its group with the smallest rank."""
    if not group.size:
        return group.astype(np.int64)
    order = np.argsort(rank, kind="stable")
    first = np.full(int(group.max()) + 1, -1, dtype=np.int64)
    reverse = order[::-1]
    first[group[reverse]] = reverse  # the last write wins: the smallest rank
    return first[group]
