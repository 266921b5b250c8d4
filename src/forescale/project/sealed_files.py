"""Files of a workspace that are not what the ledger's lines say of them: plans, and what runs reached."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from forescale.base.errors import ArtifactError
from forescale.base.records.ledger import ChangedFile, LedgerLine
from forescale.base.records.loss import LossSum
from forescale.base.records.plan import Plan
from forescale.project.workspace import Workspace

ROUNDING = 1e-9
"""What two ways to add up the same numbers may differ by."""
WHY = "a plan or an outcome is what its line says, or its forecast proves nothing"


def changed_files(space: Workspace, lines: Sequence[LedgerLine]) -> list[ChangedFile]:
    """Every such file with the line that it does not match; what has no line at all is `ledger_verb`'s matter."""
    plans = [changed_plan(file, lines) for file in sorted(space.root.glob("plans/*/plan.json"))]
    return [*(c for c in plans if c is not None), *_changed_runs(space, lines)]


def changed_plan(file: Path, lines: Sequence[LedgerLine]) -> ChangedFile | None:
    """A plan's file whose hash neither its last `planned` nor its last `sealed` line has; None: one has, or no line.

    The hash is of the file's own JSON, so that a version that knows more fields finds no change where there is none.
    """
    name = file.parent.name
    last = {line.kind: line for line in lines if line.plan == name and line.kind in ("planned", "sealed")}
    if not last:
        return None
    newest = max(last.values(), key=lambda line: line.n)
    try:
        digest = Plan.digest_of(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        digest = ""
    if digest in {line.plan_sha256 for line in last.values()}:
        return None
    how = "cannot be read" if not digest else "is not the plan"
    return ChangedFile(
        file=str(file), line=newest.n, what=f"{file} {how} that line {newest.n} of the ledger {newest.kind}"
    )


def _changed_runs(space: Workspace, lines: Sequence[LedgerLine]) -> list[ChangedFile]:
    """record.json of runs that have outcomes in the ledger, of which their records have none."""
    found = []
    for run, first in {line.run: line for line in reversed(lines) if line.kind == "outcome" and line.run}.items():
        file = space.run(str(run)) / "record.json"
        answers = [line for line in lines if line.kind == "outcome" and line.seal == first.seal]
        if file.exists() and not _reached(file, answers):
            said = "cannot be read" if (reached := _losses(file, first.unit)) is None else _said(reached, first)
            found.append(ChangedFile(file=str(file), line=first.n, what=f"{file} {said}"))
    return found


def _said(reached: list[tuple[float, float]], line: LedgerLine) -> str:
    """What the records say and what the line says; compute too where the losses alone are the same."""
    same = any(line.outcome is not None and math.isclose(loss, line.outcome, rel_tol=ROUNDING) for loss, _ in reached)
    own = ", ".join(f"{loss:.6g}" + (f" at {flops:.9g} FLOPs" if same else "") for loss, flops in reached)
    sealed = f"{line.outcome:.6g}" + (f" at {line.flops_done:.9g} FLOPs" if same and line.flops_done else "")
    return f"says {own or 'no loss'}, line {line.n} of the ledger has the outcome {sealed}"


def _reached(file: Path, answers: Sequence[LedgerLine]) -> bool:
    """Whether a record has the loss, and the FLOPs where the line says them, of one of a seal's outcomes."""
    for line in answers:
        for loss, flops in _losses(file, line.unit) or []:
            same = line.outcome is not None and math.isclose(loss, line.outcome, rel_tol=ROUNDING)
            if same and (line.flops_done is None or math.isclose(flops, line.flops_done, rel_tol=ROUNDING)):
                return True
    return False


def _losses(file: Path, unit: str) -> list[tuple[float, float]] | None:
    """(loss, FLOPs) of a run's finished branches; None: the file is no list of records."""
    from forescale.base.records.run import RunRecord

    try:
        records = [RunRecord.model_validate(fields) for fields in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None
    scored = [(record.validation, record.flops) for record in records if record.validation is not None]
    return [(_in(unit, loss), flops) for loss, flops in scored]


def _in(unit: str, loss: LossSum) -> float:
    return loss.nats_per_token if unit == "nats_per_token" else loss.bits_per_byte


def refusal(changed: Sequence[ChangedFile]) -> ArtifactError:
    """The error (exit 4) of files that were changed."""
    first, more = changed[0], len(changed) - 3
    return ArtifactError(
        "; ".join(one.what for one in changed[:3]) + (f"; and {more} more" if more > 0 else ""),
        why=f"it was edited after its line was written: {WHY}",
        remedy="restore it from a copy; a new plan is made by forescale plan, under its own line",
        file=first.file,
        line=first.line,
    )
