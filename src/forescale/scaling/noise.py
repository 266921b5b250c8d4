"""Seed noise as a function of compute, and the cells that the surface is fitted on.

A run that lost the learning-rate or batch comparison says nothing about the surface; one that won it is lucky. So a
cell (one size, one number of tokens) stands with the mean of its near-optimal settings, each the mean of its seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import NoisePoint
from forescale.scaling.table import RunTable

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEFAULT_SD = 0.0007
"""Relative seed noise where nothing was replicated: the upper end of 0.02-0.07% seen on public ladders."""
SAME_CELL = 0.01
"""Sizes and tokens this close are one point: batches round the tokens."""
MOST_CELLS = 600
"""Points of the surface beyond which a table is thinned: fits weigh the frontier, which a few hundred points fix."""
NEWTON_STEPS = 30
"""Of the likeliest noise law; a handful are enough."""
SLOPE, SLOPE_SD = -0.3, 0.15
"""d ln(noise) / d ln C expected before measuring, and how firmly: 1.6% at 1e11 to hundredths at 1e19 (our probes)."""


@dataclass(frozen=True)
class NoiseLaw:
    """Relative seed noise: sd at the largest budget, and its slope in log compute."""

    sd: float
    slope: float
    flops: float
    measured: bool

    def at(self, flops: Array) -> Array:
        """Noise at these computes; beyond the ladder it is not let fall below a quarter of what was measured."""
        falling = self.sd * (flops / self.flops) ** self.slope
        return np.asarray(np.maximum(falling, 0.25 * self.sd))


def measure_noise(table: RunTable) -> list[NoisePoint]:
    """Pooled relative spread of replicates, budget by budget."""
    squares: dict[float, list[tuple[float, int, int]]] = {}
    order = np.argsort(table.setting, kind="stable")
    starts = np.flatnonzero(np.diff(table.setting[order], prepend=table.setting[order[0]] - 1))
    for members in np.split(order, starts[1:]):
        if len(members) < 2:
            continue
        losses = table.loss[members]
        spread = float(((losses / losses.mean() - 1) ** 2).sum())
        squares.setdefault(float(table.budget[members[0]]), []).append((spread, len(members) - 1, len(members)))
    return [
        NoisePoint(
            flops=budget,
            seed_sd=float(np.sqrt(sum(s for s, _, _ in parts) / sum(f for _, f, _ in parts))),
            replicates=sum(n for _, _, n in parts),
            freedom=sum(f for _, f, _ in parts),
        )
        for budget, parts in sorted(squares.items())
    ]


def noise_law(points: list[NoisePoint], top_flops: float) -> NoiseLaw:
    """The likeliest ln(sd) = level + slope ln(C), its slope held near what is usual unless replicates say otherwise.

    Squares of few replicates follow a chi-square law, so a budget whose two seeds happen to agree says little. A line
    through ln(sd) would believe it, and come out too low.
    """
    usable = [p for p in points if p.seed_sd > 0]
    if not usable:
        return NoiseLaw(DEFAULT_SD, 0.0, top_flops, measured=False)
    x = np.array([np.log(p.flops / top_flops) for p in usable])
    squares = np.array([p.seed_sd for p in usable]) ** 2
    freedom = np.array([float(p.freedom or max(p.replicates - 1, 1)) for p in usable])
    design = np.stack((np.ones_like(x), x), axis=1)
    firmness = np.array((0.0, SLOPE_SD**-2))
    law = np.array((0.5 * np.log(np.average(squares * np.exp(-2 * SLOPE * x), weights=freedom)), SLOPE))
    for _ in range(NEWTON_STEPS):  # convex: half the freedom times (2 ln sd + squares / sd^2), summed
        excess = squares * np.exp(-2.0 * design @ law)
        gradient = design.T @ (freedom * (1.0 - excess)) + firmness * (law - (0.0, SLOPE))
        curvature = design.T @ ((2.0 * freedom * np.maximum(excess, 0.1))[:, None] * design) + np.diag(firmness)
        law = law - np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
    return NoiseLaw(float(np.exp(law[0])), float(min(law[1], 0.0)), top_flops, measured=True)


@dataclass(frozen=True)
class Cells:
    """One point of the surface per (size, tokens): what all surface fits work on."""

    size: Array
    tokens: Array
    flops: Array
    loss: Array
    budget: Array
    trunk: Ints
    """Cells of one number are resampled together."""
    noise: Array
    """Relative seed noise left in the cell's mean."""
    members: tuple[Ints, ...]
    """Rows of the table (indices) that the cell's loss is the mean of."""

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, keep: npt.NDArray) -> Cells:
        """The cells where the mask is true, or at the indices."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        return Cells(
            self.size[index], self.tokens[index], self.flops[index], self.loss[index], self.budget[index],
            self.trunk[index], self.noise[index], tuple(self.members[i] for i in index),
        )  # fmt: skip


def grouped(table: RunTable, width: float) -> list[list[int]]:
    """Rows (indices) of one size and number of tokens, up to `width` in their logarithms, in the table's order."""
    groups: dict[tuple[int, int], list[int]] = {}
    places = np.round(np.log(np.stack((table.size, table.tokens), axis=1)) / width)
    for i, (size, tokens) in enumerate(places.tolist()):
        groups.setdefault((size, tokens), []).append(i)
    return list(groups.values())


def cells_of(table: RunTable, law: NoiseLaw, band: float) -> Cells:
    """Group the runs by size and tokens and keep the near-optimal settings of each group.

    Within 1% is one cell, since batches round the tokens; tables that vary neither rate nor batch nor seed have one run
    a cell.
    """
    varied = bool(np.isfinite(table.lr).any() or np.isfinite(table.batch_tokens).any())
    varied |= len(np.unique(table.setting)) < len(table)
    width = SAME_CELL if varied else 1e-9
    members: list[Ints] = []
    losses, noise = [], []
    # In one order, whatever the table's: the same runs give the same draws.
    ordered = sorted(
        grouped(table, width), key=lambda rows: (table.budget[rows[0]], table.size[rows[0]], table.loss[rows[0]])
    )
    for rows in ordered:
        kept, loss, spread = _near_optimal(table, np.array(rows), law, band)
        members.append(kept)
        losses.append(loss)
        noise.append(spread)
    first = np.array([m[0] for m in members])
    return Cells(
        table.size[first], table.tokens[first], table.flops[first], np.array(losses), table.budget[first],
        table.trunk[first], np.array(noise), tuple(members),
    )  # fmt: skip


def thin(cells: Cells) -> Cells:
    """The MOST_CELLS / 2 cells of most compute, and as many spread evenly over the others; all where they are fewer.

    Runs far below the largest hardly count, and hundreds of refits of each cost minutes.
    """
    if len(cells) <= MOST_CELLS:
        return cells
    order, half = np.argsort(cells.flops, kind="stable"), MOST_CELLS // 2
    spread = np.linspace(0, len(cells) - half - 1, half).round().astype(int)
    return cells.take(np.sort(np.concatenate((order[spread], order[-half:]))))


def _near_optimal(table: RunTable, rows: Ints, law: NoiseLaw, band: float) -> tuple[Ints, float, float]:
    """Rows of the near-optimal settings of one cell, their mean loss, and the relative noise left in it."""
    settings = table.setting[rows]
    sd = float(law.at(table.flops[rows[:1]])[0])
    if len(rows) == 1:
        return rows, float(table.loss[rows[0]]), sd
    means = {s: float(table.loss[rows[settings == s]].mean()) for s in np.unique(settings)}
    counts = {s: int((settings == s).sum()) for s in means}
    best = min(means.values())
    # Means of n seeds scatter by sd / sqrt(n): a setting within the band, or within one such spread, is as good.
    near = [s for s, mean in means.items() if mean <= best * (1 + max(band, 1.5 * sd / np.sqrt(counts[s])))]
    kept = rows[np.isin(settings, near)]
    weights = np.array([counts[s] for s in near], dtype=float)
    loss = float(np.average([means[s] for s in near], weights=weights))
    return kept, loss, sd / float(np.sqrt(len(kept)))
