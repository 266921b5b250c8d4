"""Runs from which nothing can be suggested, because no law can be fitted to them: what to run first is said here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.errors import InputError

if TYPE_CHECKING:
    from forescale.scaling.table import RunTable

FEWEST_RUNS = 4
"""Different runs below which no law stands."""
ONE_BUDGET = 1.25
"""Compute within this factor is one budget, as in the fit."""


def refuse_few(table: RunTable, file: Path | None) -> None:
    """Too few different runs for any law: the fit's own remedy would be this very verb."""
    cells = {(round(float(m), 3), round(float(d), 3)) for m, d in zip(table.size, table.tokens, strict=True)}
    if len(cells) >= FEWEST_RUNS:
        return
    top = int(table.flops.argmax())
    size, tokens = float(table.size[top]), float(table.tokens[top])
    wanted = [(size * f, tokens * g) for f, g in ((0.5, 0.5), (0.5, 2.0), (2.0, 0.5), (0.25, 0.25))]
    words = ", ".join(f"{table.scale} {m:.2g} on {d:.2g} tokens" for m, d in wanted)
    raise InputError(
        f"{len(cells)} different runs show no law, and the next runs are chosen by laws",
        why=f"at least {FEWEST_RUNS} sizes and token counts are needed before one is fitted, 5 for a loss surface",
        remedy=f"run some of these, smaller and larger around the largest run: {words}; then ask again",
        file=file,
    )


def refuse_one_budget(table: RunTable, file: Path | None) -> None:
    """Runs of one compute show no law that could say what to run next; which budgets would, is said here."""
    from forescale.scaling.ladder import rungs

    low, high = (float(end) for end in (table.flops.min(), table.flops.max()))
    if high > ONE_BUDGET * low:
        return
    best = float(table.size[table.loss.argmin()])
    *cheaper, _ = rungs(high)
    words = ", ".join(f"{flops:.2g} ({table.scale} about {best * (flops / high) ** 0.5:.2g})" for flops in cheaper)
    raise InputError(
        f"all runs are of one compute, {high:.3g} FLOPs: nothing shows how the loss falls with it",
        why="the next runs are chosen by laws, and laws need budgets to go along",
        remedy=f"run the best size of each of these FLOPs, half and double it: {words}; then ask again",
        file=file,
    )
