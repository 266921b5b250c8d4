"""Several forms fitted to the same cells, and their mean: no single form is right on every ladder.

Every fit here is a row of a batch: the ladder itself, the ladder without its largest budgets, without one row,
resampled by trunk. So hundreds of refits cost what one did, and nothing needs to be linearised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from forescale.scaling.noise import Cells
from forescale.scaling.pinned import DELTA
from forescale.scaling.surfaces import (
    ALPHA,
    BETA,
    ITERATIONS,
    N_PARAMETERS,
    A,
    B,
    E,
    Form,
    Frame,
    G,
    log_predict,
    solve,
)

Array = npt.NDArray[np.float64]

BEND = (-0.55, 0.35)
GENERALISED = Form(
    "generalised",
    "L = E + ((A/N^alpha)^(1/g) + (B/D^beta)^(1/g))^g; runs near the frontier count most; weak priors",
    bend=BEND,
)
QUADRATURE = Form(
    "quadrature",
    "the generalised form with g = 1/2: the two terms add like sides of a right angle",
    bend=(-0.693147, 0.0),
)
WHOLE = Form(
    "whole",
    "the generalised form, all runs counting alike, hardly any priors",
    power=0.0,
    closeness=0.0,
    floor=(0.7, 0.6),
    exponent=(0.3, 0.2),
    bend=(-0.3, 0.4),
)
WIDE = Form("wide", "the generalised form, runs weighted by loss alone", power=0.0, closeness=20.0, bend=BEND)
STEEP = Form("steep", "the generalised form, runs weighted more by compute", power=1.0, closeness=10.0, bend=BEND)
WEIGHTED = Form("weighted", "Chinchilla's form, runs weighted C/C_max, weak priors", power=1.0, closeness=0.0)
PLAIN = Form(
    "chinchilla",
    "exactly Huber 1e-3 (sum) on log loss, no weights, no priors",
    power=0.0,
    closeness=0.0,
    floor=(0.65, 1e3),
    exponent=(0.35, 10.0),
    noise_counts=False,
    delta=DELTA,
)
MEMBERS: tuple[Form, ...] = (GENERALISED, QUADRATURE, WHOLE)
"""The forms whose weighted mean is the forecast: two that look at the frontier, and one that believes the ladder."""
FORMS = {form.name: form for form in (*MEMBERS, WIDE, STEEP, WEIGHTED, PLAIN)}
"""What `--form` can pin; without it the members' mean is used (`ensemble`)."""

N_STARTS = 6
LONG = 120
"""Iterations of forms with a threshold of their own: far below the runs' scatter it makes a search by least squares
slow, and those of the others leave some draws short of where scipy's ends."""
JITTER = 1.0
"""Share of their sd by which the draws move the priors: families of ladders differ by as much (decision 0106)."""


@dataclass(frozen=True)
class Fitted:
    """A batch of fits of one form: parameters [b, 6] and residual scale [b]."""

    form: Form
    frame: Frame
    theta: Array
    sigma: Array
    objective: Array

    def log_loss(self, size: Array, tokens: Array) -> Array:
        """ln L of each fit at each target -> [b, n]."""
        return log_predict(self.theta, np.log(size) - self.frame.x0, np.log(tokens) - self.frame.y0)


def fit_batch(
    cells: Cells,
    form: Form,
    counts: Array,
    warm: Array | None = None,
    jitter: Array | None = None,
    shift: Array | None = None,
    scale: Array | None = None,
) -> Fitted:
    """Fit `form` to each row of `counts` [b, n]: how often each cell counts (0 = hidden).

    `warm` [6]: start all fits there (and from one fresh start); otherwise each tries several fresh starts.
    `jitter` [b, 6], in standard deviations, moves the priors' means, and `shift` [b, n] the log losses: the fits are
    then draws of what cells and priors together leave open (randomised maximum a posteriori). `scale` [b] fixes the
    residual scale.
    """
    frame = Frame.of(cells.size, cells.tokens, cells.loss)
    huber = 1.5
    if form.delta is not None:
        scale, huber = np.full(len(counts), form.delta), 1.0
    inside = counts > 0
    weights = counts * form.weights(frame, inside, cells.noise)
    mean, precision = form.prior(frame, inside)
    if jitter is not None:
        free = [i for i in form.free if i not in (A, B)]
        mean[:, free] += jitter[:, free] / np.sqrt(precision[free])
    starts = _starts(cells, counts, form, mean, N_STARTS if warm is None else 1)
    if warm is not None:
        starts = np.concatenate((np.broadcast_to(warm, (1, *starts.shape[1:])), starts))
    n_starts, n_batch = len(starts), len(counts)
    seen = frame
    if shift is not None:
        seen = replace(frame, log_loss=np.tile(frame.log_loss + shift, (n_starts, 1)))
    solution = solve(
        seen,
        np.tile(weights, (n_starts, 1)),
        starts.reshape(n_starts * n_batch, -1),
        np.tile(mean, (n_starts, 1)),
        precision,
        form.free,
        scale=None if scale is None else np.tile(scale, n_starts),
        huber=huber,
        iterations=ITERATIONS if form.delta is None else LONG,
    )
    objective = solution.objective.reshape(n_starts, n_batch)
    best = np.nan_to_num(objective, nan=np.inf).argmin(axis=0)
    pick = best * n_batch + np.arange(n_batch)
    return Fitted(form, frame, solution.theta[pick], solution.sigma[pick], solution.objective[pick])


def _starts(cells: Cells, counts: Array, form: Form, mean: Array, n_starts: int) -> Array:
    """[s, b, 6]: the prior's mean, then spread around it by a fixed sequence (the same runs give the same laws)."""
    rng = np.random.default_rng(20_240_105)
    starts = np.repeat(mean[None], n_starts, axis=0)
    spread = rng.standard_normal((n_starts, 1, 4))
    spread[0] = 0.0
    starts[:, :, E] += 0.25 * spread[:, :, 0]
    starts[:, :, ALPHA] += 0.12 * spread[:, :, 1]
    starts[:, :, BETA] += 0.12 * spread[:, :, 2]
    if form.bend[1]:
        starts[:, :, G] += form.bend[1] * spread[:, :, 3]
    if n_starts > 1:
        low = np.array([cells.loss[row > 0].min() for row in counts])
        starts[-1, :, E] = np.log(0.97 * low)  # nothing left to learn
    middle = np.array([np.median(cells.loss[row > 0]) for row in counts])
    rest = np.log(np.maximum(middle - np.exp(starts[:, :, E]), 0.05 * middle) / 2)
    starts[:, :, A] = starts[:, :, B] = rest
    return starts


def fit_members(
    cells: Cells, forms: tuple[Form, ...], counts: Array | None = None, warm: list[Fitted] | None = None
) -> list[Fitted]:
    """Each form on each weighting of the cells; without `counts`, on the cells as they are."""
    weights = np.ones((1, len(cells))) if counts is None else counts
    return [fit_batch(cells, form, weights, None if warm is None else warm[i].theta[0]) for i, form in enumerate(forms)]


def member_weights(members: list[Fitted], belief: float) -> Array:
    """Share of each member in the forecast: the whole-ladder fit its belief, the others equal parts of the rest. A form
    that stands alone has all of it."""
    whole = np.array([m.form == WHOLE for m in members])
    if whole.all():
        return np.ones(len(members))
    return np.where(whole, belief, (1 - belief) / int((~whole).sum()))


def draw_members(cells: Cells, members: list[Fitted], weights: Array, n_draws: int, seed: int = 0) -> list[Fitted]:
    """Refits of each form, as many as its weight asks for, on losses redrawn with their noise, trunk by trunk, and with
    priors redrawn.

    A run's noise is the larger of its seed noise and the scatter that its form shows, which its weight says grows away
    from the frontier. Half of it is shared by the branches of a trunk. Where priors matter the residual scale is the
    member's own: found anew, it would hold what redrawn priors make the runs miss, and draws that contradict every run
    would be as likely as those that go through them (decision 0108). A few runs are fitted closer than their seeds
    agree: it is not below the seed noise.
    """
    rng = np.random.default_rng(seed)
    _, trunk = np.unique(cells.trunk, return_inverse=True)
    drawn = []
    for member, weight in zip(members, weights, strict=True):
        each = int(np.ceil(n_draws * weight - 1e-9))
        if member.form.delta is not None:  # no scale says what its runs scatter by: trunks are resampled
            trunks = int(trunk.max()) + 1
            counts = rng.multinomial(trunks, np.full(trunks, 1 / trunks), size=each)[:, trunk].astype(float)
            drawn.append(fit_batch(cells, member.form, counts, member.theta[0]))
            continue
        own = rng.standard_normal((each, len(cells)))
        shared = rng.standard_normal((each, int(trunk.max()) + 1))[:, trunk]
        alone = (np.bincount(trunk)[trunk] == 1).astype(float)
        mixed = np.where(alone > 0, own, np.sqrt(0.5) * (own + shared))
        counted = member.form.weights(member.frame, np.ones((1, len(cells)), dtype=bool), cells.noise)[0]
        sigma = max(float(member.sigma[0]), float(np.sqrt(np.average(cells.noise**2, weights=counted))))
        scale: Array | None = np.full(each, sigma)
        if member.form == WHOLE:  # the others lean on priors, and see how few runs count
            sigma *= float(np.sqrt(len(cells) / max(len(cells) - len(member.form.free), 1)))
            scale = None
        scatter = sigma / np.sqrt(np.maximum(counted, 1e-6))
        shift = np.maximum(np.minimum(scatter, 0.3), cells.noise) * mixed
        jitter = JITTER * rng.standard_normal((each, N_PARAMETERS))
        counts = np.ones((each, len(cells)))
        drawn.append(fit_batch(cells, member.form, counts, member.theta[0], jitter, shift, scale))
    return drawn


def mean_log_loss(members: list[Fitted], size: Array, tokens: Array, weights: Array | None = None) -> Array:
    """Weighted mean over the members of ln L -> [b, n]."""
    stack = np.stack([m.log_loss(size, tokens) for m in members])
    return np.asarray(np.average(stack, axis=0, weights=weights))
