"""`show` on what the ledger keeps instead of a manifest: a plan, a run, a tuned run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forescale.base.artifact import stands
from forescale.base.errors import ArtifactError
from forescale.base.records.align import AlignRecord
from forescale.base.records.plan import Plan
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.project.sealed_files import changed_files
from forescale.project.workspace import RECIPE_FILE, Workspace


def plan_or_run(path: Path, *, check: bool = False) -> dict[str, Any] | None:
    """What a path to a plan or a run holds, with its lines of the ledger; None: it is neither.

    `check`: also what its files differ in from these lines, under `wrong`. ArtifactError (4): a damaged file.
    """
    folder = path if path.is_dir() else path.parent
    if stands(folder) or not (path.is_dir() or path.name in ("plan.json", "record.json", "spec.json")):
        return None
    plan, spec, record = (folder / name for name in ("plan.json", "spec.json", "record.json"))
    if plan.exists():
        shown = {"kind": "plan", "path": str(plan), "name": folder.name, "plan": Plan.read(plan).to_json()}
    elif spec.exists():
        shown = _run(folder, RunSpec.read(spec))
    elif record.exists():
        tuned = AlignRecord.read(record)
        shown = {"kind": tuned.kind, "path": str(folder), "name": folder.name, "record": tuned.to_json()}
    else:
        return None
    return shown | _of_ledger(folder, shown, check)


def _run(folder: Path, spec: RunSpec) -> dict[str, Any]:
    """A run by its spec and the records of its branches; none of them: it has not ended."""
    file = folder / "record.json"
    try:
        records = [RunRecord.model_validate(fields).to_json() for fields in json.loads(file.read_bytes())]
    except FileNotFoundError:
        records = []
    except (ValueError, TypeError, ValidationError):
        raise ArtifactError(
            f"{file} is not a list of run records", remedy="restore it from a copy, or train the run again", file=file
        ) from None
    done = bool(records) and records[-1]["tokens"] >= max(spec.branches)
    status = records[-1]["status"] if done else "not ended"
    return {
        "kind": "run", "path": str(folder), "name": spec.name, "status": status, "spec": spec.to_json(),
        "records": records, "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    }  # fmt: skip


def _of_ledger(folder: Path, shown: dict[str, Any], check: bool) -> dict[str, Any]:
    """The lines of a plan or a run, and with `check` what its file differs in from them."""
    from forescale.scaling.ledger import Ledger

    root = folder.resolve().parent.parent
    if not (root / RECIPE_FILE).exists():
        return {"wrong": []} if check else {}
    space = Workspace(root)
    ledger = Ledger(space.ledger)
    key = "plan" if shown["kind"] == "plan" else "run"
    entries = [entry.to_json() for entry in ledger.view().entries if getattr(entry, key) == folder.name]
    if not check:
        return {"entries": entries}
    own = root / folder.parent.name / folder.name
    changed = changed_files(space, ledger.read().lines)
    wrong = [one.what.replace(one.file, Path(one.file).name) for one in changed if Path(one.file).parent == own]
    return {"entries": entries, "wrong": wrong}


def node(shown: dict[str, Any]) -> dict[str, Any]:
    """A plan or a run in a lineage: the hash it is known by, and the plan or weights it came from."""
    made: dict[str, Any] = {"path": shown["path"], "kind": shown["kind"], "parents": []}
    if shown["kind"] == "plan":
        return made | {"recipe": Plan.digest_of(json.loads(Path(shown["path"]).read_bytes()))}
    if shown["kind"] == "run":
        folder = Path(shown["path"]).resolve()
        plan = folder.parent.parent / "plans" / str(shown["spec"]["plan"]) / "plan.json"
        parents = [found] if (found := plan_or_run(plan) if plan.exists() else None) is not None else []
        return made | {"recipe": shown["spec"]["seal"] or "", "parents": [node(one) for one in parents]}
    parent = {"path": shown["record"]["parent"], "kind": "weights", "recipe": ""}
    return made | {"recipe": "", "parents": [parent]}
