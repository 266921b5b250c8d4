"""Laws: what a ladder of runs says, with intervals; exactly the keys that `fit --json` prints, and some more.

Letters: C compute in FLOPs, M (or N1, N2: `scale`) model size, D tokens, L loss in `unit`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from forescale.base.records.record import Record

Scale = Literal["M", "N1", "N2"]
Unit = Literal["nats_per_token", "bpb"]
Regime = Literal["scaling", "pre-scaling", "unknown"]
Interval = tuple[float, float]


class LeftOut(Record):
    """A row of the run table that was not used, and why."""

    row: int
    """Data row, counted from 1."""
    line: int | None = None
    """Line of the file, where the table came from one."""
    reason: str


class RunsSummary(Record):
    """How many rows the laws rest on, and which they do not."""

    used: int
    flops: float | None = None
    """Compute of all rows but unusable ones, as the laws count it: what the laws cost. None: not known."""
    tuning: int = 0
    """Rows that another rate or batch of the same size and tokens beat: they serve the laws of rate and batch only."""
    left_out: list[LeftOut] = Field(default_factory=list)


class Surface(Record):
    """L(size, D) = E + ((A / size^alpha)^(1/gamma) + (B / D^beta)^(1/gamma))^gamma; gamma 1 is Chinchilla's form."""

    form: str
    E: float
    A: float
    alpha: float
    B: float
    beta: float
    gamma: float = 1.0
    objective: float | None = None
    """Value of the objective at the optimum; for `chinchilla` the sum of Huber (1e-3) losses of log loss."""
    intervals: dict[str, Interval] = Field(default_factory=dict)

    def loss(self, size: float, tokens: float) -> float:
        """Expected loss of a run of this size on this many tokens."""
        model = self.A * size**-self.alpha
        data = self.B * tokens**-self.beta
        if self.gamma == 1.0:
            return self.E + model + data
        top = max(model, data)
        if top <= 0:
            return self.E
        power = 1.0 / self.gamma
        return self.E + top * ((model / top) ** power + (data / top) ** power) ** self.gamma


class Allocation(Record):
    """Optimal size = model_coefficient C^model_exponent and tokens = data_coefficient C^data_exponent (paper Eq. 4)."""

    model_exponent: float
    data_exponent: float
    model_coefficient: float
    data_coefficient: float
    intervals: dict[str, Interval] = Field(default_factory=dict)
    method: str = ""
    """`isoflop`: line through the minima of the budgets' profiles; `surface`: from the fitted surface; `published`."""

    def split(self, flops: float) -> tuple[float, float]:
        """Size and tokens that this law gives a budget."""
        return self.model_coefficient * flops**self.model_exponent, self.data_coefficient * flops**self.data_exponent


class PowerLaw(Record):
    """Learning rate or batch (in tokens) as coefficient x product of variable^exponent."""

    coefficient: float
    exponents: dict[Literal["flops", "size", "tokens", "batch_tokens"], float]
    conditional_on: dict[str, Any] = Field(default_factory=dict)
    """What the law holds for: schedule, warmup, weight_decay, parametrisation, ..."""
    intervals: dict[str, Interval] = Field(default_factory=dict)
    correlation: dict[str, float] = Field(default_factory=dict)
    """Correlation of the fitted parameters, by `name,name`."""
    residual_sd: float | None = None
    """Standard deviation of ln(value) around the law."""
    band: float | None = None
    """Fraction above the best loss within which a setting counted as near-optimal."""
    held_out: float | None = None
    """Mean excess loss (fraction) of this law's choice on larger cells that were left out of its fit."""
    n: int = 0
    """Cells (settings of size and tokens) the law rests on."""
    curvature: float | None = None
    """d² ln L / d ln(value)² at the best value: what being off it costs. None: published laws, which say none."""
    skew: float | None = None
    """s of (e^su - su - 1) / s², u = ln(value / best): above 0 the loss rises faster above the best than below it."""
    cross: float | None = None
    """d² ln L / d ln(lr) d ln(batch); None: one of the two has no law."""
    tried: Interval | None = None
    """Lowest and highest ln(value / best) among the runs."""

    def value(
        self, *, flops: float | None = None, size: float | None = None, tokens: float | None = None,
        batch_tokens: float | None = None,
    ) -> float:  # fmt: skip
        """The law at a target; a variable that it needs and that is not given makes it not a number."""
        given = {"flops": flops, "size": size, "tokens": tokens, "batch_tokens": batch_tokens}
        result = self.coefficient
        for name, exponent in self.exponents.items():
            x = given[name]
            result *= math.nan if x is None else x**exponent
        return result


class ComputeLaw(Record):
    """Loss at the optimal split: L(C) = E + k C^-alpha."""

    E: float
    k: float
    alpha: float
    intervals: dict[str, Interval] = Field(default_factory=dict)

    def loss(self, flops: float) -> float:
        """Expected loss of an optimally split run."""
        return self.E + self.k * flops**-self.alpha


class NoisePoint(Record):
    """Spread of replicates at one budget."""

    flops: float
    seed_sd: float
    """Standard deviation of the loss between seeds, as a fraction of the loss."""
    replicates: int
    """Runs that the spread was measured on."""
    freedom: int | None = None
    """Its degrees of freedom: those runs less one for each setting."""


class SelfCheck(Record):
    """The fit repeated without the largest budgets, and its forecast of them."""

    held_out_above: float
    """Runs above this compute were hidden."""
    median_error: float
    """Median of |predicted / actual - 1|."""
    coverage: float
    """Share of the hidden runs inside their interval at the laws' level."""
    n: int


class IsoMinimum(Record):
    """The minimum of one budget's profile of loss against size."""

    flops: float
    size: float
    tokens: float
    loss: float
    size_interval: Interval | None = None
    loss_interval: Interval | None = None
    edge: bool = False
    """The best size lies at the end of the grid: the minimum is a bound, not a measurement."""
    runs: int = 0


class RungReport(Record):
    """Whether a budget's runs lie on the curve, and if not, why not."""

    flops: float
    admissible: bool | None
    """None: cannot be judged from the columns given."""
    reason: str = ""
    best_loss: float
    bigram: float | None = None
    """The tokens' own bigram entropy in the laws' unit."""
    steps: float | None = None


class Largest(Record):
    """The largest compute, size and tokens among the runs used: what extrapolation is measured from."""

    flops: float
    size: float
    tokens: float


class ScaleRun(Record):
    """The best run of one budget, beside what a frontier fitted to smaller runs says of it."""

    flops: float
    """In the curve's own unit: M x D, 6 N1 x D or 6 N2 x D."""
    loss: float
    predicted: float
    hidden: bool
    """True: the fit did not see it."""


class ScaleCurve(Record):
    """A frontier with the size in one unit, fitted without the largest budgets (the paper's Figure 6)."""

    scale: Scale
    hidden_above: float
    """Compute in the laws' unit: runs above it were hidden."""
    curve: list[tuple[float, float]]
    """(compute in this unit, loss at the best split) pairs."""
    runs: list[ScaleRun]
    errors: list[tuple[float, float]] = Field(default_factory=list)
    """(compute over the largest compute seen, predicted / actual - 1) of hidden best runs, over all rolling origins."""


class Member(Record):
    """One of the models whose weighted mean is the forecast."""

    surface: Surface
    weight: float


class Predictive(Record):
    """How a forecast of one new run is made and how wide it is; all that a bare `laws.json` needs."""

    members: list[Member] = Field(default_factory=list)
    draws: list[list[float]] = Field(default_factory=list)
    """Parameter draws (E, A, alpha, B, beta, gamma), each a refit on resampled trunks."""
    sd_fit: float = 0.0
    """Relative scatter of runs of the frontier around the surface."""
    sd_growth: float = 0.0
    """Relative standard deviation at e-fold extrapolation, growing with the root of ln(extrapolation): from the
    rolling-origin check, shrunk towards public ladders'."""
    off: list[tuple[float, float]] = Field(default_factory=list)
    """Correction of ln loss away from the best split: pairs of ln(size / best size of the same compute) and shift."""
    sd_off: float = 0.0
    """Relative standard deviation per unit of ln(loss / loss at the best split of the same compute)."""
    sd_seed: float = 0.0
    """Relative seed noise at the largest budget."""
    seed_slope: float = 0.0
    """d ln(seed noise) / d ln C."""
    widen: float = 1.0
    """Factor on the whole spread (pre-scaling ladders, unmeasured growth)."""
    widen_low: float = 1.0
    """Further factor on the lower side: something small runs cannot see may set in."""
    ratio: Interval | None = None
    """Smallest and largest tokens / size among the runs used."""
    quantiles: list[tuple[float, float]] = Field(default_factory=list)
    """(probability, standardised ln(actual / predicted)) pairs of the calibration, ascending."""


class Line(Record):
    """The one line of runs along which these laws know the loss, where the runs lie on one: ln tokens = intercept +
    slope x ln size, or one size."""

    fixed: Literal["tokens", "size", "tokens per size"]
    """What the runs had in common, or tied."""
    value: float
    """The one token count or size; of a tie the factor in tokens = value x size^slope."""
    slope: float | None = None
    """Of a tie."""

    def away(self, size: float, tokens: float) -> float:
        """How far (in logarithms) a run lies from the line."""
        if self.fixed == "size":
            return abs(math.log(size / self.value))
        return abs(math.log(tokens / self.value) - (self.slope or 0.0) * math.log(size))


class Laws(Record):
    """All laws of one ladder. Size-dependent laws are in the table's own size unit, `scale`."""

    scale: Scale = "M"
    unit: Unit = "nats_per_token"
    level: float = 0.9
    runs: RunsSummary = RunsSummary(used=0)
    surface: Surface | None = None
    allocation: Allocation | None = None
    learning_rate: PowerLaw | None = None
    batch: PowerLaw | None = None
    compute: ComputeLaw | None = None
    noise: list[NoisePoint] = Field(default_factory=list)
    regime: Regime = "unknown"
    smallest_rung: float | None = None
    self_check: SelfCheck | None = None
    warnings: list[str] = Field(default_factory=list)
    # More than the contract asks:
    doubts: list[str] = Field(default_factory=list)
    """Those of the warnings that every forecast and plan from these laws repeats: what makes them untrustworthy."""
    source: str = ""
    """Where the laws come from: the table, or the paper."""
    group: str = ""
    """The corpus, where the table names one."""
    minima: list[IsoMinimum] = Field(default_factory=list)
    rungs: list[RungReport] = Field(default_factory=list)
    largest: Largest | None = None
    predictive: Predictive | None = None
    line: Line | None = None
    """Where the runs had one token budget, one size, or tokens tied to size: off this line nothing can be said."""
    conditions: dict[str, Any] = Field(default_factory=dict)
    """What the ladder's runs had in common (seq_len, weight_decay, schedule, unique_tokens, ...)."""
    scales: dict[str, float] = Field(default_factory=dict)
    """Median held-out error of the fit in each unit of size that the table allows (the paper's Figure 6)."""
    scale_curves: list[ScaleCurve] = Field(default_factory=list)
    """A frontier in each of these units, with the largest budgets hidden from it."""
    guesses: dict[str, str] = Field(default_factory=dict)
    """Column of the run table -> where it was read from."""

    @property
    def flops_factor(self) -> float:
        """C = factor x size x tokens: 1 for M, 6 for parameters."""
        return 1.0 if self.scale == "M" else 6.0

    @property
    def any_law(self) -> bool:
        """Whether at least one law stands."""
        laws = (self.surface, self.allocation, self.learning_rate, self.batch, self.compute, self.predictive)
        return any(law is not None for law in laws)


class RunRow(Record):
    """A row of `residuals.csv`."""

    row: int
    run: str = ""
    used: bool
    size: float | None
    tokens: float | None
    flops: float | None
    loss: float | None
    fitted: float | None = None
    residual: float | None = None
    """loss / fitted - 1."""
    influence: float | None = None
    """How far (fraction) the forecast at 10 x the largest compute moves without this row."""
    influence_at: float | None = None
    """That compute, in the laws' own FLOPs; the forecast is of its best split."""
    reason: str = ""
