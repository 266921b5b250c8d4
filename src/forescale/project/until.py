"""The ladder that goes on by itself: fit, ask what to run next, run it, until the forecast is sharp enough.

It stops when the width is reached, when what is left of the allowance buys no run that helps, and when two rounds
narrowed nothing: whatever is spent then, the forecast does not become sharper by it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.artifact import reseal
from forescale.base.errors import InputError
from forescale.base.records.ladder import LadderSummary, Round
from forescale.project.rounds import Rounds, stalled, trust
from forescale.project.spent import counted, flops_by_trunk
from forescale.scaling.ladder import trunk_flops

if TYPE_CHECKING:
    from forescale.base.records.laws import Laws
    from forescale.base.records.spec import RunSpec
    from forescale.base.records.suggestion import Suggestion
    from forescale.project.ladder import Progress
    from forescale.project.project import Project
    from forescale.scaling.ladder import Grounds


def run_until(
    project: Project, name: str, *, target: float, width: float, allowance: float, progress: Progress | None
) -> LadderSummary:
    """Run `name`'s grid, then the suggested runs, until the target's interval is `width` (a fraction) or narrower.

    `allowance`: FLOPs in all, of the grid and every round, those of earlier and killed calls too. Every round's runs
    are rows of the same table.
    """
    from forescale.project.ladder import grounds, run_ladder
    from forescale.project.project import budgets_for

    budgets = budgets_for(project.recipe.ladder.budgets, target)
    grid = run_ladder(project, name, budgets=budgets, dry_run=True).total_flops
    if grid > allowance:
        raise InputError(
            f"the grid alone takes {grid:.3g} FLOPs, more than the allowance of {allowance:.3g}",
            remedy="raise --allowance, or set smaller [ladder] budgets",
            key="allowance",
        )
    summary = run_ladder(project, name, budgets=budgets, progress=progress)
    folder = project.workspace.ladder(name)
    loop = _Loop(project, name, folder, grounds(project, name), target, width, allowance, progress)
    return loop.run(summary)


class _Loop:
    """One call: the same ladder, target and allowance throughout."""

    def __init__(
        self, project: Project, name: str, folder: Path, base: Grounds, target: float, width: float, allowance: float,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.project, self.name, self.folder, self.base = project, name, folder, base
        self.target, self.width, self.allowance, self.progress = target, width, allowance, progress
        self.rounds = Rounds.of(folder)
        self.said: set[str] = set()

    def run(self, summary: LadderSummary) -> LadderSummary:
        """Rounds until there is a reason to stop, which becomes the summary's note."""
        from forescale.scaling.fit import fit

        while True:
            begun = self.rounds.open
            if begun is not None:
                rest = self._unspent(begun.specs)
                if summary.total_flops + rest > self.allowance:
                    words = f"a round was begun that takes {rest:.3g} more FLOPs"
                    return self._end(summary, f"{words}; {self._bill(summary)}: raise --allowance to end it")
                summary = self._run(begun.specs, summary)
            laws = fit(self.folder / "runs.csv")
            if begun is not None:
                self._close(begun.round, _width(laws, begun.round.target_flops))
            summary = self._end(summary, "")
            now = _width(laws, self.target)
            asked, why = self._next(laws, now, summary)
            if asked is None:
                return self._end(summary, f"{'no interval' if now is None else f'interval {now:.2%}'}: {why}")
            self._plan(asked)

    def _next(self, laws: Laws, now: float | None, summary: LadderSummary) -> tuple[Suggestion | None, str]:
        """What to run next, or why nothing."""
        from forescale.scaling.suggest import suggest

        mine = [r for r in self.rounds.all if r.target_flops == self.target]
        if now is not None and now <= self.width:
            return None, f"as narrow as was asked, after {len(mine)} rounds; {self._bill(summary)}"
        still = stalled(mine, self.allowance)
        if still:
            return None, f"{_stalled_words(still, laws)}; {self._bill(summary)}"
        left = self.allowance - summary.total_flops
        if left <= 0:
            return None, f"the allowance is spent: {self._bill(summary)}"
        asked = suggest(laws, self.target, allowance=left, until=self.width, grounds=self.base, trust=trust(mine))
        self._warn(asked.warnings[:-1] if not asked.runs else asked.warnings)
        return (asked, "") if asked.runs else (None, f"{asked.warnings[-1]}; {self._bill(summary)}")

    def _plan(self, asked: Suggestion) -> None:
        """Keep the round before any of its runs starts."""
        from forescale.project.ladder import read_rows
        from forescale.scaling.ladder import suggested_spec

        budgets = {float(row["budget"]) for row in read_rows(self.folder / "runs.csv") if row["budget"]}
        number, specs = len(self.rounds.planned), []
        for k, run in enumerate(asked.runs):
            spec = suggested_spec(run, self.base, sorted(budgets), seed=1_000_000 + 1000 * number + k)
            budgets.update(spec.budgets)
            specs.append(spec)
        planned = Round(
            target_flops=self.target, allowance=self.allowance, width_before=asked.width_now,
            expected=asked.width_expected, promised=asked.width_after, flops=sum(map(trunk_flops, specs)),
            runs=tuple(spec.name for spec in specs),
        )  # fmt: skip
        self.rounds = self.rounds.plan(planned, specs)
        self.rounds.keep(self.folder)
        words = f"round {number + 1}: {len(specs)} runs, {planned.flops:.3g} FLOPs; interval {planned.width_before:.2%}"
        discount = f" ({planned.expected:.2%} by the laws alone)" if planned.expected < planned.promised else ""
        _say(f"{words} now, {planned.promised:.2%} promised{discount}")

    def _run(self, specs: Sequence[RunSpec], summary: LadderSummary) -> LadderSummary:
        from forescale.project.ladder import run_specs

        return run_specs(self.project, self.name, specs, summary, self.progress)

    def _close(self, done: Round, width: float | None) -> None:
        """Promise beside what came."""
        self.rounds = self.rounds.end(width)
        self.rounds.keep(self.folder)
        came = "no interval" if width is None else f"{width:.2%}"
        _say(
            f"round {len(self.rounds.planned)}: interval {done.width_before:.2%} before, {done.promised:.2%} promised,"
            f" {came} came"
        )

    def _unspent(self, specs: Sequence[RunSpec]) -> float:
        """FLOPs that are still to be spent on these runs."""
        from forescale.project.ladder import read_rows

        spent = flops_by_trunk(self.folder, read_rows(self.folder / "runs.csv"))
        return sum(max(0.0, trunk_flops(spec) - spent.get(spec.name, 0.0)) for spec in specs)

    def _end(self, summary: LadderSummary, note: str) -> LadderSummary:
        """The summary of all runs, in the manifest too: so far a killed call loses nothing."""
        made = counted(self.folder, summary).model_copy(update={"note": note, "rounds": self.rounds.all})
        reseal(self.folder, made.to_json())
        return made

    def _bill(self, summary: LadderSummary) -> str:
        return f"{summary.total_flops:.3g} of {self.allowance:.3g} FLOPs spent"

    def _warn(self, texts: Sequence[str]) -> None:
        """Each warning once a call."""
        for text in texts:
            if text not in self.said:
                self.said.add(text)
                print(f"warning: {text}", file=sys.stderr)


def _stalled_words(still: Sequence[Round], laws: Laws) -> str:
    promised = " and ".join(f"{r.promised:.2%}" for r in still)
    if any(text.startswith("the self-check failed") for text in laws.warnings):
        advice = (
            "the new runs came out otherwise than the smaller ones forecast (the self-check failed), which widens it"
        )
    elif laws.regime == "scaling":
        advice = "what is left is noise, or what only runs nearer to the target take away"
    elif laws.regime == "pre-scaling":
        advice = "the ladder is not on the curve: set larger [ladder] budgets, or a smaller vocabulary"
    else:
        advice = "it is not known that the ladder is on the curve: larger [ladder] budgets would tell"
    return (
        f"stopped, since {len(still)} rounds promised {promised} and did not narrow it (it was"
        f" {still[0].width_before:.2%}); {advice}; a larger --allowance goes on all the same"
    )


def _width(laws: Laws, target: float) -> float | None:
    from forescale.scaling.forecast import forecast

    return forecast(laws, flops=target).width


def _say(text: str) -> None:
    print(f"ladder: {text}", file=sys.stderr)
