"""Looking into a finished corpus: counts, a sample, why a document is or is not there, what two corpora differ in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from forescale.base.errors import ArtifactError, InputError
from forescale.base.records.corpus import CorpusSummary

SPLITS = ("train", "validation", "removed")


def stats(folder: Path) -> CorpusSummary:
    """What `clean` counted; exit 4 where there is no corpus."""
    return CorpusSummary.read(folder / "summary.json")


def _parts(folder: Path, split: str) -> Iterator[Path]:
    yield from sorted((folder / split).glob("*.parquet"))


def _require(folder: Path) -> None:
    if not (folder / "summary.json").exists():
        raise ArtifactError(f"{folder} is no finished corpus", remedy="forescale clean", file=folder / "summary.json")


def sample(folder: Path, n: int = 5, seed: int = 0, split: str = "train") -> list[dict[str, Any]]:
    """n documents drawn by the seed, each as its row; the same on every machine."""
    _require(folder)
    keys = []
    for path in _parts(folder, split):
        for row, identity in enumerate(pq.read_table(path, columns=["id"])["id"].to_pylist()):
            keys.append((hashlib.sha256(f"{seed}:{identity}".encode()).digest(), path, row))
    drawn = sorted(keys)[:n]
    return [pq.read_table(path).slice(row, 1).to_pylist()[0] for _, path, row in drawn]


def why(folder: Path, identity: str) -> list[dict[str, Any]]:
    """Where a document went: its split, or the reason it was removed and what was kept for it; exit 3 if unknown."""
    _require(folder)
    found: list[dict[str, Any]] = []
    for split in SPLITS:
        for path in _parts(folder, split):
            table = pq.read_table(path)
            for row in table.filter(pc.equal(table["id"], identity)).to_pylist():
                text = row.pop("text")
                found.append({**row, "split": split, "characters": len(text), "begins": text[:200]})
    if not found:
        raise InputError(
            f"no document `{identity}` in {folder}",
            why="it is neither in train, validation nor removed; perhaps its file could not be read",
            remedy="forescale corpus stats lists what was set aside; forescale corpus sample shows ids",
            file=folder,
        )
    return found


def diff(a: Path, b: Path) -> dict[str, Any]:
    """What two corpora differ in: documents by text, whatever their ids, and what each says of the other's extras."""
    first, second = _contents(a), _contents(b)
    only_a, only_b = first.keys() - second.keys(), second.keys() - first.keys()
    both = first.keys() & second.keys()
    return {
        "both": len(both),
        "only_a": sorted(first[key][0] for key in only_a),
        "only_b": sorted(second[key][0] for key in only_b),
        "moved": sorted(first[key][0] for key in both if first[key][1] != second[key][1]),
        "bytes_a": stats(a).bytes,
        "bytes_b": stats(b).bytes,
        "same": stats(a).sha256 == stats(b).sha256,
    }


def _contents(folder: Path) -> dict[bytes, tuple[str, str]]:
    """Hash of each clean text -> its id and split."""
    _require(folder)
    found = {}
    for split in SPLITS[:2]:
        for path in _parts(folder, split):
            for row in pq.read_table(path, columns=["id", "text"]).to_pylist():
                found[hashlib.sha256(row["text"].encode()).digest()] = (str(row["id"]), split)
    return found
