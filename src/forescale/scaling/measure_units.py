"""Units of compute and of loss that a header states: `EFLOPs`, `compute (PFLOP-days)`, `loss (bits/token)`."""

from __future__ import annotations

import math
import re
from typing import Literal

from forescale.scaling.columns import ALIASES, TRAINING_LOSSES, normal

PREFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
PREFIX = {
    "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21, "yotta": 1e24,
}  # fmt: skip
DAY = 86400.0
"""Seconds: a PFLOP/s-day is 1e15 FLOPs a second for a day."""
NAT = math.log(2.0)
"""Nats of one bit."""

_MANY = r"(?:(kilo|mega|giga|tera|peta|exa|zetta|yotta)[\s_-]*|([kmgtpezy]))"
_DAYS = re.compile(rf"(?:^|[^a-z]){_MANY}f(?:lops?)?(?:s|[\s_]*(?:/|per)[\s_]*s(?:ec(?:ond)?)?)?[\s_-]*days?(?![a-z])")
_FLOPS = re.compile(rf"(?:^|[^a-z]){_MANY}flops?(?![a-z])")
_POWER = re.compile(r"(?:[x×*]\s*)?1(?:0\^|0\*\*|e\+?)(\d{1,2})(?:\s*flops?)?(?![\w])")
_RATE = re.compile(r"/|(^|[^a-z])(per|s|sec|second|gpu|device|chip|rank|token|util|peak|achieved|rate|mfu)([^a-z]|$)")
"""What makes FLOPs a speed, or a cost of something smaller than a run."""
_COMPUTE = frozenset({"compute", "training", "train", "total", "model", "flops", "flop", "budget", "c", "isoflop", "in",
                      "cost", "used", "spent"})  # fmt: skip
"""Words beside a unit that leave a column the compute of a run."""
_TOTAL = _COMPUTE - {"flops", "flop", "in", "model"}

_LOSS = (
    (r"bits?(?:_per)?_(?:token|tok)|bpt", "loss", NAT),
    (r"nats?(?:_per)?_byte|npb", "bpb", 1 / NAT),
    (r"bits?(?:_per)?_byte|bpb", "bpb", 1.0),
    (r"nats?(?:_per)?_(?:token|tok)|nats?", "loss", 1.0),
)
"""Unit at the end (or the beginning) of a name -> our column, and what brings it to nats per token or bits per byte."""
_HELD_OUT = frozenset({"val", "valid", "validation", "eval", "test", "final", "heldout", "held_out", ""})
_TRAINED = ALIASES["loss"].index("train_loss")
"""Names from this rank on are of training text."""
_BITS = re.compile(r"(^|_)(?:loss_)?bits?(_loss)?$")


def compute_unit(header: str) -> tuple[Literal["flops", "budget"], float] | None:
    """Our column and FLOPs per unit, of a header that states a unit of compute; None where it states none, or a speed.

    >>> compute_unit("EFLOPs"), compute_unit("compute (PFLOP/s-days)"), compute_unit("TFLOPs per GPU")
    (('flops', 1e+18), ('flops', 8.64e+19), None)
    """
    text = header.lower()
    found, factor, tera = _DAYS.search(text), DAY, False
    if found is None:
        found, factor = _FLOPS.search(text), 1.0
        tera = found is not None
    if found is not None:
        factor *= PREFIX[found[1]] if found[1] else PREFIXES[found[2]]
    else:
        found = _POWER.search(text)
        if found is None:
            return None
        factor = 10.0 ** int(found[1])
    rest = text[: found.start()] + " " + text[found.end() :]
    words = [word for word in re.split(r"[^a-z0-9]+", rest) if word]
    if _RATE.search(rest) or not set(words) <= _COMPUTE:
        return None
    if found.re is _POWER and not set(words) & (_COMPUTE - {"in"}):  # 1e18 alone is nothing
        return None
    if tera and factor < 1e15 and not set(words) & _TOTAL:  # TFLOPs alone are a speed, as like as not
        return None
    return ("budget" if {"budget", "isoflop"} & set(words) else "flops"), factor


def loss_unit(header: str) -> tuple[Literal["loss", "bpb"], float, int] | None:
    """Our column, the factor to its unit, and the rank of the name (lower is surer), of a header that states a unit.

    >>> loss_unit("final loss (nats)")[:2], loss_unit("bits_per_token")[0], loss_unit("val_loss_bpb")[:2]
    (('loss', 1.0), 'loss', ('bpb', 1.0))
    """
    name = normal(header)
    for pattern, ours, factor in _LOSS:
        found = re.match(rf"^(?:(.*?)_)?(?:{pattern})$", name) or re.match(rf"^(?:{pattern})_(.*)$", name)
        if found is None:
            continue
        base = found[1] or ""
        known = ALIASES["loss"]
        if base in known:
            return ours, factor, known.index(base)  # type: ignore[return-value]
        if base in _HELD_OUT:
            return ours, factor, 0  # type: ignore[return-value]
        if base == "train":
            return ours, factor, _TRAINED  # type: ignore[return-value]
    return None


def is_training(header: str) -> bool:
    """Whether a loss that a header states with its unit is one on training text."""
    unit = loss_unit(header)
    return normal(header) in TRAINING_LOSSES or (unit is not None and unit[2] >= _TRAINED)


def in_bits(header: str) -> bool:
    """A loss in bits of which the header does not say per what."""
    return bool(_BITS.search(normal(header)))


def unit_for(ours: str, header: str) -> float:
    """The factor that a header states for a column that the reader mapped to `ours`; 1 where it states none for it."""
    if ours in ("loss", "bpb"):
        loss = loss_unit(header)
        return loss[1] if loss and loss[0] == ours else 1.0
    compute = compute_unit(header) if ours in ("flops", "budget") else None
    return compute[1] if compute else 1.0


def states_loss_unit(header: str) -> bool:
    """Whether a header names a unit of loss beyond what our own names say: not to be guessed at as a plain loss."""
    name = normal(header)
    return name not in (*ALIASES["loss"], *ALIASES["bpb"]) and (loss_unit(header) is not None or in_bits(header))


def stated_measures(names: list[str], found: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Our column -> the table's column and its unit, for compute and losses whose header states one.

    A loss on held-out text stands before a training loss that was found by its plain name.
    """
    stated: dict[str, tuple[str, float]] = {}
    for name in names:
        compute = compute_unit(name)
        if compute and compute[0] not in found and compute[0] not in stated:
            stated[compute[0]] = (name, compute[1])
    losses = sorted((unit[2], place, name, unit) for place, name in enumerate(names) if (unit := loss_unit(name)))
    for rank, _, name, unit in losses:
        before = unit[0] not in found or (normal(found[unit[0]]) in TRAINING_LOSSES and rank < _TRAINED)
        if before and unit[0] not in stated and name not in found.values():
            stated[unit[0]] = (name, unit[1])
    return stated
