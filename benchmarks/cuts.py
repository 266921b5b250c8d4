"""Cuts through public ladders: which runs a fit may see, and what is left to forecast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.suites import Suite
from forescale.scaling.noise import DEFAULT_SD, Cells

CUTS = (10, 30, 100)
"""Largest compute of a suite over that of the runs that are seen."""


def cells_of(suite: Suite, keep: npt.NDArray[np.bool_]) -> Cells:
    count = int(keep.sum())
    return Cells(
        suite.size[keep], suite.tokens[keep], suite.flops[keep], suite.loss[keep], suite.flops[keep], np.arange(count),
        np.full(count, DEFAULT_SD), tuple(np.array([i]) for i in range(count)),
    )  # fmt: skip


def split(suite: Suite, cut: float) -> npt.NDArray[np.bool_] | None:
    """Runs that the fit may see; None where they are too few."""
    keep = suite.flops <= suite.flops.max() / cut * (1 + 1e-4)
    return keep if keep.sum() >= 6 and not keep.all() else None
