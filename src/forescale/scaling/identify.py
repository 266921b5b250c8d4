"""What a design of runs can and cannot tell, in words: one token budget, tokens tied to size, one compute, too few."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from forescale.base.errors import InputError
from forescale.base.records.laws import Line
from forescale.scaling.noise import Cells
from forescale.scaling.plausible import NO_LOSS

MIN_CELLS, MIN_FORECAST = 5, 4
"""Different (size, tokens) runs that a surface needs, and that a forecast along their own line needs."""
TIED = 0.12
"""sd of ln tokens around a line in ln size below which the two move as one."""
JUMP = 0.5
"""ln(loss / neighbour's loss) within an e-fold of size and tokens that no surface has; the units differ by 2x and more
(a token has some 3 to 5 bytes)."""
UNTRUSTED = "No law of such a table can be trusted"
"""How the warning about two units in one column ends."""
SAME = 0.05
"""Logarithms this close are one size, or one number of tokens."""


@dataclass
class Design:
    """Which laws the runs can carry, and why not the others."""

    surface: bool = True
    """alpha and beta are both identified."""
    forecast: bool = True
    """A loss can be forecast at least along the runs' own direction."""
    warnings: list[str] = field(default_factory=list)
    line: Line | None = None
    """The one line along which a loss can be forecast."""


def examine(cells: Cells) -> Design:
    """Judge the design; each refusal says what is missing and what would mend it."""
    middle = float(np.median(cells.loss))
    if middle > NO_LOSS:
        raise InputError(
            f"the losses are around {middle:,.4g}, which no language model has",
            why="guessing among a million tokens costs 13.8 nats",
            remedy="choose the loss with --column loss=NAME; is it a sum, a perplexity, or has it decimal commas?",
            key="loss",
        )
    design = _judge(cells)
    return replace(design, warnings=[*design.warnings, *_jumps(cells)])


def _jumps(cells: Cells) -> list[str]:
    """Neighbours in size and tokens whose losses lie apart like two units, or like runs that went wrong."""
    if len(cells) < MIN_CELLS:
        return []
    places = np.stack((np.log(cells.size), np.log(cells.tokens)), axis=1)
    distance, near = (np.asarray(found) for found in cKDTree(places).query(places, k=2))
    apart = np.abs(np.log(cells.loss[near[:, 1]] / cells.loss))
    jumping = (distance[:, 1] < 1.0) & (apart > JUMP)
    if jumping.sum() < max(3, 0.1 * len(cells)):
        return []
    return [
        f"the loss jumps {np.exp(float(np.median(apart[jumping]))):.1f}x between neighbours in size and tokens, at"
        f" {jumping.sum()} of {len(cells)} settings: nats per token and bits per byte in one column, or runs that went"
        f" wrong? {UNTRUSTED}"
    ]


def _judge(cells: Cells) -> Design:
    x, y = np.log(cells.size), np.log(cells.tokens)
    sizes, tokens = _distinct(x), _distinct(y)
    span = float(cells.flops.max() / cells.flops.min())
    if len(cells) < MIN_CELLS:
        alone = len(cells) == len(np.unique(cells.budget)) > 1
        return Design(
            False, len(cells) >= MIN_FORECAST and span >= 2.5 and min(sizes, tokens) > 1,
            [f"no surface and no allocation: {len(cells)} different (size, tokens) runs, at least {MIN_CELLS} are"
             " needed; add sizes at two or more budgets"
             + (" (one run a budget does not show that its size is the best)" if alone else "")],
        )  # fmt: skip
    if span < 1.25:
        return Design(
            False, False,
            ["no surface, allocation or compute law: all runs are of one compute; add a budget at least 3x away"],
        )  # fmt: skip
    if tokens == 1:
        return Design(
            False, True,
            ["no surface and no allocation: all runs have one token budget, so beta and E cannot be told apart; add"
             " runs of other lengths. Forecasts hold for this token budget only"],
            Line(fixed="tokens", value=_middle(y)),
        )  # fmt: skip
    if sizes == 1:
        return Design(
            False, True,
            ["no surface and no allocation: all runs have one size, so alpha and E cannot be told apart; add runs of"
             " other sizes. Forecasts hold for this size only"],
            Line(fixed="size", value=_middle(x)),
        )  # fmt: skip
    slope, intercept = np.polyfit(x, y, 1)
    away = float(np.std(y - slope * x - intercept))
    if away < TIED and slope > 0:
        return Design(
            False, True,
            [f"no surface and no allocation: tokens are tied to size (tokens ~ size^{slope:.2f}), so alpha and beta"
             " cannot be told apart; add runs off that line. Forecasts hold along it"],
            Line(fixed="tokens per size", value=float(np.exp(intercept)), slope=float(slope)),
        )  # fmt: skip
    if span < 2.5:
        return Design(
            False, True,
            [f"no surface and no allocation: the runs span only {span:.2g}x of compute; add a budget at least 3x away"],
        )  # fmt: skip
    if sizes < 3 or tokens < 3:
        return Design(
            True, True, [f"{sizes} sizes and {tokens} token counts: exponents lean on what is usual (weak priors)"]
        )
    return Design()


def _middle(logarithms: np.typing.NDArray[np.float64]) -> float:
    return float(np.exp(np.median(logarithms)))


def _distinct(values: np.typing.NDArray[np.float64]) -> int:
    return 1 + int((np.diff(np.sort(values)) > SAME).sum())
