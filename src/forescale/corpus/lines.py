"""Lines that many documents share: navigation, notices, licences. Only the first document that has one keeps it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure
from forescale.corpus.kernels import U64
from forescale.corpus.parts import I64, Work, part_file
from forescale.corpus.write import REMOVED_SCHEMA

SHORTEST = 20
"""Shorter lines (headings, braces, table borders) are everybody's and stay (our choice)."""


@dataclass(frozen=True)
class Dropped:
    """What the line level took out."""

    lines: int
    bytes: int
    documents: int
    """Documents of which nothing was left; their bytes are among `bytes`."""


@dataclass(frozen=True)
class LinePart:
    """One part's kept documents and their ranks."""

    work: Path
    index: int
    out: Path
    ranks: I64

    @property
    def kept(self) -> Path:
        """Its documents."""
        return self.out / "kept" / f"part-{self.index:05d}.parquet"


def _hash(line: str) -> int:
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "little")


def hash_part(part: LinePart) -> int:
    """Write the distinct lines of each document: hash and rank of the document."""
    hashes: list[int] = []
    ranks: list[int] = []
    for text, rank in zip(_texts(part.kept), part.ranks, strict=True):
        found = {_hash(line) for raw in text.splitlines() if len(line := raw.strip()) >= SHORTEST}
        hashes += sorted(found)
        ranks += [int(rank)] * len(found)
    target = part_file(part.work, "lines", part.index, "npz")
    np.savez(target, hashes=np.array(hashes, dtype=np.uint64), ranks=np.array(ranks, dtype=np.int64))
    return part.index


def _texts(path: Path) -> list[str]:
    texts: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return texts


def _owners(work: Path, parts: list[LinePart]) -> tuple[U64, I64]:
    """Lines that several documents have, sorted, and the rank of the first of these."""
    loaded = [np.load(part_file(work, "lines", part.index, "npz")) for part in parts]
    hashes = np.concatenate([np.empty(0, np.uint64), *(each["hashes"] for each in loaded)])
    ranks = np.concatenate([np.empty(0, np.int64), *(each["ranks"] for each in loaded)])
    order = np.lexsort((ranks, hashes))
    hashes, ranks = hashes[order], ranks[order]
    lines, starts, counts = np.unique(hashes, return_index=True, return_counts=True)
    return lines[counts > 1], ranks[starts[counts > 1]]


def drop_part(part: LinePart) -> Dropped:
    """Rewrite the part's documents without the lines that an earlier document has."""
    with np.load(part.work / "owners.npz") as stored:
        owner = dict(zip(stored["lines"].tolist(), stored["ranks"].tolist(), strict=True))
    table = pq.read_table(part.kept)
    texts: list[str] = []
    n_lines = n_bytes = 0
    for text, rank in zip(table["text"].to_pylist(), part.ranks, strict=True):
        stays = []
        for raw in text.splitlines(keepends=True):
            line = raw.strip()
            if len(line) >= SHORTEST and owner.get(_hash(line), rank) < rank:
                n_lines += 1
                n_bytes += len(raw.encode())
            else:
                stays.append(raw)
        texts.append(text if len(stays) == len(text.splitlines()) else "".join(stays))
    whole = [bool(text.strip()) for text in texts]
    emptied = [row for row, full in zip(table.to_pylist(), whole, strict=True) if not full]
    try:
        _write(table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts)).filter(whole), part.kept)
        if emptied:
            reason = {"reason": "repeated lines", "kept_id": None, "similarity": None, "source": None, "path": None}
            rows = [{**reason, "id": row["id"], "text": row["text"]} for row in emptied]
            target = part.out / "removed" / f"lines-{part.index:05d}.parquet"
            target.parent.mkdir(exist_ok=True)
            _write(pa.Table.from_pylist(rows, schema=REMOVED_SCHEMA), target)
    except OSError as error:
        raise disk_failure(error, part.kept) from error
    return Dropped(n_lines, n_bytes, len(emptied))


def _write(table: pa.Table, path: Path) -> None:
    aside = path.with_name("." + path.name)
    pq.write_table(table, aside, compression="zstd")
    aside.replace(path)


def drop_repeated(work: Work, out: Path, stays: I64, rank: I64, executor: Executor) -> Dropped:
    """Take repeated lines out of `out/kept/`; `stays` are the kept documents, `rank` is every document's."""
    parts = []
    for index in range(work.n_parts):
        here = stays[(stays >= work.starts[index]) & (stays < work.starts[index + 1])]
        if here.size:
            parts.append(LinePart(work.folder, index, out, rank[here]))
    results(executor.map(hash_part, parts, label="lines"))
    lines, ranks = _owners(work.folder, parts)
    np.savez(work.folder / "owners.npz", lines=lines, ranks=ranks)
    dropped = results(executor.map(drop_part, parts, label="lines"))
    return Dropped(sum(d.lines for d in dropped), sum(d.bytes for d in dropped), sum(d.documents for d in dropped))
