"""Row by row: used or not and why, fitted loss, residual, and how far the forecast moves without the row."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Laws, RunRow
from forescale.scaling.ensemble import FORMS, fit_batch
from forescale.scaling.fit import prepare
from forescale.scaling.forecast import optimum
from forescale.scaling.noise import Cells
from forescale.scaling.predictive import centre_of
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]

AHEAD = 10.0
"""The forecast that a row's influence is measured on: this many times the largest compute."""
BATCH = 64
"""Refits at once: bounds the memory for tables of thousands of runs."""
LOSER = "not near the best learning rate or batch of its size: it serves those laws, not the surface"


def residual_rows(laws: Laws, table: RunTable, *, band: float = 0.0025) -> list[RunRow]:
    """All rows of the table that `laws` were fitted on, in order."""
    ready = prepare(table, band)
    moved = _influence(laws, table, ready.used)
    dropped = {out.row: out.reason for out in ready.dropped}
    rows = [RunRow(row=out.row, used=False, size=None, tokens=None, flops=None, loss=None, reason=out.reason)
            for out in table.left_out]  # fmt: skip
    for k in range(len(table)):
        number, size, tokens = int(table.row[k]), float(table.size[k]), float(table.tokens[k])
        used = k in moved
        fitted = None if laws.predictive is None else math.exp(centre_of(laws.predictive, size, tokens))
        rows.append(
            RunRow(
                row=number, run=table.run[k], used=used, size=size, tokens=tokens, flops=float(table.flops[k]),
                loss=float(table.loss[k]), fitted=fitted,
                residual=None if fitted is None else float(table.loss[k]) / fitted - 1.0,
                influence=moved.get(k), reason="" if used else dropped.get(number, LOSER),
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: row.row)


def _influence(laws: Laws, table: RunTable, cells: Cells) -> dict[int, float | None]:
    """Used rows (indices of the table) and the relative move of the forecast without each; None without a surface.

    The members are fitted again without each row in turn, warm-started, many at once. A row that shares its cell leaves
    the cell standing with the mean of the others: those cells are put beside the real ones, each counted in one refit.
    """
    rows = [(int(k), i) for i, members in enumerate(cells.members) for k in members]
    forms = (
        [FORMS[m.surface.form] for m in laws.predictive.members if m.surface.form in FORMS] if laws.predictive else []
    )
    if not forms or laws.largest is None or len(cells) < 4:
        return {k: None for k, _ in rows}
    shared = [(k, i) for k, i in rows if len(cells.members[i]) > 1]
    beside = {k: len(cells) + place for place, (k, _) in enumerate(shared)}
    every = _with_rests(table, cells, shared)
    size, tokens = (np.array([value]) for value in optimum(laws, AHEAD * laws.largest.flops))
    real = (np.arange(len(every)) < len(cells)).astype(float)
    moves = np.zeros(len(rows))
    for form in forms:
        full = fit_batch(every, form, real[None])
        base = float(full.log_loss(size, tokens)[0, 0])
        for start in range(0, len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            counts = np.tile(real, (len(chunk), 1))
            for place, (k, i) in enumerate(chunk):
                counts[place, i] = 0.0
                if k in beside:
                    counts[place, beside[k]] = 1.0
            without = fit_batch(every, form, counts, warm=full.theta[0])
            moves[start : start + len(chunk)] += (without.log_loss(size, tokens)[:, 0] - base) / len(forms)
    return {k: math.expm1(float(move)) for (k, _), move in zip(rows, moves, strict=True)}


def _with_rests(table: RunTable, cells: Cells, shared: list[tuple[int, int]]) -> Cells:
    """The cells, and behind them one for each row of a shared cell: that cell with the mean of its other rows."""
    index = np.array([*range(len(cells)), *(i for _, i in shared)], dtype=np.int64)
    every = cells.take(index)
    for place, (k, i) in enumerate(shared, len(cells)):
        members = cells.members[i]
        every.loss[place] *= table.loss[members[members != k]].mean() / table.loss[members].mean()
    return every
