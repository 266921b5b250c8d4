"""Which unit of size forecasts best (paper A.2 and Figure 6): the same fit in each, with the largest budgets hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Scale, ScaleCurve, ScaleRun, Surface
from forescale.scaling.ensemble import MEMBERS, fit_batch, fit_members
from forescale.scaling.noise import Cells
from forescale.scaling.predictive import surface_split
from forescale.scaling.rolling import Rolling, roll
from forescale.scaling.surfaces import to_surface

Array = npt.NDArray[np.float64]

HIDE_ABOVE = 1 / 10
"""The curves are fitted to runs of at most about this share of the largest compute (our choice; the paper's 7B and 67B
lie further out, a ladder's own largest runs cannot)."""
N_POINTS = 24


def compare_units(sizes: Mapping[Scale, Array], cells: Cells) -> tuple[dict[str, float], list[ScaleCurve]]:
    """Median rolling-origin error in each unit of size (`sizes`, one value a cell), and a frontier with hidden runs.

    Compute, budgets and origins are the same in every unit, so that all hide the same runs.
    """
    errors: dict[str, float] = {}
    curves: list[ScaleCurve] = []
    for scale, size in sizes.items():
        if not np.isfinite(size).all() or (size <= 0).any():
            continue
        own = replace(cells, size=size)
        rolling = roll(own, fit_members(own, MEMBERS[:1]))
        if len(rolling):
            errors[scale] = float(np.median(np.abs(np.expm1(rolling.error))))
            curves += _curve(scale, own, rolling)
    return errors, curves


def _curve(scale: Scale, cells: Cells, rolling: Rolling) -> list[ScaleCurve]:
    """The frontier of the runs up to an origin, in this unit's own compute; none where the surface has no optimum."""
    origins = np.unique(rolling.origin)
    origin = float(origins[np.abs(np.log(origins / (HIDE_ABOVE * cells.flops.max()))).argmin()])
    seen = cells.flops <= origin * (1 + 1e-9)
    fitted = fit_batch(cells, MEMBERS[0], seen[None].astype(float))
    surface = to_surface(MEMBERS[0].name, fitted.theta[0], fitted.frame)
    if min(surface.alpha, surface.beta, surface.A, surface.B) <= 1e-12:
        return []
    best = _best_of_budgets(cells)
    factor = 1.0 if scale == "M" else 6.0
    compute = factor * cells.size * cells.tokens
    grid = np.geomspace(compute[best].min(), compute[best].max(), N_POINTS)
    errors = [
        (float(np.exp(rolling.distance[k])), float(np.expm1(rolling.error[k])))
        for k in range(len(rolling))
        if rolling.cell[k] in best
    ]
    return [
        ScaleCurve(
            scale=scale,
            hidden_above=origin,
            curve=[(float(c), _frontier(surface, float(c) / factor)) for c in grid],
            runs=[
                ScaleRun(
                    flops=float(compute[i]),
                    loss=float(cells.loss[i]),
                    predicted=surface.loss(float(cells.size[i]), float(cells.tokens[i])),
                    hidden=not seen[i],
                )
                for i in best
            ],
            errors=errors,
        )
    ]


def _best_of_budgets(cells: Cells) -> list[int]:
    best = [int(np.where(cells.budget == budget, cells.loss, np.inf).argmin()) for budget in np.unique(cells.budget)]
    return sorted(set(best), key=lambda i: float(cells.flops[i]))


def _frontier(surface: Surface, product: float) -> float:
    """The loss at the best split of size x tokens = `product`."""
    exponent, log_coefficient = surface_split(surface)
    size = float(np.exp(log_coefficient + exponent * np.log(product)))
    return surface.loss(size, product / size)
