"""`forescale dedup`: documents of Parquet or JSONL dumps, near duplicates out, first in (dump, file, row) stays."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forescale.base.errors import ConfigError, InputError
from forescale.base.executor import Executor
from forescale.base.records.corpus import DedupSummary
from forescale.corpus import lines, near
from forescale.corpus.parts import I64, Work, open_work, plan_parts, read_all, work_key
from forescale.corpus.read import ROW_KINDS, find_files
from forescale.corpus.write import Decisions, write_all

FOLDERS = ("kept", "removed")
COLUMNS = ("id", "text", "dump")
LEVELS = ("document", "line")


def dedup(
    inputs: Sequence[Path],
    out: Path,
    *,
    executor: Executor,
    threshold: float = 0.8,
    level: Sequence[str] = ("document",),
    index: Path | None = None,
) -> DedupSummary:
    """Write kept/, removed/ and summary.json under `out`; a finished one is found again, a killed one goes on.

    kept/ has id, text, dump and the inputs' other columns.

    Two documents are near duplicates when the Jaccard similarity of their word 5-grams is at least `threshold`,
    checked exactly; of each connected group the first in (dump, file, row) stays. Level `line` then drops lines of
    kept documents that an earlier kept document already holds.
    """
    levels = _check(threshold, level, index)
    found = find_files(inputs, ROW_KINDS)
    key = work_key(found.files, [threshold, sorted(levels)])
    marker = out / ".dedup"
    if marker.exists() and marker.read_text() == key and (out / "summary.json").exists():
        return DedupSummary.read(out / "summary.json")
    marker.unlink(missing_ok=True)
    folder = out / ".work"
    open_work(folder, key)
    near_duplicates = "document" in levels
    parts = plan_parts(found.files, folder, signatures=near_duplicates, min_characters=None, cut_long=False)
    work = read_all(parts, folder, executor)
    if not len(work):
        flaws = work.quarantine()
        raise InputError(
            "no document could be read",
            why=f"{len(flaws)} rows or files set aside; the first: {flaws[0].reason}"
            if flaws
            else "the files are empty",
            remedy="give Parquet or JSONL with a text column `text`",
            file=flaws[0].file if flaws else inputs[0],
            line=flaws[0].line if flaws else None,
        )
    rank = order(work)
    n = len(work)
    kept, similarity, reason = np.full(n, -1, dtype=np.int64), np.zeros(n), [""] * n
    if near_duplicates:
        duplicates = near.find_duplicates(work, threshold, rank, executor)
        for i in np.flatnonzero(duplicates.removed):
            reason[i] = "exact duplicate" if duplicates.exact[i] else "near duplicate"
        kept[duplicates.removed] = duplicates.kept[duplicates.removed]
        similarity = duplicates.similarity
    gone = kept >= 0
    decisions = Decisions(gone.astype(np.int64), reason, kept, similarity)
    write_all(work, decisions, out, FOLDERS, COLUMNS, executor, [part.files for part in parts])
    cut = lines.drop_repeated(work, out, np.flatnonzero(~gone), rank, executor) if "line" in levels else None
    summary = _summarise(work, gone, reason, cut)
    summary.write(out / "summary.json")
    marker.write_text(key)
    shutil.rmtree(folder)
    return summary


def _check(threshold: float, level: Sequence[str], index: Path | None) -> set[str]:
    if index is not None:
        raise ConfigError(
            "dedup --index is not built yet",
            why="an index would let a later dump be compared without the text of the earlier ones",
            remedy="give the earlier dumps as inputs too: the result is the same",
            key="index",
        )
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"a threshold of {threshold} is no similarity", remedy="give a number in (0, 1]", key="threshold"
        )
    levels = set(level)
    if not levels or not levels <= set(LEVELS):
        raise ConfigError(f"unknown level {', '.join(level)}", remedy="give document, line or both", key="level")
    return levels


def order(work: Work) -> I64:
    """Rank of each document in (dump, file, row): dumps by number where all are numbers, else by name."""
    names = work.names["dump"]
    numeric = all(name.isascii() and name.isdigit() for name in names)
    by_name = sorted(range(len(names)), key=lambda i: (int(names[i]) if numeric else 0, names[i]))
    place = np.empty(len(names), dtype=np.int64)
    place[by_name] = np.arange(len(names))
    rank = np.empty(len(work), dtype=np.int64)
    rank[np.argsort(place[work.codes["dump"]], kind="stable")] = np.arange(len(work))
    return rank


def _summarise(work: Work, gone: near.Mask, reason: Sequence[str], cut: lines.Dropped | None) -> DedupSummary:
    by_level: dict[str, dict[str, int]] = {
        "document": {"exact": reason.count("exact duplicate"), "near": reason.count("near duplicate")}
    }
    if cut is not None:
        by_level["line"] = {"lines": cut.lines, "bytes": cut.bytes, "documents": cut.documents}
    by_dump = {}
    for code, name in enumerate(work.names["dump"]):
        here = work.codes["dump"] == code
        by_dump[name] = {"documents": int(here.sum()), "removed_documents": int((here & gone).sum())}
    quarantine = work.quarantine()
    return DedupSummary(
        documents=len(work),
        bytes=int(work.bytes.sum()),
        removed_documents=int(gone.sum()) + (cut.documents if cut else 0),
        removed_bytes=int(work.bytes[gone].sum()) + (cut.bytes if cut else 0),
        by_level=by_level,
        by_dump=by_dump,
        quarantined=len(quarantine),
        quarantine=quarantine[:1000],
    )
