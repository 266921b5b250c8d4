"""`plan` asked for several plans at once, or beside kept ones: one table, and nothing of it kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forescale.base.errors import ArtifactError
from forescale.base.records.plan import Plan, Plans
from forescale.project.laws_verbs import workspace_or_none
from forescale.project.plan_verb import facts, measured_seconds, plan_verb
from forescale.project.workspace import Workspace

ASKING = ("flops", "tokens", "days", "minutes", "money", "recipe", "shape")
"""Options that ask for a plan. None of them, and kept plans named: only those are set side by side."""


def plan_or_plans(*, beside: Sequence[str | Path] = (), out: Path | None = None, **options: Any) -> Plan | Plans:
    """One plan, kept; or `plans_verb` where an option has several values or kept plans are named beside it."""
    from forescale.scaling.plans import SEVERAL

    single = dict(options)
    for key in SEVERAL:
        if _list(single.get(key)) and len(single[key]) == 1:
            single[key] = single[key][0]
    if beside or any(_list(single.get(key)) for key in SEVERAL):
        return plans_verb(beside=beside, out=out, **single)
    return plan_verb(out=out, **single)


def plans_verb(
    *,
    beside: Sequence[str | Path] = (),
    out: Path | None = None,
    workspace: Path | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Plans:
    """A plan for each combination of the values given, beside kept ones (names, files, or folders of plans).

    They are there to choose from: none is kept in the workspace or entered in its ledger. `out` gets them all.
    """
    from forescale.scaling.plans import combinations

    space = workspace_or_none(workspace)
    names, made = [], []
    if not beside or any(options.get(key) for key in ASKING):
        if options.get("minutes") and options.get("seconds_per_token") is None:
            options["seconds_per_token"] = _one_clock(space, overrides, options)
        for name, one in combinations(options):
            plan = plan_verb(workspace=workspace, overrides=overrides, kept=False, **one)
            made.append(plan)
            names.append(name or "asked")
    for asked in beside:
        for name, plan in kept_plans(asked, space):
            names.append(name)
            made.append(plan)
    together = Plans(plans=made, names=names)
    if out is not None:
        together.write(out)
    return together


def kept_plans(asked: str | Path, space: Workspace | None) -> list[tuple[str, Plan]]:
    """Name and content of a kept plan, or of all plans in a folder of them."""
    path = Path(asked)
    if not path.exists() and space is not None and space.plan(str(asked)).exists():
        path = space.plan(str(asked))
    if path.is_dir():
        inside = [path / "plan.json"] if (path / "plan.json").exists() else sorted(path.glob("*/plan.json"))
        if inside:
            return [(file.parent.name, Plan.read(file)) for file in inside]
    elif path.exists():
        return [(path.parent.name if path.name == "plan.json" else path.stem, Plan.read(path))]
    here = sorted(file.parent.name for file in space.root.glob("plans/*/plan.json")) if space is not None else []
    raise ArtifactError(
        f"there is no plan `{asked}`",
        why="it is neither a plan of this workspace nor a plan's file or folder",
        remedy=f"plans here: {', '.join(here)}" if here else "forescale plan --out FILE makes one",
        file=path,
    )


def _one_clock(space: Workspace | None, overrides: Sequence[str], options: Mapping[str, Any]) -> Any:
    """This machine timed once for all plans: they are to differ by what was asked, not by the hour they were timed."""
    minutes = options["minutes"] if _list(options["minutes"]) else [options["minutes"]]
    middle = math.exp(sum(math.log(value) for value in minutes) / len(minutes))
    return measured_seconds(middle, facts(space, overrides, options.get("recipe")).model, options.get("shape") or {})


def _list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
