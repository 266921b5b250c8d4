"""Rows that diverged and do not say so: a loss more than twice what the law of the other rows says of the place.

Nothing short of divergence, or of another thing in the column, comes near: of the public tables' rows that are the best
of their size and tokens, the farthest lies 44% above. Rows that another rate or batch of their place beat are not
asked: no surface rests on them, and the laws of rate and batch need them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from forescale.scaling.misplaced import FEWEST, FEWEST_PLACES, MARGIN
from forescale.scaling.pinned import fit_chinchilla
from forescale.scaling.places import best_of_places, place_of
from forescale.scaling.predictive import law_log_loss

Array = npt.NDArray[np.float64]

ABOVE, ABOVE_SDS = math.log(2.0), 10.0
"""ln(loss / law) from which a row diverged, and in robust sds of the others."""
MOST = 0.2
"""Share of the places that may be so; of more, the law is not that of the others."""


def diverged(size: Array, tokens: Array, loss: Array) -> dict[int, str]:
    """Position -> why, of rows far above the law of the others, at places where no row is better."""
    x, y = np.log(size), np.log(tokens)
    best = best_of_places(x, y, loss, np.ones(len(x), dtype=bool))
    if len(best) <= FEWEST or min(len(np.unique(np.round(v[best], 2))) for v in (x, y)) < FEWEST_PLACES:
        return {}
    if loss[best].max() < 2.0 * loss[best].min():  # nothing can lie so far above a law among them
        return {}
    off = np.zeros(len(best), dtype=bool)
    for _ in range(2):  # the second law has not seen what the first one found
        rest = best[~off]
        law = fit_chinchilla(size[rest], tokens[rest], loss[rest])
        left = np.log(loss) - law_log_loss(law, size, tokens)
        sd = 1.4826 * float(np.median(np.abs(left[rest] - np.median(left[rest]))))
        inside = np.ones(len(best), dtype=bool)  # a law is believed only among its own rows
        for values in (x, y, y - x):
            inside &= (values[best] > values[rest].min() - MARGIN) & (values[best] < values[rest].max() + MARGIN)
        off = inside & (left[best] > max(ABOVE, ABOVE_SDS * sd))
        if not off.any() or off.sum() > MOST * len(best) or (~off).sum() < FEWEST:
            return {}
    places = {place_of(x[i], y[i]) for i in best[off]}
    return {
        int(i): f"the loss {loss[i]:.4g} is {math.exp(left[i]):.2g} times what the law of the other rows says there"
        f" ({math.exp(math.log(loss[i]) - left[i]):.4g}): diverged?"
        for i in range(len(loss))
        if place_of(x[i], y[i]) in places
    }
