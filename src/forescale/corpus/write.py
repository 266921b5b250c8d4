"""The last stage: part files of the work folder to the splits and the removed documents, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forescale.base.executor import Executor, results
from forescale.base.files import disk_failure
from forescale.base.records.corpus import REMOVED_COLUMNS
from forescale.corpus.extra import add_columns
from forescale.corpus.parts import Work, part_file
from forescale.corpus.read import InputFile

REMOVED_SCHEMA = pa.schema([(name, pa.float64() if name == "similarity" else pa.string()) for name in REMOVED_COLUMNS])


@dataclass(frozen=True)
class Decisions:
    """What becomes of each document."""

    folder: npt.NDArray[np.int64]
    """Index into the folders; the last is `removed`."""
    reason: Sequence[str]
    kept: npt.NDArray[np.int64]
    """For duplicates the document that is kept, else -1."""
    similarity: npt.NDArray[np.float64]


@dataclass(frozen=True)
class WritePart:
    """One part's documents and where they go."""

    work: Path
    index: int
    out: Path
    folders: tuple[str, ...]
    columns: tuple[str, ...]
    decisions: Mapping[str, Any]
    files: tuple[InputFile, ...] = ()
    """Inputs whose other columns go along; empty: ours only."""


def write_part(part: WritePart) -> int:
    """Write the part's share of every folder; gives its number."""
    table = pq.read_table(part_file(part.work, "docs", part.index, "parquet"))
    chosen = np.asarray(part.decisions["folder"])
    for number, name in enumerate(part.folders):
        rows = np.flatnonzero(chosen == number)
        path = part.out / name / f"part-{part.index:05d}.parquet"
        if not rows.size:
            path.unlink(missing_ok=True)
            continue
        taken = table.take(pa.array(rows))
        if number == len(part.folders) - 1:
            extra = {key: [part.decisions[key][row] for row in rows] for key in ("reason", "kept_id", "similarity")}
            columns = [
                pa.array(extra[field.name], type=field.type) if field.name in extra else taken[field.name]
                for field in REMOVED_SCHEMA
            ]
            taken = pa.table(columns, schema=REMOVED_SCHEMA)
        else:
            paths = taken["path"].to_pylist()
            taken = taken.select(list(part.columns))
            if part.files:
                taken = add_columns(taken, paths, part.files)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name("." + path.name)
            pq.write_table(taken, aside, compression="zstd", row_group_size=4096)
            aside.replace(path)
        except OSError as error:
            raise disk_failure(error, path) from error
    return part.index


def write_all(
    work: Work,
    decisions: Decisions,
    out: Path,
    folders: tuple[str, ...],
    columns: tuple[str, ...],
    executor: Executor,
    files: Sequence[tuple[InputFile, ...]] = (),
) -> None:
    """All folders of `out`; parts of an earlier run that are no longer made go away.

    `files`, the inputs of each part, are given where their other columns go along.
    """
    duplicates = np.flatnonzero(decisions.kept >= 0)
    ids = dict(zip(duplicates.tolist(), work.ids(decisions.kept[duplicates]), strict=True))
    parts = []
    for index in range(work.n_parts):
        rows = range(int(work.starts[index]), int(work.starts[index + 1]))
        similarity = [float(decisions.similarity[i]) if i in ids else None for i in rows]
        parts.append(
            WritePart(
                work.folder,
                index,
                out,
                folders,
                columns,
                {
                    "folder": decisions.folder[rows.start : rows.stop],
                    "reason": [decisions.reason[i] for i in rows],
                    "kept_id": [ids.get(i) for i in rows],
                    "similarity": similarity,
                },
                files[index] if files else (),
            )
        )
    for name in folders:
        for stale in sorted((out / name).glob("*.parquet")):
            if not stale.stem.startswith("part-") or int(stale.stem.rpartition("-")[2]) >= work.n_parts:
                stale.unlink()
    results(executor.map(write_part, parts, label="write"))


def contents(folder: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """All rows of a folder of parts, in order (for corpora that fit into memory)."""
    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]
