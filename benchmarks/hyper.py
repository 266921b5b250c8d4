"""How good are the learning-rate and batch laws? Excess over the smoothed optimum on larger cells left out of the fit.

    python -m benchmarks.hyper [--json | --write]

Step Law's public cells (`steplaw_dense_small.csv`): the laws are fitted on the smallest 3, 4, 6 and 8 cells, their
choice for each larger cell is read off that cell's own smooth surface. Beside them: published laws, which saw none of
these cells but Step Law's own (fitted on all of them, so that its figure is in-sample). Last: how the loss of each cell
rises beside its best batch, at the best rate tried for each batch: what `scaling/equal_loss.py` takes where laws have no
response of their own.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from benchmarks.page import write
from forescale.base.runtime import test_data
from forescale.scaling import published
from forescale.scaling.hyper_choice import choose
from forescale.scaling.hyper_model import fit_model
from forescale.scaling.response import Cell, Smooth, cells_of, smooth
from forescale.scaling.table import read_runs

BAND = 0.0025
TRAINED_ON = (3, 4, 6, 8)
NEAR = 1.6
"""Batches up to five times the best or a fifth of it."""


def steplaw_cells() -> list[tuple[Cell, Smooth]]:
    folder = test_data()
    if folder is None:
        raise SystemExit("set FORESCALE_TEST_DATA to the folder that holds scaling/steplaw_dense_small.csv")
    table = read_runs(
        folder / "scaling" / "steplaw_dense_small.csv",
        scale="N1",
        columns=["loss=smooth_loss", "params_non_embedding=params"],
    )
    judged = [(cell, smooth(cell, BAND)) for cell in cells_of(table)]
    return [(cell, surface) for cell, surface in judged if surface is not None]


def held_out(cells: list[tuple[Cell, Smooth]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for n in TRAINED_ON:
        train, test = [c for c, _ in cells[:n]], cells[n:]
        bands = np.full(n, BAND)
        choice = choose(train, bands, True, True)
        fitted = fit_model(train, bands, choice.rate, choice.batch)
        x, y = fitted.optimum([c for c, _ in test])
        excess = [100 * s.excess(float(a), float(b)) for (_, s), a, b in zip(test, x, y, strict=True)]
        assert choice.rate is not None
        assert choice.batch is not None
        rows.append(
            _row(
                f"ours, fitted on the {n} smallest cells",
                excess,
                f"rate: {', '.join(choice.rate.names)}; batch: {', '.join(choice.batch.names)}",
            )
        )
    return rows


def by_published(cells: list[tuple[Cell, Smooth]]) -> list[dict[str, object]]:
    rows = []
    for name in ("deepseek", "steplaw"):
        laws = published.laws(name)
        excess = []
        assert laws.learning_rate is not None
        assert laws.batch is not None
        for cell, surface in cells:
            # the cells' size is N1: 6 N D stands for M D, as their authors compare
            given = {"flops": 6 * cell.size * cell.tokens, "size": cell.size, "tokens": cell.tokens}
            batch = laws.batch.value(**given)
            rate = laws.learning_rate.value(**given, batch_tokens=batch)
            excess.append(100 * surface.excess(float(np.log(rate)), float(np.log(batch))))
        rows.append(_row(f"published: {name}", excess, "as published"))
    return rows


def curvatures(cells: list[tuple[Cell, Smooth]]) -> list[float]:
    """d² ln L / d ln B² of each cell: a parabola through its lowest losses by batch, up to NEAR from the best batch."""
    found = []
    for cell, _ in cells:
        batches = np.unique(np.round(cell.y, 3))
        lowest = np.array([cell.l[np.abs(cell.y - one) < 0.01].min() for one in batches])
        away = batches - batches[lowest.argmin()]
        near = np.abs(away) < NEAR
        found.append(2.0 * float(np.polyfit(away[near], lowest[near], 2)[0]))
    return found


def _row(name: str, excess: list[float], note: str) -> dict[str, object]:
    return {
        "laws": name,
        "cells": len(excess),
        "mean_percent": round(float(np.mean(excess)), 4),
        "max_percent": round(float(np.max(excess)), 4),
        "note": note,
    }


def main() -> None:
    cells = steplaw_cells()
    rows = held_out(cells) + by_published(cells)
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    lines = ["| laws | cells judged on | mean excess % | largest % | law in |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {r['laws']} | {r['cells']} | {r['mean_percent']:.3f} | {r['max_percent']:.3f} | {r['note']} |" for r in rows
    ]
    found = curvatures(cells)
    lines += [
        "",
        "Beside a cell's best batch, at the best rate for each, the loss rises by h/2 ln²(B / B*) with h =",
        f"{np.median(found):.4f} in the median cell ({min(found):.4f} to {max(found):.4f}).",
    ]
    print("\n".join(lines))
    if "--write" in sys.argv:
        write("hyper", lines)


if __name__ == "__main__":
    main()
