"""Per row: used or not and why, fitted, residual, and how far a far forecast moves without it."""

from __future__ import annotations

import numpy as np

from forescale.base.records.laws import Laws, RunRow
from forescale.scaling.ensemble import fit_batch
from forescale.scaling.far_rows import fitted_loss
from forescale.scaling.fit import forms_named, prepare
from forescale.scaling.flat import FLAT
from forescale.scaling.forecast import optimum
from forescale.scaling.table import RunTable

AHEAD = 10.0
"""Influence is on the forecast at the optimal split of this many times the largest compute."""


def residual_rows(laws: Laws, table: RunTable, *, band: float = 0.0025) -> list[RunRow]:
    """One RunRow a usable row of the table, then one a row that was left out, in the table's order."""
    ready = prepare(table, band)
    influence = _influence(table, laws, band)
    ahead = AHEAD * laws.largest.flops if laws.largest is not None else None
    used = {int(k) for members in ready.used.members for k in members}
    out = {entry.row: entry.reason for entry in laws.runs.left_out}
    rows = []
    for k in range(len(table)):
        size, tokens, loss = float(table.size[k]), float(table.tokens[k]), float(table.loss[k])
        fitted = fitted_loss(laws.predictive, laws.surface, size, tokens)
        row = int(table.row[k])
        reason = "" if k in used else out.get(row, "another setting of this size and tokens was better")
        rows.append(
            RunRow(
                row=row, run=table.run[k], used=k in used, size=size, tokens=tokens, flops=float(table.flops[k]),
                loss=loss, fitted=fitted, residual=None if fitted is None else loss / fitted - 1,
                influence=influence.get(k), influence_at=ahead if k in influence else None, reason=reason,
            )
        )  # fmt: skip
    seen = {r.row for r in rows}
    rows += [
        RunRow(row=n, used=False, size=None, tokens=None, flops=None, loss=None, reason=reason)
        for n, reason in out.items()
        if n not in seen
    ]
    return sorted(rows, key=lambda r: r.row)


def _influence(table: RunTable, laws: Laws, band: float) -> dict[int, float]:
    """Exact refits of the first member without each row, all in one batch.

    A row that is its cell's only one takes the cell with it; otherwise the cell's mean is taken without it. What the
    noise, the near-optimal settings and the rungs were judged to be with the row stays.
    """
    if laws.predictive is None or laws.largest is None:
        return {}
    cells = prepare(table, band).used
    if len(cells) < 4 or laws.predictive.members[0].surface.form == FLAT:  # a floor leans on no single row
        return {}
    size, tokens = optimum(laws, AHEAD * laws.largest.flops)
    name = laws.predictive.members[0].surface.form
    form = forms_named(None if name == "generalised" else name)[0]
    rows = [(i, int(k)) for i, members in enumerate(cells.members) for k in members]
    counts, shift = np.ones((1 + len(rows), len(cells))), np.zeros((1 + len(rows), len(cells)))
    for place, (i, k) in enumerate(rows, start=1):
        others = cells.members[i][cells.members[i] != k]
        if len(others):
            shift[place, i] = np.log(table.loss[others].mean() / table.loss[cells.members[i]].mean())
        else:
            counts[place, i] = 0.0
    whole = fit_batch(cells, form, counts[:1])
    refits = fit_batch(cells, form, counts, whole.theta[0], shift=shift)
    ahead = refits.log_loss(np.array([size]), np.array([tokens]))[:, 0]
    moved = np.expm1(ahead[1:] - ahead[0])
    return {k: float(moved[place]) for place, (_, k) in enumerate(rows)}
