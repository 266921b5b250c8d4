"""How far the fit to the whole ladder is believed: as far as one law explains every run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.stats import chi2

from forescale.scaling.ensemble import WHOLE, Fitted
from forescale.scaling.noise import Cells

Array = npt.NDArray[np.float64]

UNEXPLAINED = 0.045
"""Share of the ladder's spread in ln loss (standard deviation) that the fit to the whole ladder may leave unexplained
and still count half: ladders made from a law, with 0.2% of noise, leave 0.01 to 0.04, public ones 0.06 and more."""
SHARPNESS = 6.0
DOUBT = 0.25
"""What is left unexplained is taken as large as it may be with this probability to come out as small as it did."""
WHITE = (0.6, 0.9)
"""Squared differences of neighbours, over those of any two runs: misfit below, noise above. Public ladders have 0.1 to
0.8 (one 0.9), ladders made from a law 1.2 with an sd of 0.3."""
MOST_NOISE = 0.75
"""Share of that fit's squared misses that seed noise may answer for: what noise hides is not known to be a law."""
OUTLIER = 4.0
"""Robust standard deviations from which a run may be a bad one and not a sign of misfit."""
BAD = 0.1
"""Share of the runs that may be bad (one at least); the others must then be explained better than otherwise asked."""
EDGE = 0.1
"""Share of the runs, by tokens per size and by compute, that are the ladder's edge."""
NOTABLE = 0.01
"""ln(loss / law) below which a bad run is not worth a warning."""
UNEXPLAINED_OTHERS = 0.03


def believed(cells: Cells, members: list[Fitted]) -> float:
    """How much the fit to the whole ladder counts, 0 to 1: all, where one law explains every run to within noise.

    No form holds from the smallest runs of a real ladder to its largest, so the others look at the frontier and lean on
    priors. Where one does hold, it knows the floor and the exponents far better than priors do. A bad run or two do not
    count against it where all others lie on the law.
    """
    left = _left(cells, members)
    if left is None or len(cells) <= len(WHOLE.free):
        return 0.0
    spread = max(float(np.log(cells.loss).std()), 1e-9)
    good = ~_outliers(cells, left)
    return max(
        _belief(_unexplained(cells, left, _whiteness(cells, left)) / spread, UNEXPLAINED),
        _belief(_unexplained(cells.take(good), left[good], 0.0) / spread, UNEXPLAINED_OTHERS),
    )


def bad_runs(cells: Cells, members: list[Fitted]) -> list[tuple[int, float]]:
    """Cells that the law of the whole ladder, if it is believed, does not explain, and their ln(loss / law)."""
    left = _left(cells, members)
    if left is None:
        return []
    return [(int(i), float(left[i])) for i in np.flatnonzero(_outliers(cells, left) & (np.abs(left) > NOTABLE))]


def _left(cells: Cells, members: list[Fitted]) -> Array | None:
    """ln(loss / law) of the fit to the whole ladder; None where it is not among the members."""
    whole = next((m for m in members if m.form == WHOLE), None)
    return None if whole is None else np.log(cells.loss) - whole.log_loss(cells.size, cells.tokens)[0]


def _belief(ratio: float, half: float) -> float:
    return 1.0 / (1.0 + min(ratio / half, 1e3) ** SHARPNESS)


def _outliers(cells: Cells, left: Array) -> npt.NDArray[np.bool_]:
    """The few runs furthest from the law, if they are far and no edge of the ladder: barely trained runs miss a law as
    all their like would."""
    ratio = cells.tokens / cells.size
    edge = (ratio <= np.quantile(ratio, EDGE)) | (cells.flops <= np.quantile(cells.flops, EDGE))
    size = np.where(edge, 0.0, np.abs(left))
    most = max(1, int(BAD * len(left)))
    far = size > OUTLIER * 1.4826 * float(np.median(np.abs(left)))
    return np.asarray(far & (size >= np.sort(size)[-most]))


def _unexplained(cells: Cells, left: Array, white: float) -> float:
    """What is left over beyond noise, as a standard deviation of ln loss; infinite where nothing could be.

    `white`: share of the squares that looks like noise.
    """
    freedom = len(cells) - len(WHOLE.free)
    if freedom < 1:  # without the bad ones
        return float("inf")
    variance = float((left**2).sum()) / freedom
    noise = max(float((cells.noise**2).mean()), white * variance)
    misfit = variance - min(noise, MOST_NOISE * variance)
    return float(np.sqrt(misfit * freedom / float(chi2.ppf(DOUBT, freedom))))  # few runs are explained by anything


def _whiteness(cells: Cells, left: Array) -> float:
    """How much of what is left differs from run to run, as noise does, and not from region to region, as misfit does.

    From differences between nearest runs in (ln size, ln tokens): 1 where they differ as much as any two would.
    """
    place = np.stack((np.log(cells.size), np.log(cells.tokens)), axis=1)
    nearest = np.asarray(cKDTree(place).query(place, k=2)[1])[:, 1]
    local = float(((left - left[nearest]) ** 2).sum()) / 2
    low, high = WHITE
    return float(np.clip((local / max(float((left**2).sum()), 1e-18) - low) / (high - low), 0.0, 1.0))
