"""The whole chain: read, deduplicate, filter, split (paper 1.1), with every removal and its reason kept."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forescale.base.config import CorpusSection
from forescale.base.errors import InputError
from forescale.base.executor import Executor
from forescale.base.records.corpus import ContactRate, CorpusSplit, CorpusSummary, SourceCount
from forescale.base.records.document import PARQUET_COLUMNS
from forescale.corpus import near
from forescale.corpus.parts import Work, open_work, plan_parts, read_all, work_key
from forescale.corpus.read import Found, find_files
from forescale.corpus.split import Split, contact, split
from forescale.corpus.write import Decisions, write_all

FOLDERS = ("train", "validation", "removed")
TOO_NEAR = "near a training document"


def clean(
    inputs: Sequence[Path], out: Path, section: CorpusSection, executor: Executor, seed: int = 0
) -> CorpusSummary:
    """Clean documents under `out`: train/, validation/, removed/, summary.json. Killed, it goes on where it stopped."""
    found = find_files(inputs)
    settings = [section.model_dump(exclude={"sources"}), seed]
    folder = out / ".work"
    open_work(folder, work_key(found.files, settings))
    parts = plan_parts(
        found.files,
        folder,
        signatures=section.dedup,
        min_characters=section.min_characters if section.quality else None,
        cut_long=True,
    )
    work = read_all(parts, folder, executor)
    if not len(work):
        raise _nothing_read(work, inputs)
    decisions, border = _decide(work, section, seed, executor)
    write_all(work, decisions, out, FOLDERS, PARQUET_COLUMNS, executor)
    rate = contact(work, decisions.folder == 0, decisions.folder == 1, executor)
    summary = _summarise(work, decisions, border, found, rate)
    summary.write(out / "summary.json")
    shutil.rmtree(folder)
    return summary


def _nothing_read(work: Work, inputs: Sequence[Path]) -> InputError:
    flaws = work.quarantine()
    first = flaws[0] if flaws else None
    return InputError(
        "none of the files could be read as text",
        why=f"{len(flaws)} set aside; the first: {first.reason}" if first else "they are empty",
        remedy="give UTF-8 text",
        file=first.file if first else (inputs[0] if inputs else None),
        line=first.line if first else None,
    )


def _decide(work: Work, section: CorpusSection, seed: int, executor: Executor) -> tuple[Decisions, Split]:
    """Each document's folder and reason: duplicates first, then the quality rules, then the split."""
    n = len(work)
    kept = np.full(n, -1, dtype=np.int64)
    similarity = np.zeros(n)
    reason = [work.names["reason"][code] for code in work.codes["reason"]]
    if section.dedup:
        found = near.find_duplicates(work, section.threshold, np.arange(n), executor)
        for i in np.flatnonzero(found.removed):
            reason[i] = "exact duplicate" if found.exact[i] else "near duplicate"
        kept[found.removed] = found.kept[found.removed]
        similarity = found.similarity.copy()
    alive = np.array([not r for r in reason])
    if not alive.any():
        counts = ", ".join(f"{count} {name}" for name, count in Counter(reason).most_common())
        raise InputError(
            "no document is left after cleaning",
            why=f"removed: {counts}",
            remedy="give more text, or set corpus.quality = false",
            key="corpus.quality",
        )
    border = split(work, alive, section.validation_share, seed, section.dedup, executor)
    for i in np.flatnonzero(border.too_near):
        reason[i] = TOO_NEAR
    kept[border.too_near] = border.nearest[border.too_near]
    similarity[border.too_near] = border.similarity[border.too_near]
    gone = np.array([bool(r) for r in reason])
    folder = np.where(gone, 2, np.where(border.validation, 1, 0)).astype(np.int64)
    return Decisions(folder, reason, kept, similarity), border


def _summarise(work: Work, decisions: Decisions, border: Split, found: Found, rate: ContactRate) -> CorpusSummary:
    removed: Counter[str] = Counter()
    removed_bytes: Counter[str] = Counter()
    for reason, folder, size in zip(decisions.reason, decisions.folder, work.bytes, strict=True):
        if folder == 2:
            removed[reason] += 1
            removed_bytes[reason] += int(size)
    quarantine = work.quarantine()
    stays = decisions.folder != 2
    return CorpusSummary(
        documents=int(stays.sum()),
        bytes=int(work.bytes[stays].sum()),
        removed=dict(removed.most_common()),
        removed_bytes={name: removed_bytes[name] for name, _ in removed.most_common()},
        sha256=_digest(work, decisions),
        files=sum(int(report["files"]) for report in work.reports),
        read_documents=len(work),
        read_bytes=int(work.bytes.sum()),
        train=_count(work, decisions, 0),
        validation=_count(work, decisions, 1),
        split_by=border.by,
        sources=_by_source(work, decisions),
        quarantined=len(quarantine),
        quarantine=quarantine[:1000],
        other_files=dict(found.other.most_common()),
        warnings=list(border.warnings),
        contact=rate,
    )


def _count(work: Work, decisions: Decisions, folder: int) -> CorpusSplit:
    here = decisions.folder == folder
    names = work.names["source"]
    sources = sorted(names[code] for code in np.unique(work.codes["source"][here]))
    return CorpusSplit(documents=int(here.sum()), bytes=int(work.bytes[here].sum()), sources=sources)


def _by_source(work: Work, decisions: Decisions) -> dict[str, SourceCount]:
    counts = {}
    for code, name in enumerate(work.names["source"]):
        here = work.codes["source"] == code
        stays = here & (decisions.folder != 2)
        counts[name] = SourceCount(
            documents=int(here.sum()),
            bytes=int(work.bytes[here].sum()),
            kept_documents=int(stays.sum()),
            kept_bytes=int(work.bytes[stays].sum()),
        )
    return counts


def _digest(work: Work, decisions: Decisions) -> str:
    """SHA-256 over split and content of the clean documents in order: the same on every machine and any executor."""
    digest = hashlib.sha256()
    for folder in (0, 1):
        digest.update(np.ascontiguousarray(work.digests[decisions.folder == folder]).astype("<i8").tobytes())
        digest.update(b"|")
    return digest.hexdigest()
