"""`check`: what would hold if a verb ran now. It runs nothing and trains nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.artifact import stands
from forescale.base.config import Recipe
from forescale.base.errors import InputError
from forescale.base.runtime import cores, gpus, machine, memory_gib
from forescale.project.recipe_text import keys

if TYPE_CHECKING:
    from forescale.project.project import Project

ARTIFACTS = ("corpus", "tokenizer", "tokens", "laws")


def check_project(project: Project) -> dict[str, Any]:
    """Recipe with origins, inputs, devices, disk, artifacts, price. A missing source carries an `error` (exit 3)."""
    root = project.workspace.root
    inputs = [_source(root, source) for source in project.recipe.corpus.sources]
    result: dict[str, Any] = {
        "workspace": str(root),
        "recipe": _resolved(project.recipe, project.origin),
        "inputs": inputs,
        "devices": devices(),
        "disk": _disk(root),
        "artifacts": {
            name: str(getattr(project.workspace, name))
            for name in ARTIFACTS
            if stands(getattr(project.workspace, name))
        },
        "price": _price(root),
        "warnings": [],
    }
    missing = [item["source"] for item in inputs if not item["exists"]]
    if not inputs:
        result["warnings"].append("the recipe names no sources: forescale clean INPUT..., or set [corpus] sources")
    if missing:
        result["error"] = InputError(
            f"{len(missing)} source(s) do not exist: {', '.join(missing)}",
            why="clean would stop there",
            remedy="mend [corpus] sources; paths are relative to the recipe",
            file=project.workspace.recipe,
            key="corpus.sources",
        ).as_json()
    return result


def _resolved(recipe: Recipe, origin: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "key": key.path,
            "value": getattr(getattr(recipe, key.section), key.name),
            "from": origin.get(key.path, "default"),
            "range": key.limits,
        }
        for key in keys()
    ]


def _source(root: Path, source: str) -> dict[str, Any]:
    """Files and bytes of one source, by suffix."""
    path = root / source
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path] if path.is_file() else []
    kinds = Counter("".join(p.suffixes[-2:]) or "(none)" for p in files)
    return {
        "source": source,
        "path": str(path),
        "exists": path.exists(),
        "files": len(files),
        "bytes": sum(p.stat().st_size for p in files),
        "kinds": dict(kinds.most_common(8)),
    }


def devices() -> dict[str, Any]:
    """Processors, memory and GPUs of this machine, asked of the system without opening torch."""
    return {"machine": machine(), "cores": cores(), "memory_gib": memory_gib(), "gpus": gpus()}


def _disk(root: Path) -> dict[str, Any]:
    usage = shutil.disk_usage(root)
    used = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return {"free_gib": round(usage.free / 2**30, 1), "workspace_gib": round(used / 2**30, 3)}


def _price(root: Path) -> list[dict[str, Any]]:
    """What each plan of the workspace will take."""
    from forescale.base.records.plan import Plan

    prices = []
    for path in sorted(root.glob("plans/*/plan.json")):
        plan = Plan.read(path).to_json()
        prices.append({"plan": path.parent.name, "flops": plan["flops"], **(plan.get("cost") or {})})
    return prices
