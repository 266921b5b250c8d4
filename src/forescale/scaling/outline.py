"""A robust outline of ln loss over ln size and ln tokens: solved at once, so that many groupings of rows can be tried.

It is no law, and is only asked which rows lie on one surface.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STEPS = 12


def features(x: Array, y: Array, like: tuple[Array, Array] | None = None) -> Array:
    """A quadratic in ln size and ln tokens: enough for a robust outline, and solved at once. `like`: places whose
    terms the outline was solved in, where these are others."""
    a, b = ((v - w.mean()) / max(float(w.std()), 1e-9) for v, w in zip((x, y), like or (x, y), strict=True))
    return np.column_stack((np.ones_like(a), a, b, a * a, a * b, b * b))


def least_absolute(features: Array, values: Array) -> Array:
    """The least absolute deviations, by reweighted least squares, with a touch of ridge for designs on a line."""
    ridge = 1e-6 * len(values) * np.eye(features.shape[1])
    weights: Array = np.ones(len(values))
    solution: Array = np.zeros(features.shape[1])
    for _ in range(STEPS):
        weighted = features * weights[:, None]
        solution = np.asarray(np.linalg.solve(features.T @ weighted + ridge, weighted.T @ values), dtype=np.float64)
        away = np.maximum(np.abs(values - features @ solution), 1e-3)
        weights = np.asarray((1.0 / away) / (1.0 / away).mean())
    return solution


def spread(left: Array) -> float:
    """Mean absolute deviation without the largest tenth, not below a thousandth."""
    size = np.sort(np.abs(left))
    return max(float(size[: max(1, int(0.9 * len(size)))].mean()), 1e-3)
