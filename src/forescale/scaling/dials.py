"""The one dial of a plan: FLOPs, tokens, days, minutes, money, or what the recipe fixes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from forescale.base.config import ScheduleSection
from forescale.base.errors import ConfigError
from forescale.base.records.plan import Sharding
from forescale.base.shape import ModelShape
from forescale.scaling.devices import Device, device
from forescale.scaling.guide import Guide
from forescale.scaling.shapes import ShapeRules, nearest
from forescale.scaling.step_time import reach


@dataclass(frozen=True)
class Dials:
    """What the user asked for, as given."""

    flops: float | None = None
    tokens: float | None = None
    days: float | None = None
    minutes: float | None = None
    money: float | None = None
    gpus: int | None = None
    device: str | None = None
    price: float | None = None
    utilisation: float = 0.4
    sharding: Sharding = "full"
    ranks: int | None = None
    """Processes of this machine that will share each batch: not devices whose layout or cost somebody asks for."""

    def __post_init__(self) -> None:
        for key in ("flops", "tokens", "days", "minutes", "money", "gpus", "price", "utilisation", "ranks"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, Real) and math.isfinite(value) and float(value) > 0):
                raise ConfigError(f"--{key} must be a positive number, not {value!r}", key=key)
        if self.utilisation > 1:
            raise ConfigError(f"--utilisation is a share of the peak, not {self.utilisation}", key="utilisation")
        turned = [k for k in ("flops", "tokens", "days", "minutes", "money") if getattr(self, k) is not None]
        if len(turned) > 1:
            raise ConfigError(
                f"a plan has one dial, not {' and '.join('--' + k for k in turned)}", remedy="leave all but one away"
            )
        if self.days is not None and (self.gpus is None or self.device is None):
            raise ConfigError("--days needs --gpus and --device", remedy="e.g. --days 30 --gpus 512 --device h100")
        if self.money is not None and (self.price is None or self.device is None):
            raise ConfigError(
                "--money needs --price (per device-hour) and --device",
                remedy="e.g. --money 1e6 --price 2 --device h100",
            )

    @property
    def sharers(self) -> int | None:
        """How many share a batch, devices or processes."""
        return self.gpus if self.gpus is not None else self.ranks

    @property
    def limit_hours(self) -> float | None:
        """The hours that days, or money for so many devices (else for one), give a run; None: not limited."""
        if self.days is not None:
            return 24.0 * self.days
        if self.money is not None and self.price is not None:
            return self.money / self.price / (self.gpus or 1)
        return None

    @property
    def hardware(self) -> Device | None:
        """The device of the table, if one was named."""
        return None if self.device is None else device(self.device)


@dataclass(frozen=True)
class Asked:
    """The budget in FLOPs (M x D), with what of M and D is already decided (None: free)."""

    flops: float
    shape: ModelShape | None
    tokens: float | None


def resolve(
    dials: Dials,
    guide: Guide,
    rules: ShapeRules,
    schedule: ScheduleSection,
    seconds_per_token: Callable[[ModelShape], float] | None,
) -> Asked:
    """Turn the dial into FLOPs; days and money into those of devices that never wait (`budget.within` counts waits)."""
    shape = nearest(1e9, rules) if rules.fixed else None
    tokens = _tokens(dials, schedule)
    flops = _flops(dials)
    if dials.minutes is not None:
        if seconds_per_token is None:
            raise ConfigError(
                "--minutes needs the speed of this machine", remedy="call it through Project.plan, which measures it"
            )
        return within_seconds(60.0 * dials.minutes, guide, rules, shape, tokens, seconds_per_token)
    if flops is None and tokens is None:
        raise ConfigError(
            "nothing says how large the run may be",
            remedy="give --flops, --tokens, --days, --minutes or --money, or a recipe that fixes shape and tokens",
        )
    if flops is None:
        assert tokens is not None
        flops = shape.flops_per_token * tokens if shape else guide.flops_for_tokens(tokens)
    elif shape is not None and tokens is not None and abs(shape.flops_per_token * tokens / flops - 1) > 0.01:
        raise ConfigError(
            f"shape and tokens are fixed at {shape.flops_per_token * tokens:.4g} FLOPs, but {flops:.4g} were asked for",
            remedy="leave the dial away, or fix only one of shape and tokens",
        )
    return Asked(flops, shape, tokens)


def _tokens(dials: Dials, schedule: ScheduleSection) -> float | None:
    if dials.tokens is not None and schedule.tokens is not None and dials.tokens != schedule.tokens:
        raise ConfigError(
            f"the recipe fixes {schedule.tokens:.4g} tokens, but --tokens says {dials.tokens:.4g}",
            remedy="leave one of them away",
            key="schedule.tokens",
        )
    return dials.tokens if dials.tokens is not None else schedule.tokens


def _flops(dials: Dials) -> float | None:
    hardware = dials.hardware
    if dials.days is not None and hardware is not None and dials.gpus is not None:
        return reach(dials.days, dials.gpus, hardware, dials.utilisation)
    if dials.money is not None and dials.price is not None and hardware is not None:
        return reach(dials.money / dials.price / 24.0, 1, hardware, dials.utilisation)
    return dials.flops


def within_seconds(
    seconds: float,
    guide: Guide,
    rules: ShapeRules,
    shape: ModelShape | None,
    tokens: float | None,
    seconds_per_token: Callable[[ModelShape], float],
) -> Asked:
    """The largest optimally split run that ends in `seconds`, by each shape's own measured speed.

    At this size C is not time: a small shape spends most of it in its head. Each shape is measured once.
    """
    known: dict[ModelShape, float] = {}

    def speed(of: ModelShape) -> float:
        if of not in known:
            known[of] = seconds_per_token(of)
        return known[of]

    if shape is not None:
        count = seconds / speed(shape) if tokens is None else tokens
        return Asked(shape.flops_per_token * count, shape, count)
    low, high = 1e6, 1e24
    for _ in range(40):  # shapes are few: most steps ask for one that is already measured
        middle = math.sqrt(low * high)
        m, count = guide.split(middle)
        candidate = nearest(m, rules)
        need = speed(candidate) * (tokens or middle / candidate.flops_per_token)
        low, high = (middle, high) if need <= seconds else (low, middle)
        if high / low < 1.02:
            break
    return Asked(low, None, tokens)
