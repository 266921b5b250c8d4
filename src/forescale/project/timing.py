"""What a shape costs on this machine: C = M x D is not time at small sizes, so seconds per token are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forescale.base.runtime import cores
from forescale.base.shape import ModelShape


@dataclass(frozen=True)
class Speeds:
    """Seconds per token of any shape, from a few measured ones: a + b x (M + head), the smallest and largest exact."""

    points: tuple[tuple[float, float], ...]
    """(FLOPs per token with the head, seconds per token) of one process of one thread, ascending."""
    ranks: int
    """Data-parallel processes that the big run will use."""
    rank_gain: float
    """How much faster `ranks` processes are than one, measured."""

    def seconds_per_token(self, shape: ModelShape) -> float:
        """One process, every core busy."""
        x = shape.hardware_flops_per_token
        (x0, y0), (x1, y1) = self._around(x)
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        return max(y0 + slope * (x - x0), 0.2 * min(y0, y1))

    def target_seconds_per_token(self, shape: ModelShape) -> float:
        """The big run, on all ranks."""
        return self.seconds_per_token(shape) / self.rank_gain

    def _around(self, x: float) -> Sequence[tuple[float, float]]:
        """The two measured points that x lies between, or the outermost two."""
        if len(self.points) == 1:  # through the origin
            return ((0.0, 0.0), self.points[0])
        k = sum(1 for p in self.points[1:-1] if p[0] <= x)
        return self.points[k : k + 2]


def measure(shapes: Sequence[ModelShape], batch_tokens: Sequence[int]) -> Speeds:
    """Time each shape with as many processes running as this machine has cores."""
    from forescale.launch.speed import Meter

    n = cores()
    with Meter(n) as meter:
        seconds = [meter.seconds_per_token(shape, batch) for shape, batch in zip(shapes, batch_tokens, strict=True)]
        gain = meter.rank_gain(shapes[-1], batch_tokens[-1], ranks=n) if n > 1 else 1.0
    points = sorted(zip((shape.hardware_flops_per_token for shape in shapes), seconds, strict=True))
    return Speeds(tuple(points), n if gain > 1.05 else 1, max(gain, 1.0))
