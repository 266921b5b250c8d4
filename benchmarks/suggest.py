"""Does `ladder suggest` buy a forecast for less compute than a uniform grid? A replay on public grids.

    python -m benchmarks.suggest [--json | --write]

The harness owns the losses and hands out only those that were bought. Both ways begin with the three cheapest budgets.
The uniform grid then buys whole budgets, the cheapest first; `suggest` buys what it proposes among the same rows. The
target is the largest run of the set's largest budget, never for sale, nor anything within 5x of it. Reported: compute
bought until the interval is as narrow as the uniform grid's at each of its stages, and the error of both there.
"""

from __future__ import annotations

import json
import math
import sys
import warnings as python_warnings
from dataclasses import dataclass, field
from typing import Any

from benchmarks.page import write
from forescale.base.errors import ForescaleError
from forescale.base.runtime import test_data
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.suggest import suggest
from forescale.scaling.table import RunTable, read_runs

SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "porian, tuned": (
        "porian_isoflop_refinedweb.csv",
        {"where": ["hparams=tuned", "param_count=standard"], "columns": ["budget=budget_flops"]},
    ),
    "gadre, C4": (
        "gadre_overtrain_c4_rpj.csv",
        {"where": ["train_set=c4_original"], "columns": ["loss=loss_c4_val"], "scale": "N2"},
    ),
}
APART = 5.0
"""The target's compute over the dearest run for sale."""
START_BUDGETS = 3
AT_A_TIME = 1


@dataclass
class Shop:
    """All runs of a set; what was bought, and what it cost."""

    table: RunTable
    target: int
    bought: set[int] = field(default_factory=set)

    @property
    def for_sale(self) -> list[int]:
        """Runs not bought yet and far enough below the target."""
        top = self.table.flops[self.target] / APART
        return [i for i in range(len(self.table)) if i not in self.bought and self.table.flops[i] <= top]

    @property
    def spent(self) -> float:
        """FLOPs of all that was bought."""
        return float(sum(self.table.flops[i] for i in self.bought))

    def rows(self, index: list[int]) -> list[dict[str, float]]:
        """Size and tokens, no losses."""
        size = "flops_per_token" if self.table.scale == "M" else "params"
        return [{size: float(self.table.size[i]), "tokens": float(self.table.tokens[i])} for i in index]

    def laws(self) -> Any:
        """The laws of what was bought."""
        index = sorted(self.bought)
        rows = [
            row | {"loss": float(self.table.loss[i]), "budget": float(self.table.budget[i])}
            for row, i in zip(self.rows(index), index, strict=True)
        ]
        return fit(rows, scale=None if self.table.scale == "M" else self.table.scale)

    def look(self) -> dict[str, float] | None:
        """Width and error of the target's forecast from what was bought; None where it cannot be fitted yet."""
        try:
            laws = self.laws()
            made = forecast(
                laws, model_scale=float(self.table.size[self.target]), tokens=float(self.table.tokens[self.target])
            )
        except ForescaleError:
            return None
        if made.width is None:
            return None
        error = made.loss / float(self.table.loss[self.target]) - 1
        return {"spent": self.spent, "runs": len(self.bought), "width": made.width, "error": error}


def open_shop(file: str, options: dict[str, Any]) -> Shop:
    folder = test_data()
    if folder is None:
        raise SystemExit("set FORESCALE_TEST_DATA to the folder that holds scaling/")
    table = read_runs(folder / "scaling" / file, **options)
    top = table.budget.max()
    at_top = [i for i in range(len(table)) if table.budget[i] == top]
    shop = Shop(table, min(at_top, key=lambda i: table.loss[i]))
    budgets = sorted({float(b) for b in table.budget})
    count = START_BUDGETS
    while True:
        shop.bought = {i for i in shop.for_sale if table.budget[i] <= budgets[count - 1]} | shop.bought
        if len(shop.bought) >= 10 or count == len(budgets):
            return shop
        count += 1


def uniform(shop: Shop) -> list[dict[str, float]]:
    stages = []
    for budget in [None, *sorted({float(b) for b in shop.table.budget})]:
        if budget is not None:
            fresh = [i for i in shop.for_sale if shop.table.budget[i] == budget]
            if not fresh:
                continue
            shop.bought |= set(fresh)
        seen = shop.look()
        if seen is not None:
            stages.append(seen)
    return stages


def suggested(shop: Shop) -> list[dict[str, float]]:
    stages = []
    target = float(shop.table.flops[shop.target])
    while True:
        seen = shop.look()
        if seen is not None:
            stages.append(seen)
        open_ = shop.for_sale
        if not open_:
            return stages
        try:
            chosen = suggest(
                shop.laws(),
                target,
                tokens=float(shop.table.tokens[shop.target]),
                candidates=shop.rows(open_),
                n_runs=AT_A_TIME,
            ).runs
        except ForescaleError:
            chosen = []
        if not chosen:
            return stages
        shop.bought |= {open_[run.row - 1] for run in chosen if run.row is not None}


def compare(name: str, file: str, options: dict[str, Any]) -> dict[str, Any]:
    grid, ours = uniform(open_shop(file, options)), suggested(open_shop(file, options))
    rows = []
    lows = [s for k, s in enumerate(grid) if k and s["width"] < min(g["width"] for g in grid[:k])]
    for stage in lows:  # both ways are judged by when a width is first reached
        reached = next((s for s in ours if s["width"] <= stage["width"]), None)
        rows.append(
            {
                "width": stage["width"],
                "uniform_flops": stage["spent"],
                "uniform_error": stage["error"],
                "suggested_flops": None if reached is None else reached["spent"],
                "suggested_error": None if reached is None else reached["error"],
                "ratio": None if reached is None else reached["spent"] / stage["spent"],
            }
        )
    ratios = [r["ratio"] for r in rows if r["ratio"] is not None]
    mean = math.exp(sum(math.log(r) for r in ratios) / len(ratios)) if ratios else None
    return {"set": name, "stages": rows, "mean_ratio": mean, "suggested": ours, "uniform": grid}


def main() -> None:
    python_warnings.simplefilter("ignore")
    results = [compare(name, *arguments) for name, arguments in SETS.items()]
    if "--json" in sys.argv:
        print(json.dumps(results))
        return
    lines = [
        "| set | width of the 90% interval % | uniform: FLOPs | error % | suggested / uniform | error % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        for row in result["stages"]:
            ours = (
                " never | |" if row["ratio"] is None else f" {row['ratio']:.2f} | {100 * row['suggested_error']:+.2f} |"
            )
            lines.append(
                f"| {result['set']} | {100 * row['width']:.2f} | {row['uniform_flops']:.2e} |"
                f" {100 * row['uniform_error']:+.2f} |{ours}"
            )
    means = ", ".join(f"{r['set']} {r['mean_ratio'] or math.nan:.2f}" for r in results)
    lines += ["", f"Compute for one width, suggested / uniform, geometric mean over the stages: {means}."]
    print("\n".join(lines))
    if "--write" in sys.argv:
        write("suggest", lines)


if __name__ == "__main__":
    main()
