"""`show`: any artifact in words, whether its files are whole, and what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forescale.base.artifact import Manifest, read_manifest, stands
from forescale.base.artifact import verify as damage
from forescale.base.errors import ArtifactError
from forescale.base.files import sha256_file
from forescale.base.records.compare import Comparison
from forescale.base.records.laws import Laws
from forescale.project.ledger_verb import ledger_warnings
from forescale.project.meter_report import COMPARISON, PAGE
from forescale.project.show_runs import node, plan_or_run
from forescale.project.workspace import RECIPE_FILE, Workspace

DEPTH = 4
"""How deep below a workspace artifacts lie: ladders/NAME, runs/NAME, KIND.old/RECIPE, comparisons/NAME/ladders/NAME."""


def show(path: Path, *, verify: bool = False, lineage: bool = False) -> dict[str, Any]:
    """An artifact's manifest in words; a comparison, a plan, a run; of a workspace, all artifacts.

    `error`: with `verify`, a file is not what was written, or not what its line of the ledger says (4).
    """
    if not path.exists():
        raise ArtifactError(f"{path} does not exist", remedy="name an artifact's folder or a workspace", file=path)
    folder = path if path.is_dir() else path.parent
    compared = comparison_file(path)
    if compared is not None:
        result = comparison(compared, check=verify, lineage=lineage)
        entries = result["artifacts"]
    elif (folder / RECIPE_FILE).exists():
        entries = [entry(found, check=verify) for found in artifacts(folder)]
        result = {"workspace": str(folder), "artifacts": entries, "warnings": ledger_warnings(Workspace(folder))}
        if comparisons := sorted(str(file.parent) for file in folder.glob(f"comparisons/*/{COMPARISON}")):
            result["comparisons"] = comparisons
    elif (laws := laws_file(path)) is not None and not stands(folder):
        return {"kind": "laws", "path": str(laws), "laws": Laws.read(laws).to_json()}
    elif (kept := plan_or_run(path, check=verify)) is not None:
        result, entries = kept, [kept]
        if lineage:
            result["lineage"] = node(kept)
    else:
        result = entry(folder, check=verify)
        entries = [result]
        if lineage:
            result["lineage"] = ancestry(folder)
    wrong = [f"{item['path']}: {problem}" for item in entries for problem in item.get("wrong", [])]
    of_ledger = [text for text in result.get("warnings", []) if verify]
    if of_ledger or "entries" in result:
        remedy = "restore them from a copy: what was sealed is not made again"
    else:
        remedy = "make it again: the same verb with --force"
    if wrong := [*wrong, *of_ledger]:
        result["error"] = ArtifactError(
            f"{len(wrong)} file(s) are not what was written: {'; '.join(wrong[:3])}",
            why="a file was changed, cut or removed after it was finished",
            remedy=remedy,
            file=path,
        ).as_json()
    return result


def entry(folder: Path, *, check: bool = False) -> dict[str, Any]:
    """One artifact: kind, origin, settings, files, summary; with `check` also what is wrong with its files."""
    manifest = read_manifest(folder)
    result: dict[str, Any] = {
        "path": str(folder),
        "kind": manifest.kind,
        "recipe": manifest.recipe,
        "made_at": manifest.made_at,
        "made_by": manifest.made_by,
        "seed": manifest.seed,
        "parents": manifest.parents,
        "settings": manifest.settings,
        "summary": manifest.summary,
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files.values()),
    }
    if check:
        result["wrong"] = damage(folder)
    return result


def laws_file(path: Path) -> Path | None:
    """The laws.json that a path means: what `fit --out` wrote outside a workspace is no artifact with a manifest."""
    file = path / "laws.json" if path.is_dir() else path
    return file if file.name == "laws.json" and file.exists() else None


def comparison_file(path: Path) -> Path | None:
    """The comparison that a path means: its folder, or a file with what `compare --json` prints; None: none."""
    if path.is_dir():
        file = path / COMPARISON
        return file if file.exists() and not stands(path) else None
    if path.suffix != ".json":
        return path.parent / COMPARISON if path.name == PAGE and (path.parent / COMPARISON).exists() else None
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return path if path.name == COMPARISON else None  # reading it says what is wrong with it
    return path if isinstance(value, dict) and {"corpora", "better", "exponents"} <= value.keys() else None


def comparison(file: Path, *, check: bool = False, lineage: bool = False) -> dict[str, Any]:
    """A comparison as `compare` gave it, and the artifacts it was made of, which lie beside it."""
    made = Comparison.read(file)
    page = file.parent / PAGE  # one that was set aside took its page along
    made = made.model_copy(update={"report": str(page) if page.exists() else made.report})
    below = [] if file.name != COMPARISON else artifacts(file.parent)
    result: dict[str, Any] = {
        "path": str(file),
        "kind": "comparison",
        "comparison": made.to_json(),
        "artifacts": [entry(found, check=check) for found in below],
    }
    if lineage:
        ladders = [found for found in below if found.parent.name == "ladders"]
        own = {"path": str(file), "kind": "comparison", "recipe": sha256_file(file)}
        result["lineage"] = {**own, "parents": [ancestry(found) for found in ladders]}
    return result


def artifacts(workspace: Path) -> list[Path]:
    """Folders of finished artifacts below a workspace, replaced ones too."""
    found: list[Path] = []
    level = [workspace]
    for _ in range(DEPTH):
        level = sorted(child for folder in level for child in folder.iterdir() if child.is_dir())
        found += [folder for folder in level if stands(folder)]
        level = [folder for folder in level if not stands(folder)]
    return sorted(found)


def ancestry(folder: Path) -> dict[str, Any]:
    """The tree of parents; one whose artifact no longer stands in the workspace has only its recipe."""
    known = {read_manifest(path).recipe: path for path in artifacts(_workspace_of(folder))}
    return _node(read_manifest(folder), folder, known)


def _node(manifest: Manifest, folder: Path, known: dict[str, Path]) -> dict[str, Any]:
    parents = []
    for recipe in manifest.parents:
        path = known.get(recipe)
        parents.append({"recipe": recipe} if path is None else _node(read_manifest(path), path, known))
    return {"path": str(folder), "kind": manifest.kind, "recipe": manifest.recipe, "parents": parents}


def _workspace_of(folder: Path) -> Path:
    for above in folder.resolve().parents:
        if (above / RECIPE_FILE).exists():
            return above
    return folder.resolve().parent
