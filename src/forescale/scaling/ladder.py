"""Designs a ladder: which small runs to make, as RunSpecs. It launches nothing.

Budgets are taken in pairs at most 4x apart. A pair shares its centre size, batch and learning rate, so that every cell
is one trunk with two decayed branches: 1.1 times the price of the larger run instead of 1.5 (paper 2.3: the first
stage of the multi-step schedule is reused). Around the centre cell: other sizes (the IsoFLOP curve), other learning
rates, other batches, other seeds (the noise), and one control run from scratch that shares no trunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forescale.base.config import LadderSection, Recipe
from forescale.base.errors import ConfigError
from forescale.base.records.spec import RunSpec, Schedule
from forescale.base.records.suggestion import SuggestedRun
from forescale.base.shape import ModelShape
from forescale.scaling.derive import BUDGET_TOLERANCE

MAX_TRUNK_RATIO = 4.0
"""Tokens of a trunk's branches lie at most this far apart: a trunk pins the batch, and the best batch moves."""
RATE_FACTORS = (0.5, 1.0, 2.0)
BATCH_FACTORS = (0.5, 1.0, 2.0)
SCALING_FLOOR = 2e11
"""FLOPs below which runs on a vocabulary of 512 rarely pass a bigram table (measured; decision 0300)."""


def centre_size(flops: float) -> float:
    """M to centre a budget's sizes on: 1.3 x the paper's Eq. 4, which tiny runs were seen to want (decision 0300)."""
    return 1.3 * 0.1715 * flops**0.5243


def centre_rate(flops: float) -> float:
    """Peak rate to centre on: 0.7 x the paper's Eq. 1 (at a width-scaled initial std; decision 0300)."""
    return 0.7 * 0.3118 * flops**-0.1250


def centre_batch(flops: float) -> float:
    """Batch in tokens to centre on: half the paper's Eq. 1, so that runs take some 1,000 steps (decision 0300)."""
    return 0.5 * 0.2920 * flops**0.3271


@dataclass(frozen=True)
class Grounds:
    """What a design stands on: the corpus's tokens and the rules for shapes."""

    shape_for: Callable[[float], ModelShape]
    """The nearest buildable shape to an M."""
    tokens_dir: str
    tokenizer_dir: str
    out_dir: str
    group: str
    unique_tokens: int
    recipe: Recipe


@dataclass(frozen=True)
class Design:
    """The trunks of a ladder, dearest first."""

    budgets: tuple[float, ...]
    specs: tuple[RunSpec, ...]

    @property
    def flops(self) -> float:
        """Compute of all trunks, shared stages counted once."""
        return sum(map(trunk_flops, self.specs))

    @property
    def longest(self) -> RunSpec:
        """The trunk with the most tokens: what a corpus must hold, since no run may repeat any."""
        return max(self.specs, key=lambda s: max(s.branches))

    def seconds(self, seconds_per_token: Callable[[ModelShape], float], cores: int) -> float:
        """Estimated duration with `cores` runs at once, by longest-first packing."""
        loads = [0.0] * cores
        for seconds in sorted((trunk_tokens(s) * seconds_per_token(s.shape) for s in self.specs), reverse=True):
            loads[loads.index(min(loads))] += seconds
        return max(loads)


def trunk_tokens(spec: RunSpec) -> float:
    """Tokens really trained on by a trunk: the longest constant stage once, and each branch's decay."""
    hot = spec.schedule.constant_until
    return hot * max(spec.branches) + (1 - hot) * sum(spec.branches)


def trunk_flops(spec: RunSpec) -> float:
    """Compute of a trunk, shared stages counted once."""
    return trunk_tokens(spec) * spec.shape.flops_per_token


def rungs(top: float, count: int = 4, floor: float = SCALING_FLOOR) -> tuple[float, ...]:
    """`count` budgets up to `top`, evenly spaced in log, reaching down to `floor` where 1.7-3.2x steps can.

    >>> [f"{c:.2e}" for c in rungs(1e12)]
    ['2.00e+11', '3.42e+11', '5.85e+11', '1.00e+12']
    """
    ratio = min(3.2, max(1.7, (top / floor) ** (1 / (count - 1))))
    return tuple(top / ratio ** (count - 1 - k) for k in range(count))


def design(budgets: Sequence[float], grounds: Grounds, *, seed: int) -> Design:
    """The trunks for these compute budgets (FLOPs, M x D)."""
    if not budgets:
        raise ConfigError(
            "the ladder has no budgets",
            remedy="set [ladder] budgets = [1e11, 3e11, 1e12] in the recipe, or give --target",
            key="ladder.budgets",
        )
    specs: dict[str, RunSpec] = {}
    for pair in _pairs(sorted(budgets)):
        for spec in _pair_specs(pair, grounds, seed):
            specs.setdefault(spec.name, spec)
    ordered = sorted(specs.values(), key=lambda s: -trunk_flops(s))
    return Design(tuple(sorted(budgets)), tuple(ordered))


def _pairs(budgets: Sequence[float]) -> list[tuple[float, ...]]:
    """Neighbours at most MAX_TRUNK_RATIO apart, from the top down; who finds no partner stands alone."""
    pairs: list[tuple[float, ...]] = []
    rest = list(budgets)
    while rest:
        high = rest.pop()
        if rest and high / rest[-1] <= MAX_TRUNK_RATIO:
            pairs.append((rest.pop(), high))
        else:
            pairs.append((high,))
    return pairs


def _pair_specs(pair: tuple[float, ...], grounds: Grounds, seed: int) -> list[RunSpec]:
    """All trunks of one pair of budgets."""
    middle = math.exp(sum(math.log(c) for c in pair) / len(pair))
    section = grounds.recipe.ladder
    seq_len = grounds.recipe.model.seq_len
    rate = centre_rate(middle)
    batch = _multiple(centre_batch(middle), seq_len)
    centre = grounds.shape_for(centre_size(middle))

    def trunk(shape: ModelShape, lr: float, batch_tokens: int, at: int, budgets: tuple[float, ...] = pair) -> RunSpec:
        return _spec(shape, lr, batch_tokens, at, budgets, grounds)

    specs = [trunk(shape, rate, batch, seed) for shape in _sizes(middle, section, grounds)]
    specs += [trunk(centre, lr, batch, seed) for lr in _rates(rate, section)]
    specs += [trunk(centre, rate, b, seed) for b in _batches(batch, section, seq_len)]
    specs += [trunk(centre, rate, batch, seed + 1000 * k) for k in range(section.replicates)]
    if len(pair) > 1:  # the control: the lower budget from scratch, on a seed that no trunk has
        specs.append(trunk(centre, rate, batch, seed + 1000 * section.replicates, pair[:1]))
    return specs


def _sizes(flops: float, section: LadderSection, grounds: Grounds) -> list[ModelShape]:
    """Shapes around the centre, a factor of 2 to both sides at three sizes, 2.8 at four and more."""
    count = section.sizes_per_budget
    reach = 0.0 if count == 1 else 1.0 if count <= 3 else 1.5
    factors = [2 ** (reach * (2 * k / (count - 1) - 1)) if count > 1 else 1.0 for k in range(count)]
    return list(dict.fromkeys(grounds.shape_for(centre_size(flops) * f) for f in [*factors, 1.0]))


def _rates(centre: float, section: LadderSection) -> list[float]:
    """The recipe's list: factors of the centre, or rates where all are below 0.1 (no factor is that small)."""
    given = section.learning_rates
    if given and max(given) < 0.1:
        return given
    return [centre * factor for factor in (given or RATE_FACTORS)]


def _batches(centre: int, section: LadderSection, seq_len: int) -> list[int]:
    if section.batches:
        return [_multiple(b, seq_len) for b in section.batches]
    return [_multiple(centre * factor, seq_len) for factor in BATCH_FACTORS]


def _spec(
    shape: ModelShape, rate: float, batch: int, seed: int, budgets: tuple[float, ...], grounds: Grounds
) -> RunSpec:
    recipe = grounds.recipe
    branches = tuple(batch * max(1, round(c / shape.flops_per_token / batch)) for c in budgets)
    rate = float(f"{rate:.4g}")
    name = f"{max(budgets):.2g}-L{shape.n_layer}d{shape.d_model}-lr{rate:g}-b{batch}-s{seed}".replace("+", "")
    if len(budgets) == 1:
        name += "-scratch"
    shortest = min(branches) // batch
    warmup = recipe.schedule.warmup_steps
    return RunSpec(
        name=name,
        shape=shape,
        learning_rate=rate,
        batch_tokens=batch,
        branches=branches,
        budgets=budgets,
        warmup_steps=min(2000, max(1, round(0.02 * shortest))) if warmup is None else warmup,
        schedule=Schedule(),
        weight_decay=recipe.train.weight_decay,
        clip=recipe.train.clip,
        init_std=recipe.model.init_std,
        seed=seed,
        tokens_dir=grounds.tokens_dir,
        tokenizer_dir=grounds.tokenizer_dir,
        out_dir=f"{grounds.out_dir}/{name}",
        validation_tokens=recipe.train.validation_tokens,
        precision=recipe.train.precision,
        checkpoint_minutes=recipe.checkpoint.every_minutes,
        checkpoint_steps=recipe.checkpoint.every_steps,
        checkpoint_keep=1,
        log_steps=20,
        group=grounds.group,
    )


def suggested_spec(run: SuggestedRun, grounds: Grounds, budgets: Sequence[float], *, seed: int) -> RunSpec:
    """A suggested run as a spec, from scratch; of one of these budgets where its compute is within 10% of one."""
    size = run.flops_per_token or run.flops / run.tokens
    shape = grounds.shape_for(size)
    batch = _multiple(run.batch_tokens or centre_batch(run.flops), shape.seq_len)
    spec = _spec(shape, run.lr or centre_rate(run.flops), batch, seed, (run.flops,), grounds)
    near = min(budgets, key=lambda b: abs(math.log(b / run.flops)), default=run.flops)
    own = near if abs(math.log(near / run.flops)) <= math.log1p(BUDGET_TOLERANCE) else run.flops
    return spec.model_copy(update={"budgets": (own,)})


def _multiple(tokens: float, seq_len: int) -> int:
    return seq_len * max(1, round(tokens / seq_len))


def largest_top(
    seconds: float,
    grounds: Grounds,
    *,
    seed: int,
    cores: int,
    seconds_per_token: Callable[[ModelShape], float],
    target_seconds: Callable[[float], float],
    apart: float,
) -> float:
    """The largest top budget whose ladder, and a target `apart` times beyond it, fit into `seconds` together.

    `target_seconds` gives the target run's seconds from its FLOPs. Bisection in log; both grow with the top. No run of
    the ladder repeats a token: a small corpus ends it before the time does.
    """

    def total(top: float) -> float:
        made = design(rungs(top), grounds, seed=seed)
        if max(made.longest.branches) > grounds.unique_tokens:
            return math.inf
        return made.seconds(seconds_per_token, cores) + target_seconds(apart * top)

    low, high = 1e8, 1e25
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if total(middle) <= seconds else (low, middle)
    return low
