"""One outside set for several corpora: text that none of them trains on, so that their runs have a common measure.

Outside folders and all training texts become one work folder, so that the same n-grams and the same exact check that
keep a corpus's own validation split apart from its training text keep this set apart from all of them.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from forescale.base.config import CorpusSection
from forescale.base.errors import InputError
from forescale.base.executor import Executor
from forescale.base.files import disk_failure
from forescale.base.records.compare import Outside, OutsideSet
from forescale.base.records.document import PARQUET_COLUMNS
from forescale.corpus import near
from forescale.corpus.near import Mask
from forescale.corpus.parts import Work, open_work, part_file, plan_parts, read_all, work_key
from forescale.corpus.read import InputFile, find_files
from forescale.corpus.split import CONTACT_NGRAM, LOOSE, contact

MANY = 0.5
"""Share of a set's documents that resemble training text, from which it is called no outside set (our choice)."""


@dataclass(frozen=True)
class Made:
    """The set as a record, and what to warn of."""

    outside: Outside
    warnings: tuple[str, ...]


def make_outside(
    sets: Mapping[str, Path],
    corpora: Mapping[str, Path],
    out: Path,
    section: CorpusSection,
    executor: Executor,
    *,
    raw: bool,
    most_bytes: int,
) -> Made:
    """Write `out/validation/`, one file a set in the order of `sets`: equal bytes of each, without what resembles
    training text of any corpus.

    `sets`: name -> folder; `corpora`: name -> finished corpus; `raw`: the sets have not been through the quality rules
    yet; `most_bytes`: a set gives no more than this, since a run is scored on a sample anyway.
    """
    folder = out / ".work"
    files = _files(sets, corpora)
    open_work(folder, work_key(files, [section.model_dump(exclude={"sources"}), raw]))
    minimum = section.min_characters if raw and section.quality else None
    work = read_all(plan_parts(files, folder, signatures=True, min_characters=minimum, cut_long=True), folder, executor)
    of_set = {name: _of(work, f"set:{name}") for name in sets}
    training = {name: _of(work, f"corpus:{name}") for name in corpora}
    reason = _own_reasons(work, of_set, section, executor)
    touched = _contaminated(work, reason, of_set, training, executor)
    for name, mask in touched.items():
        for i in np.flatnonzero(mask):
            reason[int(i)] = reason.get(int(i)) or f"near {name}'s training text"
    clean = {
        name: np.array([bool(mask[i]) and i not in reason for i in range(len(work))]) for name, mask in of_set.items()
    }
    records = {name: _record(work, name, of_set[name], reason, touched) for name in sets}
    for name, record in records.items():
        if not clean[name].any():
            raise _nothing_left(name, sets[name], record)
    every = np.logical_or.reduce(list(clean.values()))
    rates = {name: contact(work, mask, every, executor).rate for name, mask in training.items()}
    each = min(most_bytes, *(int(work.bytes[mask].sum()) for mask in clean.values()))
    for place, (name, mask) in enumerate(clean.items()):
        taken = _take(work, mask, each, name)
        used = sum(len(row["text"].encode()) for row in taken)
        records[name] = records[name].model_copy(update={"used_documents": len(taken), "used_bytes": used})
        _write(taken, out / "validation" / f"part-{place:05d}.parquet")
    shutil.rmtree(folder)
    outside = Outside(sets=list(records.values()), contact_ngram=CONTACT_NGRAM, contact=rates)
    return Made(outside, tuple(_warnings(records.values())) + tuple(_shared(work, training)))


def _files(sets: Mapping[str, Path], corpora: Mapping[str, Path]) -> list[InputFile]:
    """All files, the outside sets first; a file's source says whose it is."""
    files = []
    for name, folder in sets.items():
        files += [replace(f, name=f"{name}/{f.name}", source=f"set:{name}") for f in find_files([folder]).files]
    for name, folder in corpora.items():
        found = sorted((folder / "train").glob("*.parquet"))
        files += [InputFile(p, f"corpus {name}/{p.name}", f"corpus:{name}", ".parquet") for p in found]
    return files


def _of(work: Work, source: str) -> Mask:
    names = work.names["source"]
    if source not in names:
        return np.zeros(len(work), dtype=bool)
    return np.asarray(work.codes["source"] == names.index(source))


def _own_reasons(work: Work, of_set: Mapping[str, Mask], section: CorpusSection, executor: Executor) -> dict[int, str]:
    """Documents of the sets that go whatever the corpora hold: quality rules, duplicates within and between sets."""
    inside = np.logical_or.reduce(list(of_set.values()))
    names = [work.names["reason"][code] for code in work.codes["reason"]]
    reason = {int(i): names[i] for i in np.flatnonzero(inside) if names[i]}
    if not section.dedup:
        return reason
    alive = inside.copy()
    alive[list(reason)] = False
    documents = np.flatnonzero(alive)
    _, first = np.unique(work.digests[documents], axis=0, return_index=True)
    repeated = np.setdiff1d(documents, documents[first])
    alive[repeated] = False
    pairs = near.candidates(work, alive)
    similar = near.verify(work, pairs, "sets", section.threshold - near.SLACK, executor)
    group = near.groups(len(work), pairs[similar >= section.threshold])
    documents = np.flatnonzero(alive)
    _, first = np.unique(group[documents], return_index=True)
    alike = np.setdiff1d(documents, documents[first])
    return reason | {int(i): "duplicate" for i in [*repeated, *alike]}


def _contents(work: Work) -> npt.NDArray[Any]:
    """Each document's digest as one value, to look up in others'."""
    return np.ascontiguousarray(work.digests).view([("a", np.int64), ("b", np.int64)]).reshape(-1)


def _contaminated(
    work: Work,
    reason: Mapping[int, str],
    of_set: Mapping[str, Mask],
    training: Mapping[str, Mask],
    executor: Executor,
) -> dict[str, Mask]:
    """Corpus -> documents of the sets that equal or resemble (LOOSE) one of its training documents."""
    inside = np.logical_or.reduce(list(of_set.values()))
    inside[list(reason)] = False
    keys = _contents(work)
    found = {}
    for number, (name, mask) in enumerate(training.items()):
        touched = inside & np.isin(keys, keys[mask])
        pairs = near.border_candidates(work, inside, mask)
        similar = near.verify(work, pairs, f"outside{number}", LOOSE - near.SLACK, executor)
        touched[pairs[similar >= LOOSE, 0]] = True
        found[name] = touched
    return found


def _record(work: Work, name: str, mask: Mask, reason: Mapping[int, str], touched: Mapping[str, Mask]) -> OutsideSet:
    removed = Counter(reason[int(i)] for i in np.flatnonzero(mask) if int(i) in reason)
    return OutsideSet(
        name=name,
        documents=int(mask.sum()),
        bytes=int(work.bytes[mask].sum()),
        removed=dict(removed.most_common()),
        contaminated={corpus: int((mask & hit).sum()) for corpus, hit in touched.items()},
    )


def _nothing_left(name: str, folder: Path, record: OutsideSet) -> InputError:
    counts = ", ".join(f"{n} {why}" for why, n in record.removed.items()) or "none could be read"
    return InputError(
        f"nothing of the outside set {name} is left to score on",
        why=f"of its {record.documents} documents: {counts}",
        remedy="name text that is in none of the corpora (--validation DIR)",
        file=folder,
        key="validation",
    )


def _take(work: Work, mask: Mask, n_bytes: int, name: str) -> list[dict[str, str]]:
    """`n_bytes` of a set's documents in an order drawn by their content; the last one is cut."""
    documents = np.flatnonzero(mask)
    documents = documents[np.argsort(work.digests[documents, 0], kind="stable")]
    ends = np.cumsum(work.bytes[documents])
    chosen = documents[: int(np.searchsorted(ends, n_bytes)) + 1]
    texts: dict[int, tuple[str, str]] = {}
    for part in sorted({work.locate(int(i))[0] for i in chosen}):
        table = pq.read_table(part_file(work.folder, "docs", part, "parquet"), columns=["id", "text"])
        for i in chosen:
            owner, row = work.locate(int(i))
            if owner == part:
                texts[int(i)] = (table["id"][row].as_py(), table["text"][row].as_py())
    rows, held = [], 0
    for i in chosen:
        identity, text = texts[int(i)]
        encoded = text.encode()[: n_bytes - held]
        held += len(encoded)
        text = encoded.decode(errors="ignore")
        if text:
            rows.append(dict(zip(PARQUET_COLUMNS, (identity, text, name, name), strict=True)))
    return rows


def _write(rows: Sequence[dict[str, str]], path: Path) -> None:
    schema = pa.schema([(name, pa.string()) for name in PARQUET_COLUMNS])
    aside = path.with_name("." + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), aside, compression="zstd")
        aside.replace(path)
    except OSError as error:
        raise disk_failure(error, path) from error


def _warnings(records: Iterable[OutsideSet]) -> list[str]:
    warnings = []
    for record in records:
        hits = {name: n for name, n in record.contaminated.items() if n}
        if not hits:
            continue
        listed = ", ".join(f"{n} resemble {name}'s" for name, n in hits.items())
        worst = max(hits.values()) / max(record.documents, 1)
        loud = "; it is hardly an outside set" if worst > MANY else ""
        warnings.append(
            f"outside set {record.name}: of its {record.documents} documents {listed} training text "
            f"and were left out{loud}"
        )
    return warnings


def _shared(work: Work, training: Mapping[str, Mask]) -> list[str]:
    """Corpora that hold the same documents: their difference is that of the rest."""
    keys = _contents(work)
    warnings, names = [], list(training)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            both = training[a] & np.isin(keys, keys[training[b]])
            share = float(work.bytes[both].sum()) / max(float(work.bytes[training[a]].sum()), 1.0)
            if share > 0.05:
                warnings.append(f"{share:.0%} of {a}'s training text is in {b} too, word for word")
    return warnings
