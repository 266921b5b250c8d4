"""The first stage: files to part files of documents with all that later stages need to know of them.

Part K of a work folder: `docs-K.parquet` (WORK_COLUMNS), `facts-K.npz` (a row a document), `sigs-K.npy`
[N_HASHES, documents], `grams-K.bin` (sorted distinct n-grams, one document after another), and last `part-K.json`,
whose existence means that the part is finished: a rerun reads only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure, write_atomic
from forescale.base.records.corpus import Quarantined
from forescale.corpus import kernels, quality
from forescale.corpus.read import COMPRESSED, InputFile, Row, cut, read_rows

I64 = npt.NDArray[np.int64]
WORK_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "source", "path", "dump", "reason")])
PART_BYTES = 8 * 2**20
"""Input bytes that one part aims at (our choice)."""
NGRAM = 5


@dataclass(frozen=True)
class ReadPart:
    """What one worker reads, and how."""

    index: int
    files: tuple[InputFile, ...]
    work: Path
    signatures: bool
    min_characters: int | None
    """None: no quality rules."""
    cut_long: bool


def plan_parts(files: Sequence[InputFile], work: Path, **how: Any) -> list[ReadPart]:
    """Files in order, grouped to about PART_BYTES."""
    groups: list[list[InputFile]] = [[]]
    filled = 0
    for file in files:
        size = file.path.stat().st_size * (4 if file.path.suffix in COMPRESSED or file.kind == ".parquet" else 1)
        if groups[-1] and filled + size > PART_BYTES:
            groups.append([])
            filled = 0
        groups[-1].append(file)
        filled += size
    return [ReadPart(i, tuple(group), work, **how) for i, group in enumerate(groups)]


class _Writer:
    """Collects a part's documents; text goes to the disk in batches, so that a big file never lies in memory."""

    def __init__(self, part: ReadPart) -> None:
        self.part = part
        self.batch: list[tuple[str, ...]] = []
        self.facts: list[tuple[int, int, int, int, int, int, int]] = []
        self.signatures: list[kernels.U32] = []
        self.names: dict[str, dict[str, int]] = {"source": {}, "dump": {}, "reason": {"": 0}}
        self.docs = pq.ParquetWriter(_aside(part, "docs", "parquet"), WORK_SCHEMA, compression="zstd")
        self.grams = _aside(part, "grams", "bin").open("wb")

    def add(self, row: Row) -> None:
        """Take one document."""
        reason, n_distinct = self._look(row.text)
        encoded = row.text.encode()
        digest = np.frombuffer(hashlib.blake2b(encoded, digest_size=16).digest(), dtype=np.int64)
        codes = (self._code("source", row.source), self._code("dump", row.dump), self._code("reason", reason or ""))
        self.facts.append((int(digest[0]), int(digest[1]), len(encoded), n_distinct, *codes))
        self.batch.append((row.id, row.text, row.source, row.path, row.dump, reason or ""))
        if len(self.batch) >= 512:
            self._flush()

    def _look(self, text: str) -> tuple[str | None, int]:
        """Quality reason and number of distinct n-grams; n-grams and signature are kept on the way."""
        if not self.part.signatures and self.part.min_characters is None:
            return None, 0
        codes, table = kernels.codes_of(text), kernels.classes()
        grams = kernels.ngram_hashes(kernels.word_hashes(codes, table), NGRAM)
        distinct = np.unique(grams)
        reason = None
        if self.part.min_characters is not None:
            counts = kernels.class_counts(codes, table)
            measures = quality.measure(text, counts, grams.size, distinct.size)
            reason = quality.reason(measures, self.part.min_characters)
        if not self.part.signatures:
            return reason, 0
        self.grams.write(distinct.tobytes())
        self.signatures.append(kernels.signature(distinct))
        return reason, distinct.size

    def _code(self, kind: str, name: str) -> int:
        return self.names[kind].setdefault(name, len(self.names[kind]))

    def _flush(self) -> None:
        columns = zip(*self.batch, strict=True) if self.batch else [()] * len(WORK_SCHEMA)
        arrays = [pa.array(column, type=pa.string()) for column in columns]
        self.docs.write_table(pa.table(arrays, schema=WORK_SCHEMA), row_group_size=512)
        self.batch.clear()

    def finish(self, quarantine: list[Quarantined], n_files: int) -> None:
        """Everything under its last name; the JSON file comes last."""
        self._flush()
        self.docs.close()
        self.grams.close()
        facts = np.array(self.facts, dtype=np.int64).reshape(-1, 7)
        np.savez(_aside(self.part, "facts", "npz"), facts=facts)
        rows = np.array(self.signatures, dtype=np.uint32).reshape(-1, kernels.N_HASHES)
        np.save(_aside(self.part, "sigs", "npy"), np.ascontiguousarray(rows.T))
        for stem, ending in (("docs", "parquet"), ("facts", "npz"), ("sigs", "npy"), ("grams", "bin")):
            aside = _aside(self.part, stem, ending)
            aside.replace(part_file(self.part.work, stem, self.part.index, ending))
        report = {
            "files": n_files,
            "names": {kind: list(codes) for kind, codes in self.names.items()},
            "quarantine": [entry.to_json() for entry in quarantine],
        }
        write_atomic(part_file(self.part.work, "part", self.part.index, "json"), json.dumps(report).encode())


def part_file(work: Path, stem: str, index: int, ending: str) -> Path:
    """Where a part's file lies."""
    return work / f"{stem}-{index:05d}.{ending}"


def _aside(part: ReadPart, stem: str, ending: str) -> Path:
    return part.work / f".{stem}-{part.index:05d}.{ending}"  # np.save keeps a name that already has its ending


def read_part(part: ReadPart) -> int:
    """Read one part into the work folder (or find it there); gives its number."""
    if part_file(part.work, "part", part.index, "json").exists():
        return part.index
    try:
        writer = _Writer(part)
        with writer.docs, writer.grams:
            quarantine, n_files = _read_files(part, writer)
            writer.finish(quarantine, n_files)
    except OSError as error:
        raise disk_failure(error, part.work) from error
    return part.index


def _read_files(part: ReadPart, writer: _Writer) -> tuple[list[Quarantined], int]:
    quarantine: list[Quarantined] = []
    n_files = 0
    for file in part.files:
        n_before = len(writer.facts)
        for row in read_rows(file):
            if isinstance(row, Quarantined):
                quarantine.append(row)
                continue
            for piece in cut(row) if part.cut_long else (row,):
                writer.add(piece)
        n_files += len(writer.facts) > n_before
    return quarantine, n_files


class Work:
    """What the first stage wrote, read back: one row a document, in order of files and rows."""

    def __init__(self, folder: Path, n_parts: int) -> None:
        self.folder, self.n_parts = folder, n_parts
        loaded = [self._load(i) for i in range(n_parts)]
        self.reports = [report for report, _ in loaded]
        facts = np.concatenate([facts for _, facts in loaded])
        self.starts: I64 = np.cumsum([0, *(len(f) for _, f in loaded)], dtype=np.int64)
        self.digests, self.bytes, self.n_grams = facts[:, :2], facts[:, 2], facts[:, 3]
        self.names: dict[str, list[str]] = {}
        self.codes: dict[str, I64] = {}
        for column, kind in enumerate(("source", "dump", "reason"), start=4):
            self._unite(kind, [facts[:, column] for _, facts in loaded])

    def _load(self, index: int) -> tuple[dict[str, Any], I64]:
        report = json.loads(part_file(self.folder, "part", index, "json").read_text())
        with np.load(part_file(self.folder, "facts", index, "npz")) as stored:
            return report, stored["facts"]

    def _unite(self, kind: str, columns: list[I64]) -> None:
        """Codes that mean the same name in every part."""
        united: dict[str, int] = {}
        codes = []
        for report, column in zip(self.reports, columns, strict=True):
            table = np.array([united.setdefault(n, len(united)) for n in report["names"][kind]], dtype=np.int64)
            codes.append(table[column] if column.size else column)
        self.names[kind], self.codes[kind] = list(united), np.concatenate(codes)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def signatures(self) -> list[kernels.U32]:
        """[N_HASHES, documents] of each part, mapped from the disk."""
        return [np.load(part_file(self.folder, "sigs", i, "npy"), mmap_mode="r") for i in range(self.n_parts)]

    @cached_property
    def grams(self) -> list[kernels.U64]:
        """All n-grams of each part, mapped from the disk."""
        files = [part_file(self.folder, "grams", i, "bin") for i in range(self.n_parts)]
        return [
            np.memmap(file, dtype=np.uint64, mode="r") if file.stat().st_size else np.empty(0, np.uint64)
            for file in files
        ]

    @cached_property
    def gram_ends(self) -> list[I64]:
        """Where each document's n-grams end in its part, with a zero before."""
        ends = []
        for i in range(self.n_parts):
            counts = self.n_grams[self.starts[i] : self.starts[i + 1]]
            ends.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        return ends

    def locate(self, document: int) -> tuple[int, int]:
        """Part and row of a document."""
        part = int(np.searchsorted(self.starts, document, side="right")) - 1
        return part, document - int(self.starts[part])

    def grams_of(self, document: int) -> kernels.U64:
        """The sorted distinct n-grams of a document."""
        part, row = self.locate(document)
        ends = self.gram_ends[part]
        return self.grams[part][ends[row] : ends[row + 1]]

    def ids(self, documents: I64) -> list[str]:
        """Ids of these documents."""
        found: dict[int, str] = {}
        parts = np.searchsorted(self.starts, documents, side="right") - 1
        for part in np.unique(parts):
            column = pq.read_table(part_file(self.folder, "docs", int(part), "parquet"), columns=["id"])["id"]
            for document in documents[parts == part]:
                found[int(document)] = column[int(document - self.starts[part])].as_py()
        return [found[int(document)] for document in documents]

    def quarantine(self) -> list[Quarantined]:
        """What could not be read, in order."""
        return [Quarantined(**entry) for report in self.reports for entry in report["quarantine"]]


def open_work(folder: Path, key: str) -> None:
    """Make the work folder of this key; what another key left there goes away."""
    marker = folder / "key"
    try:
        if folder.exists() and (not marker.exists() or marker.read_text() != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_failure(error, folder) from error
    write_atomic(marker, key.encode())


def work_key(files: Sequence[InputFile], settings: object) -> str:
    """Names the inputs (by name, size and time of change) and the settings."""
    seen = [(f.name, s.st_size, s.st_mtime_ns) for f in files if (s := f.path.stat())]
    return hashlib.sha256(json.dumps([seen, settings], default=str).encode()).hexdigest()


def read_all(parts: Sequence[ReadPart], work: Path, executor: Executor) -> Work:
    """Read what is missing; then all of it."""
    results(executor.map(read_part, parts, label="read"))
    return Work(work, len(parts))
