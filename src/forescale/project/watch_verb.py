"""`watch` in a workspace: a run by its name, and its sealed forecast brought to the loss that its log has."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forescale.base.errors import ForescaleError
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.project.laws_verbs import workspace_or_none
from forescale.project.workspace import Workspace

if TYPE_CHECKING:
    from forescale.base.records.watch import Watch

FEWEST = 4
"""Runs of the ladder that must tell how far validation lies above training."""
Z90 = 1.645


def watch_verb(
    run: Path,
    *,
    total_steps: int | None = None,
    level: float = 0.9,
    metric: str | None = None,
    columns: Sequence[str] = (),
    schedule: str | None = None,
    workspace: Path | None = None,
) -> Watch:
    """The final loss of a training that goes on, from its curve so far; a sealed run is held to its sealed interval.

    The seal is of the validation loss and the log has the training loss: the band is brought over by how far the two
    lay apart at the ends of the workspace's ladder runs, and widened by how much that differed between them. `run`: a
    run's name, or a path from here or from the workspace; one that was named is looked in first.
    """
    from forescale.scaling.watch import watch

    space = workspace_or_none(workspace)
    run = _which(run, space, named=workspace is not None)
    options: dict[str, Any] = {
        "total_steps": total_steps, "level": level, "columns": columns, "schedule": schedule,
    }  # fmt: skip
    sealed = None if columns else _sealed(run, space)
    if sealed is None or space is None:
        return watch(run, metric=metric, **options)
    unit, interval = sealed
    metric = metric or ("bpb" if unit == "bpb" else "loss")
    if (metric == "bpb") != (unit == "bpb"):
        return watch(run, metric=metric, **options)
    gaps = _gaps(space, metric)
    if len(gaps) < FEWEST:
        seen = watch(run, metric=metric, **options)
        told = (
            f"the sealed interval {interval[0]:.4g} to {interval[1]:.4g} is of the validation loss, the curve is the "
            "training loss, and too few ladder runs are here to tell how far the two lie apart: not compared"
        )
    else:
        over, sd = float(np.median(gaps[-max(FEWEST, len(gaps) // 3) :])), float(np.std(gaps))
        centre = 0.5 * (math.log(interval[0]) + math.log(interval[1])) - over
        half = math.hypot(0.5 * math.log(interval[1] / interval[0]), Z90 * sd)
        band = (math.exp(centre - half), math.exp(centre + half))
        seen = watch(run, metric=metric, interval=band, **options)
        told = (
            f"the band is the sealed interval of the validation loss, {interval[0]:.4g} to {interval[1]:.4g}, brought "
            f"to the training loss: validation lay {100 * math.expm1(over):.1f}% above it (sd {100 * sd:.1f}) in "
            f"{len(gaps)} ladder runs"
        )
    return seen.model_copy(update={"warnings": [*seen.warnings, told]})


def _which(run: Path, space: Workspace | None, *, named: bool) -> Path:
    """The folder or log that is meant; the path as it is where there is none."""
    inside = [] if space is None else [space.root / run, space.run(str(run))]
    places = [*inside, run] if named else [run, *inside]
    return next((place for place in places if place.exists()), run)


def _sealed(run: Path, space: Workspace | None) -> tuple[str, tuple[float, float]] | None:
    """Unit and interval of the forecast that was sealed for a run's folder; None where there is none."""
    from forescale.scaling.ledger import Ledger

    spec = (run if run.is_dir() else run.parent) / "spec.json"
    if space is None or not spec.exists() or not space.ledger.exists():
        return None
    seal = RunSpec.read(spec).seal
    for line in Ledger(space.ledger).read().lines:
        if line.kind == "sealed" and line.digest == seal and line.interval is not None:
            return line.unit, line.interval
    return None


def _gaps(space: Workspace, metric: str) -> list[float]:
    """ln(validation / training loss) at the ends of finished ladder runs, in the order of their compute."""
    from forescale.scaling.logs import read_curve
    from forescale.scaling.watch import recent_loss

    found = []
    for folder in space.root.glob("ladders/*/runs/*"):
        try:
            record = RunRecord.model_validate(json.loads((folder / "record.json").read_bytes())[-1])
            curve = read_curve(folder, metric=metric)
        except (OSError, ValueError, IndexError, ForescaleError):
            continue  # not begun, not finished, or damaged: the ladder's matter
        if record.status == "finished" and record.validation is not None:
            loss = record.validation.bits_per_byte if metric == "bpb" else record.validation.nats_per_token
            found.append((record.tokens * record.shape.flops_per_token, math.log(loss / recent_loss(curve))))
    return [gap for _, gap in sorted(found)]
