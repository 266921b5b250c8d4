"""Artifacts: folders that are finished when their manifest exists. The only file that touches manifests."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from forescale.base.errors import ArtifactError
from forescale.base.files import sha256_file, write_atomic
from forescale.base.records.record import Record

MANIFEST = "manifest.json"


class FileEntry(Record):
    """Size and hash of one file of an artifact."""

    bytes: int
    sha256: str


class Manifest(Record):
    """What an artifact is, what it was made from, and what lies in it."""

    kind: str
    format: int = 1
    recipe: str
    """Hash of everything that decides the content, known before the work."""
    parents: list[str] = Field(default_factory=list)
    """Recipes of the artifacts this one was made from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, FileEntry] = Field(default_factory=dict)
    summary: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    made_by: dict[str, str] = Field(default_factory=dict)
    made_at: str = ""


def recipe_hash(
    kind: str,
    *,
    parents: list[str],
    settings: Mapping[str, Any],
    seed: int = 0,
    inputs: Mapping[str, str] | None = None,
) -> str:
    """Hash of kind, parents, settings, seed and outside inputs (relative path -> sha256 or etag)."""
    text = json.dumps(
        [kind, 1, sorted(parents), settings, seed, sorted((inputs or {}).items())], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished artifact, or exit 4."""
    path = folder / MANIFEST
    if not path.exists():
        raise ArtifactError(
            f"{folder} is not a finished artifact",
            why=f"it has no {MANIFEST}: the verb that makes it has not run or did not end",
            remedy="run that verb (again): it goes on where it stopped",
            file=path,
        )
    return Manifest.read(path)


def stands(folder: Path) -> bool:
    """Whether an artifact of any recipe was finished here (it may have been damaged since)."""
    return (folder / MANIFEST).exists()


def finished(folder: Path, recipe: str) -> bool:
    """Whether `folder` holds the artifact of exactly this recipe, finished."""
    path = folder / MANIFEST
    return path.exists() and Manifest.read(path).recipe == recipe


@dataclass
class Folder:
    """An artifact in the making: write files under `path`, set `summary`; the manifest is written on leaving."""

    path: Path
    recipe: str
    already: bool
    """True: it was finished before; there is nothing to do."""
    summary: dict[str, Any] = field(default_factory=dict)


@contextmanager
def make(
    path: Path,
    kind: str,
    recipe: str,
    *,
    parents: list[str],
    settings: Mapping[str, Any],
    verb: str,
    seed: int = 0,
    force: bool = False,
) -> Iterator[Folder]:
    """Make (or find, or go on with) the artifact of `recipe` at `path`.

    A finished one of another recipe moves to `path.old/FIRST8OFRECIPE/`; a half-done one of the same recipe stays, so
    that its verb goes on where it stopped; a half-done one of another recipe is set aside too.
    """
    marker = path / ".recipe"
    if finished(path, recipe) and not force:
        yield Folder(path, recipe, True, dict(read_manifest(path).summary))
        return
    if path.exists() and (force or not marker.exists() or marker.read_text() != recipe or (path / MANIFEST).exists()):
        _set_aside(path)
    path.mkdir(parents=True, exist_ok=True)
    write_atomic(marker, recipe.encode())
    folder = Folder(path, recipe, False)
    yield folder
    _seal(folder, kind, parents, settings, verb, seed)


def _set_aside(path: Path) -> None:
    """Move what stands at `path` to `path.old/FIRST8OFRECIPE/`; only an older copy of the same is deleted."""
    if not any(path.iterdir()):
        return
    marker = path / ".recipe"
    name = marker.read_text()[:8] if marker.exists() else f"unknown-{int(time.time())}"
    old = path.with_name(path.name + ".old") / name
    if old.exists():
        shutil.rmtree(old)
    old.parent.mkdir(parents=True, exist_ok=True)
    path.rename(old)


def _seal(folder: Folder, kind: str, parents: list[str], settings: Mapping[str, Any], verb: str, seed: int) -> None:
    import forescale

    Manifest(
        kind=kind,
        recipe=folder.recipe,
        parents=parents,
        settings=json.loads(json.dumps(dict(settings), default=str)),
        files=_entries(folder.path),
        summary=folder.summary,
        seed=seed,
        made_by={"version": forescale.__version__, "verb": verb},
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    ).write(folder.path / MANIFEST)


def _entries(path: Path) -> dict[str, FileEntry]:
    """Size and hash of every file of an artifact, hidden ones left out."""
    return {
        str(p.relative_to(path)): FileEntry(bytes=p.stat().st_size, sha256=sha256_file(p))
        for p in sorted(path.rglob("*"))
        if p.is_file() and p != path / MANIFEST and not any(part.startswith(".") for part in p.relative_to(path).parts)
    }


def reseal(path: Path, summary: Mapping[str, Any]) -> None:
    """Bring the manifest of a finished artifact that has grown (a ladder by later runs) up to its files."""
    before = read_manifest(path)
    before.model_copy(update={"files": _entries(path), "summary": dict(summary)}).write(path / MANIFEST)


def verify(folder: Path) -> list[str]:
    """What is wrong with an artifact's files: missing, another size, another hash. Empty: it is whole."""
    wrong = []
    for name, entry in read_manifest(folder).files.items():
        path = folder / name
        if not path.exists():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != entry.bytes:
            wrong.append(f"{name} has {path.stat().st_size} bytes, not {entry.bytes}")
        elif sha256_file(path) != entry.sha256:
            wrong.append(f"{name} was changed")
    return wrong
