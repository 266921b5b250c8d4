"""The forms as published: `chinchilla` is exactly the sum of Huber losses (delta 1e-3) of log loss, nothing added."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from forescale.base.records.laws import Surface
from forescale.scaling.surfaces import floor_of

Array = npt.NDArray[np.float64]
DELTA = 1e-3
SCALE = 1e3
"""The objective is some 1e-3: scaled up, so that the optimiser's tolerances bite."""


def _objective(theta: Array, log_n: Array, log_d: Array, log_loss: Array) -> tuple[float, Array]:
    e, a, alpha, b, beta = theta
    terms = np.stack((np.full_like(log_n, e), a - alpha * log_n, b - beta * log_d))
    f = np.logaddexp(np.logaddexp(terms[0], terms[1]), terms[2])
    share = np.exp(terms - f)
    residual = f - log_loss
    magnitude = np.abs(residual)
    rho = np.where(magnitude <= DELTA, 0.5 * residual**2, DELTA * (magnitude - 0.5 * DELTA))
    slope = np.clip(residual, -DELTA, DELTA)
    gradient = np.array(
        [
            (slope * share[0]).sum(),
            (slope * share[1]).sum(),
            -(slope * share[1] * log_n).sum(),
            (slope * share[2]).sum(),
            -(slope * share[2] * log_d).sum(),
        ]
    )
    return SCALE * float(rho.sum()), SCALE * gradient


def fit_chinchilla(size: Array, tokens: Array, loss: Array, starts: Array | None = None) -> Surface:
    """The lowest optimum over a grid of starts (Hoffmann et al., approach 3)."""
    x0, y0 = float(np.log(size).mean()), float(np.log(tokens).mean())
    log_n, log_d, log_loss = np.log(size) - x0, np.log(tokens) - y0, np.log(loss)
    if starts is None:
        low, middle = float(loss.min()), float(np.median(loss))
        starts = np.array(
            [
                (np.log(low * share), np.log(max(middle - low * share, 1e-3 * low) / 2), alpha,
                 np.log(max(middle - low * share, 1e-3 * low) / 2), beta)
                for share, alpha, beta in itertools.product((0.3, 0.6, 0.9), (0.25, 0.5), (0.25, 0.5))
            ]
        )  # fmt: skip
    best = None
    for start in starts:
        result = minimize(_objective, start, (log_n, log_d, log_loss), method="BFGS", jac=True, options={"gtol": 1e-9})
        if best is None or result.fun < best.fun:
            best = result
    assert best is not None
    # Huber's kinks stop BFGS early: the simplex walks over them, and BFGS takes the last step again.
    data = (log_n, log_d, log_loss)

    def value(theta: Array) -> float:
        return _objective(theta, *data)[0]

    again = minimize(
        value, best.x, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    )
    best = again if again.fun < best.fun else best
    again = minimize(_objective, best.x, data, method="BFGS", jac=True, options={"gtol": 1e-10})
    best = again if again.fun < best.fun else best
    e, a, alpha, b, beta = (float(v) for v in best.x)
    return Surface(
        form="chinchilla", E=floor_of(e, float(log_loss.min())), A=float(np.exp(min(a + alpha * x0, 600.0))),
        alpha=alpha, B=float(np.exp(min(b + beta * y0, 600.0))), beta=beta, objective=float(best.fun) / SCALE,
    )  # fmt: skip
