"""The validation split: whole sources and whole near-duplicate groups, and what it still shares with training.

Never by position and never by single document: a validation text whose near copy was trained on measures memory
(a public team missed its forecast by 18.6% that way).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from forescale.base.errors import InputError
from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure
from forescale.base.records.corpus import ContactRate
from forescale.corpus import kernels, near
from forescale.corpus.parts import I64, Work, part_file

LOOSE = 0.5
"""Similarity from which two documents may not stand on both sides of the split (our choice)."""
CONTACT_NGRAM = 13
"""Words an n-gram of the contact rate, as in GPT-3's contamination study."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Which documents are held out, and which of those are too near to training and go."""

    validation: Mask
    too_near: Mask
    nearest: I64
    """The training document that a too-near one resembles."""
    similarity: npt.NDArray[np.float64]
    by: str
    warnings: tuple[str, ...] = ()


def _order(names: list[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def choose_sources(sizes: Mapping[str, int], share: float, seed: int) -> list[str]:
    """Sources in an order drawn by the seed until the share of bytes is reached; empty: none is small enough.

    First none of more than 15% of the aim is taken, then none of more than half of it: many speak for the whole, and
    one odd package that made up a third of the validation text doubled the spread between seeds. None of
    under a fiftieth at first (a licence is no sample of a corpus); at most a third of all bytes is ever held out.
    """
    total = sum(sizes.values())
    aim = share * total
    bounds = (
        (0.02 * aim, 0.15 * aim, 0.8 * aim),
        (0.02 * aim, 0.5 * aim, 0.5 * aim),
        (1, 1.5 * aim, 0.5 * aim),
        (1, 0.34 * total, 1.0),
    )
    for floor, cap, least in bounds:
        chosen, held = [], 0
        for name in _order([name for name, size in sizes.items() if floor <= size <= cap], seed):
            if held < aim and held + sizes[name] <= max(1.25 * aim, cap):
                chosen.append(name)
                held += sizes[name]
        if held >= least and len(chosen) < len(sizes):
            return sorted(chosen)
    return []


def split(work: Work, alive: Mask, share: float, seed: int, dedup: bool, executor: Executor) -> Split:
    """Hold out whole sources; where none is small enough, whole groups of documents alike at LOOSE (with dedup)."""
    source, names = work.codes["source"], work.names["source"]
    sizes = np.bincount(source[alive], weights=work.bytes[alive], minlength=len(names))
    present = {name: int(size) for name, size in zip(names, sizes, strict=True) if size > 0}
    chosen = choose_sources(present, share, seed)
    if not chosen and not dedup:
        if len(present) < 2:
            raise InputError(
                "one source cannot be split into training and validation",
                why="with dedup = false the split is by source alone (the first folder below the input, or the file)",
                remedy="add a second folder or file, or set corpus.dedup = true",
                key="corpus.dedup",
            )
        chosen = [min(present, key=lambda name: (present[name], name))]
    if not chosen:
        return _by_groups(work, alive, share, seed, executor)
    held = alive & np.isin(source, [names.index(name) for name in chosen])
    warnings = []
    part = float(work.bytes[held].sum()) / max(float(work.bytes[alive].sum()), 1.0)
    if not 0.5 * share <= part <= 2 * share:
        warnings.append(f"validation holds {part:.1%} of the bytes, not {share:.1%}: sources are never cut")
    if not dedup:
        none = np.zeros(len(work), dtype=bool)
        return Split(held, none, np.arange(len(work)), np.zeros(len(work)), "sources", tuple(warnings))
    return _clean_border(work, alive, held, tuple(warnings), executor)


def _clean_border(work: Work, alive: Mask, held: Mask, warnings: tuple[str, ...], executor: Executor) -> Split:
    """Take out of validation what resembles a training document."""
    pairs = near.border_candidates(work, held, alive & ~held)
    similar = near.verify(work, pairs, "border", LOOSE - near.SLACK, executor)
    too_near = np.zeros(len(work), dtype=bool)
    nearest, similarity = np.arange(len(work)), np.zeros(len(work))
    for i in np.argsort(similar, kind="stable"):  # the most alike is written last
        if similar[i] >= LOOSE:
            document = pairs[i, 0]
            too_near[document], nearest[document], similarity[document] = True, pairs[i, 1], similar[i]
    if not (held & ~too_near).any():
        raise InputError(
            "nothing is left to validate on",
            why="every document of the held-out sources resembles a training document",
            remedy="add sources that are not copies of each other, or a larger corpus.validation_share",
            key="corpus.validation_share",
        )
    return Split(held, too_near, nearest, similarity, "sources", warnings)


def _by_groups(work: Work, alive: Mask, share: float, seed: int, executor: Executor) -> Split:
    """Groups in an order drawn by the seed until the share of bytes is reached; a group is never cut."""
    pairs = near.candidates(work, alive, kernels.LOOSE_BANDS)
    similar = near.verify(work, pairs, "loose", LOOSE - near.SLACK, executor)
    group = near.groups(len(work), pairs[similar >= LOOSE])
    documents = np.flatnonzero(alive)
    sizes = np.bincount(group[documents], weights=work.bytes[documents])
    firsts: dict[int, int] = {}
    for document in documents:
        firsts.setdefault(int(group[document]), int(document))
    by_name = {work.digests[first].tobytes().hex(): number for number, first in firsts.items()}
    chosen = choose_sources({name: int(sizes[number]) for name, number in by_name.items()}, share, seed)
    if not chosen:
        raise InputError(
            "the corpus cannot be split into training and validation",
            why=f"its {documents.size} documents are {len(firsts)} near-duplicate group(s), too large to hold out",
            remedy="add text; documents of one near-duplicate group never stand on both sides",
        )
    held = np.zeros(len(work), dtype=bool)
    held[documents] = np.isin(group[documents], [by_name[name] for name in chosen])
    none = np.zeros(len(work), dtype=bool)
    warning = "validation holds groups of documents, not whole sources: no source is small enough to be held out"
    return Split(held, none, np.arange(len(work)), np.zeros(len(work)), "groups", (warning,))


@dataclass(frozen=True)
class ContactPart:
    """One part's documents that are trained on, to be compared with the validation split's n-grams."""

    work: Path
    index: int
    rows: tuple[int, ...]


def _grams_of_rows(work: Path, index: int, rows: tuple[int, ...]) -> list[kernels.U64]:
    table = pq.read_table(part_file(work, "docs", index, "parquet"), columns=["text"])["text"]
    classes = kernels.classes()
    found = []
    for row in rows:
        words = kernels.word_hashes(kernels.codes_of(table[row].as_py()), classes)
        found.append(kernels.ngram_hashes(words, CONTACT_NGRAM))
    return found


def contact_part(part: ContactPart) -> int:
    """Mark which validation n-grams occur in this part."""
    wanted = np.load(part.work / "contact.npy")
    seen = np.zeros(wanted.size, dtype=bool)
    for grams in _grams_of_rows(part.work, part.index, part.rows):
        places = np.minimum(np.searchsorted(wanted, grams), wanted.size - 1)
        seen[places[wanted[places] == grams]] = True
    target = part_file(part.work, "contact", part.index, "npy")
    try:
        np.save(target.with_name("." + target.name), np.packbits(seen))
        target.with_name("." + target.name).replace(target)
    except OSError as error:
        raise disk_failure(error, target) from error
    return part.index


def contact(work: Work, train: Mask, validation: Mask, executor: Executor) -> ContactRate:
    """Share of the validation split's distinct n-grams that occur in training."""

    def rows(mask: Mask, index: int) -> tuple[int, ...]:
        return tuple(int(row) for row in np.flatnonzero(mask[work.starts[index] : work.starts[index + 1]]))

    asked = [g for i in range(work.n_parts) if (r := rows(validation, i)) for g in _grams_of_rows(work.folder, i, r)]
    wanted = np.unique(np.concatenate([np.empty(0, np.uint64), *asked]))
    if not wanted.size:
        return ContactRate(n=CONTACT_NGRAM, ngrams=0, rate=0.0, documents_touched=0)
    np.save(work.folder / "contact.npy", wanted)
    parts = [ContactPart(work.folder, i, r) for i in range(work.n_parts) if (r := rows(train, i))]
    seen = np.zeros(wanted.size, dtype=bool)
    for index in results(executor.map(contact_part, parts, label="contact")):
        packed = np.load(part_file(work.folder, "contact", index, "npy"))
        seen |= np.unpackbits(packed, count=wanted.size).astype(bool)
    touched = sum(bool(seen[np.searchsorted(wanted, grams)].any()) for grams in asked if grams.size)
    return ContactRate(
        n=CONTACT_NGRAM, ngrams=int(wanted.size), rate=float(seen.mean()), documents_touched=int(touched)
    )
