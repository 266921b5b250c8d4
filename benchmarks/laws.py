"""`make bench-laws`: forecast skill on public ladders, each step's worth, and published results beside ours.

Cuts: fit on the runs with at most 1/10, 1/30, 1/100 of a suite's largest compute, forecast all others. The tails of the
intervals are calibrated on the other families only (leave one family out). Writes docs/laws.md between its markers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cuts import CUTS, cells_of, split
from benchmarks.intervals import downward_table, intervals_table, quantiles, score, steps_table
from benchmarks.page import write
from benchmarks.suites import Suite, load_all
from forescale.base.runtime import test_data as data_folder
from forescale.scaling.belief import believed
from forescale.scaling.core import fit_core
from forescale.scaling.ensemble import (
    BEND,
    GENERALISED,
    MEMBERS,
    WHOLE,
    fit_members,
    mean_log_loss,
    member_weights,
)
from forescale.scaling.fit import fit
from forescale.scaling.noise import DEFAULT_SD, Cells, NoiseLaw
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.predictive import centre_of
from forescale.scaling.surfaces import Form

Array = npt.NDArray[np.float64]


# --- point forecasts: ours, the published way, and each step between --------------------------------------------------

OURS = "+ correction away from the best split (ours)"
FRONTIER = tuple(m for m in MEMBERS if m != WHOLE)
FREE = {"floor": (0.65, 10.0), "exponent": (0.35, 10.0)}
STEPS: dict[str, tuple[Form, ...]] = {
    "+ weak priors": (Form("priors", "", power=0.0, closeness=0.0),),
    "+ weights C/C_max": (Form("weights", "", power=1.0, closeness=0.0),),
    "+ generalised form": (Form("general", "", power=1.0, closeness=0.0, bend=BEND),),
    "+ weights by closeness in loss": (GENERALISED,),
    "+ quadrature form, mean of both": FRONTIER,
    "+ the whole ladder's fit, as far as it is believed": MEMBERS,
    "(without priors and that correction, the generalised form alone)": (replace(GENERALISED, **FREE),),
}


def published_way(cells: Cells, size: Array, tokens: Array) -> Array:
    surface = fit_chinchilla(cells.size, cells.tokens, cells.loss)
    return np.array([surface.loss(float(n), float(d)) for n, d in zip(size, tokens, strict=True)])


def forms_way(forms: tuple[Form, ...]) -> Callable[[Cells, Array, Array], Array]:
    def predict(cells: Cells, size: Array, tokens: Array) -> Array:
        fitted = fit_members(cells, forms)
        weights = member_weights(fitted, believed(cells, fitted))
        return np.exp(mean_log_loss(fitted, size, tokens, weights)[0])

    return predict


def whole_way(cells: Cells, size: Array, tokens: Array) -> Array:
    """All of it, the correction away from the best split included."""
    noise = NoiseLaw(DEFAULT_SD, 0.0, float(cells.flops.max()), measured=False)
    predictive = fit_core(cells, noise, n_draws=2).predictive
    return np.exp([centre_of(predictive, float(n), float(d)) for n, d in zip(size, tokens, strict=True)])


def point_table(suites: list[Suite]) -> list[str]:
    ways = {"published: Chinchilla's form, Huber 1e-3": published_way}
    ways |= {name: forms_way(forms) for name, forms in STEPS.items()}
    ways[OURS] = whole_way
    lines = [
        "| mean error % (of the top run alone) | 10x | 30x | 100x |", "| --- | --- | --- | --- |"
    ]  # fmt: skip
    by_suite: dict[str, dict[str, list[float]]] = {}
    for name, way in ways.items():
        cells_text = []
        for cut in CUTS:
            errors, tops = [], []
            for suite in suites:
                keep = split(suite, cut)
                if keep is None:
                    continue
                error = 100 * (
                    way(cells_of(suite, keep), suite.size[~keep], suite.tokens[~keep]) / suite.loss[~keep] - 1
                )
                errors.append(float(np.abs(error).mean()))
                tops.append(abs(float(error[suite.flops[~keep].argmax()])))
                by_suite.setdefault(suite.name, {}).setdefault(name, []).append(errors[-1])
            cells_text.append(f"{np.mean(errors):.2f} ({np.mean(tops):.2f})")
        lines.append(f"| {name} | " + " | ".join(cells_text) + " |")
    theirs = "published: Chinchilla's form, Huber 1e-3"
    lines += ["", "| suite: mean error % at 10x, 30x, 100x | published | ours |", "| --- | --- | --- |"]
    for suite_name, found in by_suite.items():
        lines.append(f"| {suite_name} | {_join(found[theirs])} | {_join(found[OURS])} |")
    return lines


def _join(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in values)


SETTINGS: dict[str, tuple[Any, ...]] = {
    "power": (0.5, 1.0), "closeness": (10.0, 16.0, 22.0), "floor": ((0.65, 0.1), (0.65, 0.2), (0.55, 0.1)),
    "exponent": ((0.23, 0.06), (0.23, 0.11), (0.35, 0.11)),
}  # fmt: skip
"""What the choice of weights and priors is made among, family by family."""


def chosen_elsewhere_table(suites: list[Suite]) -> list[str]:
    """Mean error where weights and priors are those that do best on the *other* families: what the choice is worth on a
    suite that had no say in it (both forms' mean, without the correction away from the best split)."""
    options = [dict(zip(SETTINGS, values, strict=True)) for values in product(*SETTINGS.values())]
    found: dict[tuple[str, int], Array] = {}
    for suite in suites:
        for cut in CUTS:
            if (keep := split(suite, cut)) is not None:
                cells = cells_of(suite, keep)
                ways = [forms_way(tuple(replace(m, **option) for m in FRONTIER)) for option in options]
                ahead = np.array([way(cells, suite.size[~keep], suite.tokens[~keep]) for way in ways])
                found[suite.name, cut] = 100 * np.abs(ahead / suite.loss[~keep] - 1).mean(axis=1)
    family = {suite.name: suite.family for suite in suites}
    rows: dict[str, list[str]] = {"chosen on the other families": [], "best choice with hindsight": []}
    for cut in CUTS:
        parts = {name: errors for (name, c), errors in found.items() if c == cut}
        picks = {
            name: int(sum(e / e.min() for (n, _), e in found.items() if family[n] != family[name]).argmin())
            for name in parts
        }
        rows["chosen on the other families"].append(f"{np.mean([parts[n][i] for n, i in picks.items()]):.2f}")
        rows["best choice with hindsight"].append(f"{np.mean(list(parts.values()), axis=0).min():.2f}")
    lines = [
        f"| mean error %, {len(options)} settings of weights and priors | 10x | 30x | 100x |",
        "| --- | --- | --- | --- |",
    ]
    return lines + [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]


# --- published results ------------------------------------------------------------------------------------------------


def published_table(folder: Path) -> list[str]:
    rows: list[tuple[str, float, float]] = []
    found = fit(folder / "chinchilla_points.csv", where=["epoch_outlier=0"], form="chinchilla")
    assert found.surface is not None
    rows += [
        ("Chinchilla points, 240 rows: Huber sum x 1e3", 1e3 * (found.surface.objective or 0), 1.018274018),
        ("... E", found.surface.E, 1.817218), ("... A", found.surface.A, 477.8258),
        ("... B", found.surface.B, 2143.417), ("... alpha", found.surface.alpha, 0.347310),
        ("... beta", found.surface.beta, 0.367172),
    ]  # fmt: skip
    porian = folder / "porian_isoflop_refinedweb.csv"
    for name, where, theirs in (
        ("base/long/kaplan count", ["hparams=base", "warmup=long", "decay=kaplan", "param_count=kaplan"], 0.835),
        ("standard count", ["hparams=base", "warmup=long", "param_count=standard"], 0.706),
        ("short warm-up", ["hparams=base", "warmup=short", "decay=kaplan"], 0.602),
        ("cosine", ["hparams=base", "warmup=short", "decay=chinchilla"], 0.571),
        ("tuned, constant", ["hparams=tuned", "param_count=standard"], 0.497),
    ):
        laws = fit(porian, where=where)
        assert laws.allocation is not None
        rows.append((f"Porian et al., {name}: N ~ C^a", laws.allocation.model_exponent, theirs))
    nanochat = folder / "nanochat_isoflop_optima.csv"
    for name, style, theirs in (
        ("projections and head", "kaplan_projections_plus_lm_head", 0.54), ("all", "chinchilla_all_params", 0.37),
        ("transformer only", "transformer_only", 0.70),
    ):  # fmt: skip
        said = f"nanochat, {name}: N ~ C^a by a line through their four optima (arithmetic, not `fit`)"
        rows.append((said, _line(nanochat, style), theirs))
    lines = ["| quantity | ours | published | difference |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {ours:.6g} | {theirs:.6g} | {ours - theirs:+.3g} |" for name, ours, theirs in rows]
    return lines + _gadre(folder)


def _line(path: Path, style: str) -> float:
    """Slope through optima that others have already found: arithmetic, and not what `fit` says. Its rows are runs, of
    which one a budget does not show the best size, and it counts compute as 6 N D."""
    from benchmarks.suites import read

    rows = [r for r in read(path) if r["style"] == style]
    x = np.log([float(r["budget_flops"]) for r in rows])
    y = np.log([float(r["effective_params"]) for r in rows])
    return float(np.polyfit(x, y, 1)[0])


def _gadre(folder: Path) -> list[str]:
    """Five small runs, then 1.4B at M = 640 and 6.9B at M = 20 (arXiv 2403.08540)."""
    from benchmarks.suites import gadre

    suite = gadre(folder, "rpj", "gadre RPJ")
    # The published five: four sizes at 20 tokens a parameter, and the smallest at 320.
    ratio = suite.tokens / suite.size
    small = suite.flops <= 2.4e19
    near = small & (np.abs(np.log(ratio / 20)) < 0.35)
    long = small & (np.abs(np.log(ratio / 320)) < 0.35) & (suite.size <= suite.size[small].min() * 1.01)
    five = near | long
    way = whole_way
    lines = []
    for name, index in (
        ("1.4B at M = 640", int(suite.flops.argsort()[-2])),
        ("6.9B at M = 20", int(suite.size.argmax())),
    ):
        if name.startswith("1.4B"):
            large = np.flatnonzero((suite.size > 1.2e9) & (suite.size < 1.7e9))
            index = int(large[suite.tokens[large].argmax()])
        target = np.array([index])
        error = float(way(cells_of(suite, five), suite.size[target], suite.tokens[target])[0] / suite.loss[index] - 1)
        theirs = 0.71 if name.startswith("1.4B") else 0.73
        lines.append(
            f"| Gadre et al., {name} from {int(five.sum())} runs: error % | {100 * abs(error):.2f} | {theirs} |"
            f" {100 * abs(error) - theirs:+.2f} |"
        )
    return lines


def main() -> None:
    data = data_folder()
    if data is None or not (data / "scaling").is_dir():
        raise SystemExit("no public measurements: set FORESCALE_TEST_DATA")
    suites = load_all(data / "scaling")
    scored = [s for cut in (3, *CUTS) for suite in suites if (s := score(suite, cut)) is not None]
    if "--calibrate" in sys.argv:
        grid = np.array((0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99))
        print([(float(p), round(float(z), 2)) for p, z in zip(grid, quantiles(scored, grid), strict=True)])
        return
    blocks = {
        "published": published_table(data / "scaling"),
        "points": point_table(suites),
        "elsewhere": chosen_elsewhere_table(suites),
        "parts": steps_table(scored, suites),
        "intervals": intervals_table(scored),
        "downwards": downward_table(suites),
    }
    for name, lines in blocks.items():
        write(name, lines)
        print("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
