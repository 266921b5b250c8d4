"""The ladder that goes on by itself: fit, ask what to run next, run it, until the forecast is sharp enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forescale.base.errors import InputError
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.suggestion import SuggestedRun
from forescale.scaling.ladder import trunk_tokens

if TYPE_CHECKING:
    from forescale.project.ladder import Progress
    from forescale.project.project import Project


def run_until(
    project: Project, name: str, *, target: float, width: float, allowance: float, progress: Progress | None
) -> LadderSummary:
    """Run `name`'s grid, then the suggested runs, until the target's interval is `width` (a fraction) or narrower.

    Stops when the next run would pass `allowance` FLOPs in all. Every round's runs are rows of the same table.
    """
    from forescale.project.ladder import grounds, run_ladder, run_specs
    from forescale.project.project import budgets_for
    from forescale.scaling.fit import fit
    from forescale.scaling.forecast import forecast
    from forescale.scaling.ladder import suggested_spec
    from forescale.scaling.suggest import suggest

    summary = run_ladder(project, name, budgets=budgets_for(project.recipe.ladder.budgets, target), progress=progress)
    spent = summary.total_flops
    if spent > allowance:
        raise InputError(
            f"the grid alone took {spent:.3g} FLOPs, more than the allowance of {allowance:.3g}",
            remedy="raise --allowance, or set smaller [ladder] budgets",
            key="allowance",
        )
    base = grounds(project, name)
    rounds = 0
    while True:
        laws = fit(summary.table)
        now = forecast(laws, flops=target).width
        if now is not None and now <= width:
            return summary.model_copy(
                update={"total_flops": spent, "note": f"interval {now:.2%} after {rounds} rounds"}
            )
        wanted: list[SuggestedRun] = suggest(laws, target).runs
        specs = [suggested_spec(run, base, seed=1_000_000 + 1000 * rounds + k) for k, run in enumerate(wanted)]
        affordable, price = [], 0.0
        for spec in specs:
            cost = trunk_tokens(spec) * spec.shape.flops_per_token
            if spent + price + cost <= allowance:
                affordable.append(spec)
                price += cost
        if not affordable:
            words = "no interval" if now is None else f"interval {now:.2%}"
            note = f"{words} when the allowance was spent: {spent:.3g} of {allowance:.3g} FLOPs"
            return summary.model_copy(update={"total_flops": spent, "note": note})
        summary = run_specs(project, name, affordable, summary, progress)
        spent += price
        rounds += 1
