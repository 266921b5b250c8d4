"""Loss surfaces L(size, tokens), and a solver that fits hundreds of weightings of the same runs at once.

One family holds the forms in use: L = E + ((A / N^alpha)^(1/g) + (B / D^beta)^(1/g))^g. With g = 1 it is Chinchilla's,
with E = 0 and g = beta Kaplan's; in between, one bottleneck hides the other. Parameters live in logs, centred on the
runs, so that the Gauss-Newton matrix is well conditioned: theta = (ln E, ln a0, alpha, ln b0, beta, ln g), a0 and b0
the two terms at the centre of the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import Surface

Array = npt.NDArray[np.float64]
N_PARAMETERS = 6
E, A, ALPHA, B, BETA, G = range(N_PARAMETERS)


FALL = 0.128
"""-d ln(L - E) / d ln C that is usual (exponents of some 0.25): the slope of the loss itself, over this, is the share
of it that can still fall. Below 0.045, flatter than any public ladder (0.045-0.1), more than usual of it is floor."""
LEAST = 6.0
"""Runs that must count: more than a form has parameters."""
TEMPERS = (0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05)
LOOSE = 0.15
"""Share of the priors' precision while the residual scale is found: see `solve`."""
MISFIT = 0.005
"""Relative sd of what a form misses a run at the frontier by: what seed noise is compared with."""
SPAN = np.log(5.0)
"""ln C over which a curve must be seen before it is called flat."""


@dataclass(frozen=True)
class Form:
    """A named way to fit: which parameters are free, how strongly the largest runs count, which priors.

    Priors are Gaussian on theta. That of E is on the share of the lowest loss that is irreducible.
    """

    name: str
    says: str
    power: float = 1.0
    """A run counts (C / C_max)^power x (lowest loss / loss)^closeness: what is near the target in compute and in loss
    tells most about it, and no form holds from barely trained models to the frontier."""
    closeness: float = 16.0
    floor: tuple[float, float] = (0.65, 0.1)
    """E over the lowest loss: median, and sd of its logarithm."""
    exponent: tuple[float, float] = (0.23, 0.08)
    """alpha and beta: mean, sd."""
    bend: tuple[float, float] = (0.0, 0.0)
    """ln g: mean, sd; sd 0 = fixed."""
    noise_counts: bool = True
    """Runs with less seed noise count more."""
    delta: float | None = None
    """Huber's threshold on ln loss, where it is given; otherwise 1.5 times the residual scale, which is found."""

    @property
    def free(self) -> list[int]:
        """Parameters that are searched."""
        return [E, A, ALPHA, B, BETA] + ([G] if self.bend[1] else [])

    def weights(self, frame: Frame, inside: npt.NDArray[np.bool_], noise: Array) -> Array:
        """How much each run counts [b, n], for fits that see the runs `inside` [b, n].

        The inverse of its variance: misfit, which grows away from the frontier, and seed noise (relative sd, [n]).
        Where noise is the larger part, all runs tell nearly as much, and leaving the smaller ones out would be waste.
        """
        log_c = frame.log_c - np.where(inside, frame.log_c, -np.inf).max(axis=1, keepdims=True)
        excess = frame.log_loss - np.where(inside, frame.log_loss, np.inf).min(axis=1, keepdims=True)
        exponent = self.power * np.minimum(log_c, 0.0) - self.closeness * np.maximum(excess, 0.0)
        misfit = 1.0 / np.maximum(_temper(np.where(inside, exponent, -np.inf)), 1e-300)
        ratio = (noise / MISFIT) ** 2 if self.noise_counts else 0.0
        weights = np.where(inside, 1.0 / (misfit + ratio), 0.0)
        return np.asarray(weights / weights.max(axis=1, keepdims=True))

    def prior(self, frame: Frame, inside: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Means [b, 6], and precisions [6], for fits that see the runs `inside` [b, n]."""
        lowest = np.exp(np.where(inside, frame.log_loss, np.inf).min(axis=1))
        mean = np.zeros((len(lowest), N_PARAMETERS))
        # A curve that falls slowly has little left to lose, whatever text usually holds: large runs, random letters.
        mean[:, E] = np.log(lowest * np.maximum(self.floor[0], 1 - _slope(frame, inside) / FALL))
        mean[:, ALPHA] = mean[:, BETA] = self.exponent[0]
        mean[:, G] = self.bend[0]
        sd = np.array((self.floor[1], 1e3, self.exponent[1], 1e3, self.exponent[1], self.bend[1] or 1.0))
        return mean, sd**-2.0


@dataclass(frozen=True)
class Frame:
    """Runs in centred logs: what the solver works on."""

    x: Array  # ln size - x0
    y: Array  # ln tokens - y0
    log_loss: Array
    log_c: Array  # ln compute - its largest value
    x0: float
    y0: float

    @classmethod
    def of(cls, size: Array, tokens: Array, loss: Array) -> Frame:
        """Centre the runs; compute counts up to a factor only."""
        log_n, log_d = np.log(size), np.log(tokens)
        log_c = log_n + log_d
        x0, y0 = float(log_n.mean()), float(log_d.mean())
        return cls(log_n - x0, log_d - y0, np.log(loss), log_c - float(log_c.max()), x0, y0)


def _temper(exponent: Array) -> Array:
    """exp of log weights [b, n], flattened where they would leave too few runs that count: the mildest of a few powers
    at which (sum w)^2 / sum w^2 reaches LEAST, or four fifths of the runs."""
    wanted = np.minimum(LEAST, 0.8 * np.isfinite(exponent).sum(axis=1))
    weights = np.exp(exponent)
    for power in TEMPERS:
        count = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
        few = count < wanted
        if not few.any():
            break
        weights[few] = np.exp(power * exponent[few])
    return weights


def _slope(frame: Frame, inside: npt.NDArray[np.bool_]) -> Array:
    """-d ln L / d ln C between the best run of the lower half of the budgets and the best of all, at least 0."""
    log_c = np.where(inside, frame.log_c, np.nan)
    lower = inside & (frame.log_c <= np.nanmedian(log_c, axis=1, keepdims=True))
    first = np.where(lower, frame.log_loss, np.inf).argmin(axis=1)
    best = np.where(inside, frame.log_loss, np.inf).argmin(axis=1)
    fall = frame.log_loss[first] - frame.log_loss[best]
    slope = np.clip(fall / np.maximum(frame.log_c[best] - frame.log_c[first], 0.5), 0.0, FALL)
    return np.where(np.nanmax(log_c, axis=1) - np.nanmin(log_c, axis=1) < SPAN, FALL, slope)


def log_predict(theta: Array, x: Array, y: Array) -> Array:
    """ln L for each row of theta [b, 6] at the centred logs x, y [n] -> [b, n]."""
    t = theta[:, :, None]
    g = np.exp(t[:, G])
    a, b = t[:, A] - t[:, ALPHA] * x, t[:, B] - t[:, BETA] * y
    return np.asarray(np.logaddexp(t[:, E], g * np.logaddexp(a / g, b / g)))


def _model_and_jacobian(theta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    t = theta[:, :, None]
    g = np.exp(t[:, G])
    a, b = t[:, A] - t[:, ALPHA] * x, t[:, B] - t[:, BETA] * y
    s = g * np.logaddexp(a / g, b / g)
    f = np.logaddexp(t[:, E], s)
    floor = np.exp(t[:, E] - f)
    rest = 1.0 - floor
    u = np.exp((a - s) / g)
    jacobian = np.stack(
        (floor, rest * u, -rest * u * x, rest * (1 - u), -rest * (1 - u) * y, rest * (s - u * a - (1 - u) * b)), axis=-1
    )
    return f, jacobian


ITERATIONS = 48
RESCALE = (3, 8, 14, 20)
"""Iterations at which the residual scale is found anew."""


@dataclass(frozen=True)
class Solution:
    """Fitted parameters [b, 6], residual scale [b], penalised objective [b]."""

    theta: Array
    sigma: Array
    objective: Array


def solve(
    frame: Frame, weights: Array, start: Array, mean: Array, precision: Array, free: list[int], *,
    iterations: int = ITERATIONS, huber: float = 1.5, sigma_floor: float = 1e-3, scale: Array | None = None,
) -> Solution:  # fmt: skip
    """Fit every row of `weights` [b, n] by damped Gauss-Newton on Huber-weighted log residuals with priors.

    The residual scale is found with loose priors first, and the priors then weigh against it: found under firm ones, it
    would hold what they made the runs miss, and the more the runs disagreed the less they would count (decision 0106).
    Where `scale` [b] gives it, it is not searched.
    """
    theta = start.copy()
    damping = np.full(len(theta), 1e-2)
    residual = frame.log_loss - log_predict(theta, frame.x, frame.y)
    sigma = _scale(residual, weights, sigma_floor) if scale is None else scale
    for step in range(iterations):
        firm = precision if step > RESCALE[-1] or scale is not None else LOOSE * precision
        f, jacobian = _model_and_jacobian(theta, frame.x, frame.y)
        residual = frame.log_loss - f
        if step in RESCALE and scale is None:
            sigma = _scale(residual, weights, sigma_floor)
        if step == RESCALE[-1] + 1 and scale is None:
            damping[:] = 1e-2
        scaled = np.abs(residual) / sigma[:, None]
        w = weights * np.minimum(1.0, huber / np.maximum(scaled, 1e-12)) / sigma[:, None] ** 2
        j = jacobian[:, :, free]
        jw = (j * w[:, :, None]).transpose(0, 2, 1)
        normal = jw @ j
        gradient = (jw @ residual[:, :, None])[:, :, 0] - firm[free] * (theta - mean)[:, free]
        diagonal = np.einsum("bii->bi", normal)
        diagonal += firm[free]
        diagonal += damping[:, None] * np.maximum(diagonal, 1e-6)
        move = np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
        trial = theta.copy()
        trial[:, free] += np.clip(move, -1.5, 1.5)
        old = _objective(residual, weights, sigma, huber, theta - mean, firm, free)
        new = _objective(
            frame.log_loss - log_predict(trial, frame.x, frame.y), weights, sigma, huber, trial - mean, firm, free
        )
        better = new <= old
        theta = np.where(better[:, None], trial, theta)
        damping = np.clip(np.where(better, damping * 0.3, damping * 6.0), 1e-9, 1e6)
        if step > RESCALE[-1] + 7 and bool(np.all(np.abs(old - new) <= 1e-9 * (1 + np.abs(old)))):
            break
    residual = frame.log_loss - log_predict(theta, frame.x, frame.y)
    return Solution(theta, sigma, _objective(residual, weights, sigma, huber, theta - mean, precision, free))


def _objective(
    residual: Array, weights: Array, sigma: Array, huber: float, away: Array, precision: Array, free: list[int]
) -> Array:
    z = np.abs(residual) / sigma[:, None]
    rho = np.where(z <= huber, 0.5 * z**2, huber * (z - 0.5 * huber))
    penalty = 0.5 * (precision[free] * away[:, free] ** 2).sum(axis=1)
    return np.asarray((weights * rho).sum(axis=1) + weights.sum(axis=1) * np.log(sigma) + penalty)


def _scale(residual: Array, weights: Array, floor: float) -> Array:
    """Weighted median absolute residual x 1.4826, row by row; few effective runs cannot claim a tiny scale."""
    magnitude = np.abs(residual)
    order = np.argsort(magnitude, axis=1)
    ranked = np.take_along_axis(magnitude, order, axis=1)
    cumulated = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    middle = (cumulated >= 0.5 * cumulated[:, -1:]).argmax(axis=1)
    median = np.take_along_axis(ranked, middle[:, None], axis=1)[:, 0]
    return np.asarray(np.maximum(1.4826 * median, floor))


VANISHED = 1e-6
"""A floor below this share of the lowest loss has run to 0: the search is in its logarithm, and 0 is never reached."""


def floor_of(log_floor: float, log_lowest: float) -> float:
    """E of its logarithm; exactly 0 where it has run there."""
    return 0.0 if log_floor < log_lowest + np.log(VANISHED) else float(np.exp(log_floor))


def from_surface(surface: Surface, frame: Frame) -> Array:
    """The parameters [6] that `to_surface` made a surface of; a floor of 0 becomes the least that is none."""
    least = float(np.exp(frame.log_loss.min())) * VANISHED / 2
    return np.array(
        (
            np.log(max(surface.E, least)),
            np.log(max(surface.A, 1e-300)) - surface.alpha * frame.x0,
            surface.alpha,
            np.log(max(surface.B, 1e-300)) - surface.beta * frame.y0,
            surface.beta,
            np.log(surface.gamma),
        )
    )


def to_surface(name: str, theta: Array, frame: Frame, objective: float | None = None) -> Surface:
    """One row of parameters in the runs' own units."""
    alpha, beta = float(theta[ALPHA]), float(theta[BETA])
    return Surface(
        form=name,
        E=floor_of(float(theta[E]), float(frame.log_loss.min())),
        A=float(np.exp(min(theta[A] + alpha * frame.x0, 600.0))),
        alpha=alpha,
        B=float(np.exp(min(theta[B] + beta * frame.y0, 600.0))),
        beta=beta,
        gamma=float(np.exp(theta[G])),
        objective=objective,
    )
