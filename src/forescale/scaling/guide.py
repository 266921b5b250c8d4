"""A guide: laws with every gap filled and every unit brought to M, so that a plan asks one object."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from forescale.base.errors import ConfigError
from forescale.base.records.laws import Allocation, ComputeLaw, Laws, PowerLaw, Scale
from forescale.base.shape import ModelShape
from forescale.scaling import published
from forescale.scaling.repeat import Around
from forescale.scaling.shapes import Family, ShapeRules, size_of

FRONTIER = ComputeLaw(E=0.435, k=37.4, alpha=0.094)
"""L = E + k C^-alpha in bits per byte where laws have no loss: through the eight points of the paper's Fig. 5."""
OWN_LOSS = "these laws' own loss"
FRONTIER_SOURCE = "DeepSeek LLM (arXiv 2401.02954) Fig. 5"


@dataclass(frozen=True)
class Law:
    """A learning-rate or batch law with the unit its size is in."""

    law: PowerLaw
    scale: Scale

    def value(self, shape: ModelShape, tokens: float, batch_tokens: float) -> float:
        """The law for a shape, at the compute that its own unit counts."""
        return self.at(size_of(shape, self.scale), tokens, batch_tokens)

    def at(self, size: float, tokens: float, batch_tokens: float) -> float:
        """The law for a size in its own unit."""
        factor = 1.0 if self.scale == "M" else 6.0
        return self.law.value(flops=factor * size * tokens, size=size, tokens=tokens, batch_tokens=batch_tokens)


@dataclass(frozen=True)
class Guide:
    """What the laws say, gap by gap."""

    laws: Laws
    family: Family
    allocation: Allocation
    allocation_scale: Scale
    learning_rate: Law
    batch: Law
    warnings: list[str] = field(default_factory=list)
    borrowed: dict[str, str] = field(default_factory=dict)
    """What the laws lack, and whose is used instead."""

    @classmethod
    def of(cls, laws: Laws, rules: ShapeRules) -> Guide:
        """Fill what `laws` lacks from `deepseek`, each gap named."""
        spare = published.laws("deepseek")
        warnings: list[str] = []
        borrowed: dict[str, str] = {}

        def note(what: str) -> None:
            borrowed[what] = "deepseek"
            warnings.append(f"these laws have no {what}: taken from `deepseek` ({spare.source})")

        allocation, scale = laws.allocation, laws.scale
        if allocation is None and laws.surface is not None and min(laws.surface.alpha, laws.surface.beta) > 0:
            allocation = published.split_of(laws.surface, laws.flops_factor)
        if allocation is None:
            note("allocation of compute")
            allocation, scale = spare.allocation, spare.scale
        rate, batch = laws.learning_rate, laws.batch
        if rate is None:
            note("learning-rate law")
        if batch is None:
            note("batch law")
        assert allocation is not None
        assert spare.learning_rate is not None
        assert spare.batch is not None
        return cls(
            laws,
            Family(rules),
            allocation,
            scale,
            Law(rate, laws.scale) if rate is not None else Law(spare.learning_rate, spare.scale),
            Law(batch, laws.scale) if batch is not None else Law(spare.batch, spare.scale),
            warnings,
            borrowed,
        )

    def split(self, flops: float) -> tuple[float, float]:
        """M and D that the laws give a compute of M x D = `flops`."""
        if self.allocation_scale == "M":
            return self.allocation.split(flops)
        low, high = flops / 1e3, flops * 1e3  # compute in the laws' unit (6 N D) is within this of M x D
        for _ in range(100):
            middle = math.sqrt(low * high)
            m, tokens = self._at_own_flops(middle)
            low, high = (middle, high) if m * tokens < flops else (low, middle)
        m, tokens = self._at_own_flops(math.sqrt(low * high))
        return m, tokens

    def _at_own_flops(self, flops: float) -> tuple[float, float]:
        size, tokens = self.allocation.split(flops)
        return self.family.convert(size, self.allocation_scale, "M"), tokens

    def flops_for_tokens(self, tokens: float) -> float:
        """The compute whose optimal split trains on so many tokens."""
        return self.size_for_tokens(tokens) * tokens

    def size_for_tokens(self, tokens: float) -> float:
        """M for which so many tokens are the optimal split."""
        b = self.allocation.data_exponent
        if b <= 0:
            raise ConfigError(
                f"these laws give more compute no more tokens (exponent {b:.3g}): tokens alone decide no budget",
                remedy="give --flops, or other laws",
                key="tokens",
            )
        return self._at_own_flops((tokens / self.allocation.data_coefficient) ** (1.0 / b))[0]

    def unconstrained(self, flops: float) -> tuple[float, float, float, float]:
        """M, D, batch and learning rate as the laws alone have them, unrounded."""
        m, tokens = self.split(flops)
        batch = self._law_at(self.batch, m, tokens, math.nan)
        return m, tokens, batch, self._law_at(self.learning_rate, m, tokens, batch)

    def _law_at(self, law: Law, m: float, tokens: float, batch: float) -> float:
        return law.at(self.family.convert(m, "M", law.scale), tokens, batch)

    def slopes(self) -> tuple[float, float]:
        """alpha and beta of the loss around the optimum: the surface's, else from the exponents and the frontier's."""
        if self.laws.surface is not None and min(self.laws.surface.alpha, self.laws.surface.beta) > 0:
            return self.laws.surface.alpha, self.laws.surface.beta
        a, b = self.allocation.model_exponent, self.allocation.data_exponent
        frontier = self.frontier.alpha
        return frontier / max(a, 0.05), frontier / max(b, 0.05)

    def whose_slopes(self) -> str:
        """Where `slopes` has them from, in words."""
        if self.laws.surface is not None and min(self.laws.surface.alpha, self.laws.surface.beta) > 0:
            return OWN_LOSS
        split = "deepseek" if "allocation of compute" in self.borrowed else "these laws"
        if self.laws.compute is not None:
            return f"the split of {split} and these laws' own loss frontier"
        return f"the split of {split} and the slope {FRONTIER.alpha} of the loss frontier in {FRONTIER_SOURCE}"

    @property
    def frontier(self) -> ComputeLaw:
        """Loss at the best split: the laws', else the paper's."""
        return self.laws.compute if self.laws.compute is not None else FRONTIER

    @property
    def knows_loss(self) -> bool:
        """Whether the laws forecast the loss of any size and tokens; laws of one line and flat ones do not."""
        from forescale.scaling.forecast import size_for

        laws = self.laws
        lossless = laws.surface is None and laws.predictive is None
        return not lossless and laws.line is None and size_for(laws, 1e9) is not None

    def log_loss(self, m: float, size: float, near: float) -> Callable[[float], float]:
        """ln L by tokens, up to a constant, at M and the size in the laws' unit: the laws' own, else around the optimum
        of the compute of `near` tokens, the reducible share of the loss being that of the frontier."""
        from forescale.scaling.forecast import expected

        if self.knows_loss:
            return lambda tokens: math.log(expected(self.laws, size, tokens))
        flops, frontier = m * near, self.frontier
        around = Around(*self.split(flops), *self.slopes())
        own = flops if self.laws.compute is None else self.laws.flops_factor * size * near
        reducible = frontier.k * own**-frontier.alpha
        return lambda tokens: math.log(frontier.E + reducible * around.loss(m, tokens))

    def beyond(self, shape: ModelShape, tokens: float) -> float | None:
        """How far a run's compute, as the laws count it, lies beyond what they were measured on; None: not known."""
        if self.laws.largest is None:
            return None
        return self.laws.flops_factor * size_of(shape, self.laws.scale) * tokens / self.laws.largest.flops
