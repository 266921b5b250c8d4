"""The ledger beside its workspace: what plans and runs say that a chain cut at its end cannot."""

from __future__ import annotations

import json
import re
from pathlib import Path

from forescale.base.errors import ArtifactError, ConfigError
from forescale.base.records.ledger import LedgerView
from forescale.project.sealed_files import changed_files
from forescale.project.workspace import Workspace


def ledger_verb(*, workspace: Path | None = None, digest: str | None = None) -> LedgerView:
    """The workspace's ledger, added up; `digest`: one that was published, which a line of it must have.

    `changed` names plans and records that are not what their lines say. ArtifactError (4): there is no ledger.
    """
    from forescale.scaling.ledger import Ledger

    if digest is not None and not re.fullmatch(r"[0-9a-f]{16,64}", digest):
        raise ConfigError(
            f"--digest {digest} is no digest",
            remedy="give the 64 hexadecimal digits that `forescale ledger` printed, or the first 16 of them",
            key="digest",
        )
    space = Workspace.find(workspace)
    missing = _missing(space)
    if missing is not None:
        raise missing
    ledger = Ledger(space.ledger)
    view, changed = ledger.view(digest), changed_files(space, ledger.read().lines)
    return view.model_copy(update={"warnings": [*view.warnings, *_not_held(space, view)], "changed": changed})


def ledger_of(space: Workspace) -> LedgerView | None:
    """The ledger with all that is wrong with it, for a page; None where there is none and none is missed."""
    from forescale.scaling.ledger import Ledger

    ledger = Ledger(space.ledger)
    view = ledger.view()
    missing = _missing(space)
    if missing is not None and not missing.why:
        return None
    changed = [one.what for one in changed_files(space, ledger.read().lines)]
    said = [f"{missing.what}: {missing.why}"] if missing is not None else [*changed, *_not_held(space, view)]
    return view.model_copy(update={"warnings": [*view.warnings, *said]})


def ledger_warnings(space: Workspace) -> list[str]:
    """What is wrong with a workspace's ledger, for verbs that are about something else; none where nothing is."""
    from forescale.scaling.ledger import BROKEN, Ledger

    missing = _missing(space)
    if missing is not None:
        return [f"{missing.what}: {missing.why}"] if missing.why else []
    ledger = Ledger(space.ledger)
    view = ledger.view()
    broken = [] if view.chain_ok else [f"the ledger's chain is broken at line {view.broken_line}: {BROKEN}"]
    changed = [one.what for one in changed_files(space, ledger.read().lines)]
    return broken + changed + _not_held(space, view)


def _missing(space: Workspace) -> ArtifactError | None:
    """The error of a ledger that is not there or holds nothing; without a `why` where nothing was planned yet."""
    there = space.ledger.exists()
    if there and space.ledger.read_bytes().strip():
        return None
    plans = _plans(space)
    return ArtifactError(
        ("the ledger is an empty file" if there else "this workspace has no ledger")
        + (f", but plans: {', '.join(plans)}" if plans else "" if there else " yet"),
        why=f"each plan has a line in it: {'its lines were' if there else 'it was moved away or'} removed"
        if plans
        else "",
        remedy="restore it from a copy" if plans else "forescale plan writes its first line",
        file=space.ledger,
    )


def _not_held(space: Workspace, view: LedgerView) -> list[str]:
    """Plans, seals and outcomes of the workspace that have no line."""
    seals = _seals(space)
    plans = sorted(set(_plans(space)) - {entry.plan for entry in view.entries})
    runs = sorted(seals[digest] for digest in seals.keys() - {entry.digest for entry in view.entries})
    open_ = seals.keys() & {entry.digest for entry in view.entries if entry.outcome is None}
    ended = sorted(seals[digest] for digest in open_ if _ended(space.run(seals[digest])))
    warnings = []
    if plans or runs:
        gone = [f"plans ({', '.join(plans)})"] if plans else []
        gone += [f"seals of runs ({', '.join(runs)})"] if runs else []
        warnings.append(
            f"the ledger does not hold {' and '.join(gone)} of this workspace; each has one when it begins, so lines "
            "were removed (a chain that was cut at its end looks intact), or they were copied here"
        )
    if ended:
        warnings.append(
            f"the ledger has no outcome of {', '.join(ended)}, which ended: its line was removed (a chain that was cut "
            "at its end looks intact) or never written; forescale pretrain of the same plan writes it again"
        )
    return warnings


def _ended(run: Path) -> bool:
    """Whether a run was finished and scored."""
    try:
        last = json.loads((run / "record.json").read_bytes())[-1]
        return bool(last["status"] == "finished" and last["validation"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _plans(space: Workspace) -> list[str]:
    return sorted(file.parent.name for file in space.root.glob("plans/*/plan.json"))


def _seals(space: Workspace) -> dict[str, str]:
    """Digest of each run's seal -> the run, from the specs that the runs were started with."""
    seals: dict[str, str] = {}
    for file in sorted(space.root.glob("runs/*/spec.json")):
        try:
            seal = json.loads(file.read_bytes()).get("seal")
        except (ValueError, AttributeError):
            continue  # a damaged spec is another verb's matter
        if seal:
            seals[seal] = file.parent.name
    return seals
