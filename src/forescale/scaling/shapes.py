"""Shapes for a size: how many layers, which width, for a given M (or N1, N2), by few rules.

Width and depth grow together: d / n_layer = 6 d^0.35, at most 128. That passes within a layer or two of the paper's
Table 3 and of the tiny ladders that were found to train well (d=32 L=2, d=64 L=3), and meets the published 7B at
4096 / 30. Loss is flat in this ratio over a factor of two to either side, so few widths suffice.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forescale.base.config import ModelSection
from forescale.base.errors import ConfigError
from forescale.base.records.laws import Scale
from forescale.base.shape import ModelShape, ffn_width

DEFAULT_VOCABULARY = 102_400
"""Rows of the embedding where no tokenizer says otherwise (paper 2.1)."""
GQA_FROM = 1e11
"""M from which 8 key/value heads are shared (the paper's 67B has 4.3e11, its 7B at 4.2e10 has none)."""
GQA_HEADS = 8
MOST_LAYERS = 10_000
"""The schema's range ends there."""
PARTS = ("n_layer", "d_model", "n_head", "n_kv_head", "d_ffn")
UNMET = 1.25
"""A shape this far from the size asked for, because parts of it are fixed, is refused (our choice)."""
ODD = 2.5
"""Width over depth that is off by more than this is warned of: the loss is flat to about 2 (our choice)."""
FFN = (1 / 16, 128.0)
"""Feed-forward over model width outside of which a shape is refused: published ones have 1 to 64 (our choice)."""
FFN_USUAL = (1.0, 8.0)
"""Outside of which it is warned of: from one width to Gemma's 8."""


@dataclass(frozen=True)
class ShapeRules:
    """What every shape obeys, and what the user fixed (None: free)."""

    seq_len: int = 4096
    vocab_size: int = DEFAULT_VOCABULARY
    head_dim: int = 128
    ffn_multiple: int = 256
    n_layer: int | None = None
    d_model: int | None = None
    n_head: int | None = None
    n_kv_head: int | None = None
    d_ffn: int | None = None

    @classmethod
    def of(cls, section: ModelSection, shape: Mapping[str, float] | None = None) -> ShapeRules:
        """The recipe's [model], with `--shape KEY=VALUE` laid over it."""
        known = set(ModelSection.model_fields) - {"init_std"}  # the weights' start is no shape
        for key in shape or {}:
            if key not in known:
                raise ConfigError(f"a shape has no `{key}`", remedy=f"known: {', '.join(sorted(known))}", key=key)
        values: dict[str, Any] = section.model_dump() | dict(shape or {})
        if values["vocab_size"] is None:
            values["vocab_size"] = DEFAULT_VOCABULARY
        values.pop("init_std")
        for key, value in values.items():
            whole = isinstance(value, int | float) and value > 0 and float(value).is_integer()
            if value is not None and not whole:
                raise ConfigError(
                    f"{key} = {value} is not a positive whole number",
                    remedy="write all its digits, or an exponent: 2048, 102400, 1e5",
                    key=key,
                )
            if value is not None:
                _in_range(key, float(value))
        whole_values: dict[str, Any] = {key: None if v is None else int(v) for key, v in values.items()}
        rules = cls(**whole_values)
        rules.check("head_dim" in (shape or {}))
        return rules

    def check(self, heads_fixed: bool) -> None:
        """What is fixed is kept or refused: heads share the width, and key/value heads the heads (exit 2).

        `heads_fixed`: `head_dim` was asked for, not only aimed at.
        """
        if self.n_head is not None:
            _divides("d_model", self.d_model, "n_head", self.n_head)
            _divides("n_head", self.n_head, "n_kv_head", self.n_kv_head)
        elif heads_fixed:
            _divides("d_model", self.d_model, "head_dim", self.head_dim)
        _divides("d_model", self.d_model, "n_kv_head", self.n_kv_head)
        if self.n_head is not None and self.d_model is not None:
            _in_range("head_dim", self.d_model / self.n_head, f" (d_model = {self.d_model} / n_head = {self.n_head})")
        if self.d_ffn is not None and self.d_model is not None and not FFN[0] <= self.d_ffn / self.d_model <= FFN[1]:
            low, high = (math.ceil(FFN[0] * self.d_model), math.floor(FFN[1] * self.d_model))
            raise ConfigError(
                f"d_ffn = {self.d_ffn} is {self.d_ffn / self.d_model:.3g} x d_model = {self.d_model}",
                why="published models have 1 to 64 times the width (T5-11B)",
                remedy=f"permitted here: {low} to {high}; usual is about {8 * self.d_model // 3}",
                key="d_ffn",
            )
        if heads_fixed and self.n_head is not None and self.d_model not in (None, self.n_head * self.head_dim):
            raise ConfigError(
                f"{self.n_head} heads of {self.head_dim} are {self.n_head * self.head_dim} wide, not {self.d_model}",
                remedy="fix two of d_model, n_head and head_dim",
                key="head_dim",
            )

    @property
    def fixed(self) -> bool:
        """The shape is fully decided: width and depth are given."""
        return self.n_layer is not None and self.d_model is not None

    def kv_heads(self, n_head: int, flops_per_token: float) -> int:
        """Given ones, else 8 shared ones from GQA_FROM on where they divide the heads, else one a query head."""
        if self.n_kv_head is not None:
            return self.n_kv_head
        share = flops_per_token >= GQA_FROM and n_head > GQA_HEADS and n_head % GQA_HEADS == 0
        return GQA_HEADS if share else n_head

    def _heads(self, d_model: int) -> int:
        """Heads of about `head_dim` that divide the width, and that fixed key/value heads divide."""
        shared = self.n_kv_head or 1
        n_head = max(shared, d_model // self.head_dim // shared * shared)
        while n_head > shared and d_model % n_head:
            n_head -= shared
        return n_head

    def build(self, d_model: int, n_layer: int, flops_hint: float) -> ModelShape:
        """The shape of this width and depth."""
        n_head = self.n_head or self._heads(d_model)
        return ModelShape(
            n_layer=n_layer,
            d_model=d_model,
            n_head=n_head,
            n_kv_head=self.kv_heads(n_head, flops_hint),
            d_ffn=self.d_ffn or ffn_width(d_model, self.ffn_multiple),
            vocab_size=self.vocab_size,
            seq_len=self.seq_len,
        )


def _in_range(key: str, value: float, origin: str = "") -> None:
    """Refuse what the recipe's schema does not permit: the ranges are stated there, once."""
    limits = ModelSection.model_fields[key].metadata
    low, high = (next(getattr(item, end) for item in limits if hasattr(item, end)) for end in ("ge", "le"))
    if not low <= value <= high:
        raise ConfigError(f"{key} = {value:.10g}{origin} is not between {low} and {high}", key=key)


def _divides(whole: str, value: int | None, key: str, part: int | None) -> None:
    if value is None or part is None or value % part == 0:
        return
    divisors = [n for n in range(1, min(value, 100_000) + 1) if value % n == 0]
    near = [max(n for n in divisors if n < part), *[n for n in divisors if n > part][:1]]
    raise ConfigError(
        f"{whole} = {value} is not divisible by {key} = {part}",
        remedy=f"{key} = {' or '.join(map(str, near))} divides it; or leave one of the two free",
        key=key,
    )


def proportions(shape: ModelShape, rules: ShapeRules) -> list[str]:
    """A warning where what is fixed bends the shape out of what is usual; nothing else does."""
    return [*_aspect_words(shape, rules), *_other_words(shape, rules)]


def _other_words(shape: ModelShape, rules: ShapeRules) -> list[str]:
    """The same for the feed-forward width and the heads'."""
    found = []
    ratio = shape.d_ffn / shape.d_model
    if rules.d_ffn is not None and not FFN_USUAL[0] <= ratio <= FFN_USUAL[1]:
        found.append(
            f"d_ffn = {rules.d_ffn:,} is {ratio:.3g} x the width, usual is about 2.67: the laws hold for usual shapes"
        )
    if rules.n_head is not None and not 16 <= shape.head_dim <= 256:
        found.append(f"heads of {shape.head_dim} are unusual (16 to 256): the laws hold for usual shapes")
    return found


def _aspect_words(shape: ModelShape, rules: ShapeRules) -> list[str]:
    if rules.n_layer is None and rules.d_model is None and rules.n_head is None:
        return []
    found, usual = shape.d_model / shape.n_layer, aspect(shape.d_model)
    if 1 / ODD < found / usual < ODD:
        return []
    fixed = [key for key in ("n_layer", "d_model", "n_head") if getattr(rules, key) is not None]
    form = "shallow and wide" if found > usual else "deep and narrow"
    return [
        f"a {form} shape: width / layers is {shape.d_model:,} / {shape.n_layer} = {found:.3g}, usual at this width is"
        f" about {usual:.3g}; it comes from fixing {', '.join(fixed)}, and the laws hold for usual shapes"
    ]


def aspect(d_model: float) -> float:
    """Width over depth that the rules aim at."""
    return min(128.0, 6.0 * d_model**0.35)


def size_of(shape: ModelShape, scale: Scale) -> float:
    """The shape's size in the laws' unit."""
    return {"M": shape.flops_per_token, "N1": shape.params_non_embedding, "N2": shape.params}[scale]


def nearest(size: float, rules: ShapeRules, *, scale: Scale = "M") -> ModelShape:
    """The buildable shape whose size is nearest to `size` (ratio), at a sensible ratio of width to depth.

    A few percent of size are worth less than a well-proportioned shape, but more than a perfect one: the penalty of
    an aspect 1.5x off equals 4% of size. In shallow models a layer more or less is another kind of model (one layer
    copies nothing, two and three do), and a ladder that mixes them does not lie on one curve: there it equals 25%.
    Where layers, width or heads are fixed, the proportions are the reader's, and size alone decides.
    """
    best, best_price = None, math.inf
    bent = rules.n_layer is not None or rules.d_model is not None or rules.n_head is not None
    hint = size if scale == "M" else 6.0 * size
    for d_model in _widths(rules) if rules.n_layer is None else _widths_beside(size, rules, scale, hint):
        for n_layer in _depths(size, d_model, rules, scale, hint):
            shape = rules.build(d_model, n_layer, hint)
            off = abs(math.log(size_of(shape, scale) / size))
            lean = math.log(d_model / n_layer / aspect(d_model)) / math.log(1.5)
            price = off if bent else off + (0.04 if n_layer >= 8 else 0.25) * lean**2
            if price < best_price:
                best, best_price = shape, price
    if best is None:
        raise ConfigError(
            f"no shape of the fixed kind comes near a size of {size:.3g} ({scale})",
            remedy="fix fewer of n_layer, d_model, n_head, d_ffn",
        )
    return best


def refuse_unmet(shape: ModelShape, wanted: float | None, rules: ShapeRules) -> None:
    """Refuse parts of a shape (exit 2) with which no shape comes near the size (M) wanted, with the sizes that do."""
    fixed = [f"{key} = {getattr(rules, key)}" for key in PARTS if getattr(rules, key) is not None]
    if wanted is None or not fixed or abs(math.log(shape.flops_per_token / wanted)) <= math.log(UNMET):
        return
    ends = [
        rules.build(d_model, n_layer, wanted)
        for d_model in (_widths(rules)[0], _widths(rules)[-1])
        for n_layer in ([rules.n_layer] if rules.n_layer is not None else [2, MOST_LAYERS])
    ]
    small, large = (end(ends, key=lambda one: one.flops_per_token) for end in (min, max))
    if small.flops_per_token / UNMET <= wanted <= UNMET * large.flops_per_token:
        return  # inside, but sizes come in steps
    raise ConfigError(
        f"no shape with {', '.join(fixed)} has {wanted:.3g} FLOPs a token, which this budget asks for",
        why=f"such shapes have {_words(small)} to {_words(large)}",
        remedy=f"fix fewer of {', '.join(PARTS)}, or give a budget for such a size",
        key=fixed[0].split(" ")[0],
    )


def _words(shape: ModelShape) -> str:
    return f"{shape.flops_per_token:.3g} ({shape.n_layer} x {shape.d_model})"


def _widths(rules: ShapeRules) -> list[int]:
    """Widths to try: multiples of the head's; beyond 16 heads every second, beyond 64 every eighth, and so on."""
    if rules.d_model is not None:
        return [rules.d_model]
    if rules.n_head is not None:
        return [rules.n_head * rules.head_dim]
    unit = rules.head_dim
    counts = [*range(1, 17), *range(18, 65, 2), *range(72, 257, 8), *range(288, 2001, 32)]
    # below one head's width a single narrow head; some widths between the first few heads
    between = [w for w in range(8, 129, 8) if w < unit or unit <= 16]
    widths = {*between, *(unit * c for c in counts)}
    return sorted(w for w in widths if w % (rules.n_kv_head or 1) == 0)  # else their heads do not share the width


def _widths_beside(size: float, rules: ShapeRules, scale: Scale, hint: float) -> list[int]:
    """Where the layers are fixed: the two widths, of all multiples of the head's, that enclose the size."""
    assert rules.n_layer is not None
    widths, layers = _widths(rules), rules.n_layer
    if len(widths) > 1:
        unit = rules.head_dim
        whole = range(unit, widths[-1] + 1, unit)
        widths = sorted({*widths, *(w for w in whole if w % (rules.n_kv_head or 1) == 0)})
    at = bisect.bisect(widths, size, key=lambda width: size_of(rules.build(width, layers, hint), scale))
    return widths[max(0, at - 1) : at + 1]


def _depths(size: float, d_model: int, rules: ShapeRules, scale: Scale, hint: float) -> list[int]:
    if rules.n_layer is not None:
        return [rules.n_layer]
    one, two = (size_of(rules.build(d_model, n, hint), scale) for n in (1, 2))
    exact = 1 + (size - one) / (two - one)
    # two layers at least: one alone learns no copying, and lies on another curve
    return sorted({min(max(2, n), MOST_LAYERS) for n in (math.floor(exact), math.ceil(exact))})


@dataclass(frozen=True)
class Family:
    """The rules' shapes as a continuum: sizes as smooth functions of width, to pass from one unit to another."""

    rules: ShapeRules

    def sizes(self, d_model: float) -> dict[Scale, float]:
        """M, N1 and N2 at a width that need not be buildable; 12 d² weights a layer, as in the paper's Eq. 2."""
        layers = self.rules.n_layer or max(1.0, d_model / aspect(d_model))
        weights = 12.0 * layers * d_model**2
        return {
            "M": 6.0 * weights + 12.0 * layers * d_model * self.rules.seq_len,
            "N1": weights,
            "N2": weights + 2.0 * self.rules.vocab_size * d_model,
        }

    def convert(self, size: float, source: Scale, to: Scale) -> float:
        """A size in another unit, along the family."""
        if source == to:
            return size
        low, high = 1e-3, 1e7
        for _ in range(100):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.sizes(middle)[source] < size else (low, middle)
        return self.sizes(math.sqrt(low * high))[to]
