"""Size, tokens and compute of each row: any two give the third; three that disagree are reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import Scale
from forescale.base.shape import ModelShape
from forescale.scaling.columns import number
from forescale.scaling.sources import Row

Units = dict[Scale, list[float | None]]
"""Size of each row, by unit."""

WARN_ABOVE, LEAVE_OUT_ABOVE = 0.01, 0.10
"""Relative disagreement of size x tokens with the table's compute (contract, section 2)."""
_COLUMNS: dict[Scale, tuple[str, ...]] = {
    "M": ("flops_per_token",), "N1": ("params_non_embedding",), "N2": ("active_params", "params"),
}  # fmt: skip
"""Columns that give each unit, the first that is there."""
_SHAPE = ("n_layer", "d_model", "n_head", "n_kv_head", "d_ffn", "vocab_size", "seq_len")


@dataclass
class Sizes:
    """The size of each row in each unit that the table allows, and what was chosen."""

    scale: Scale
    values: Units
    warnings: list[str] = field(default_factory=list)


def choose_sizes(rows: list[Row], found: dict[str, str], scale: Scale | None) -> Sizes:
    """Sizes in every unit the columns allow; the unit is `scale`, else M, else N1, else N2."""
    values: Units = {}
    warnings: list[str] = []
    cells = {name: [number(row.get(column)) for row in rows] for name, column in found.items()}
    shapes = _shapes(cells, len(rows))
    counted = _counted(shapes, cells)
    if "active_params" in cells:
        warnings.append("sparse models: `active_params` is used as the size, not the total")
    for unit, names in _COLUMNS.items():
        named = next((cells[name] for name in names if name in cells), None)
        if named is not None or unit in counted:
            values[unit] = named if named is not None else counted[unit]
    if scale == "N1" and "params" in cells and "params_non_embedding" not in cells and shapes is None:
        values["N1"] = values.pop("N2")
    derived = _size_from_compute(cells, values)
    if derived is not None:
        values["M"] = derived
    return Sizes(_decide(values, found, scale, counted, warnings), values, warnings)


def size_columns(found: dict[str, str], scale: Scale) -> tuple[str, ...]:
    """Our names of the columns that the size in `scale` is read from: one count, else the shape."""
    names = _COLUMNS[scale] + (_COLUMNS["N2"][1:] if scale == "N1" else ())
    return next(((name,) for name in names if name in found), tuple(name for name in _SHAPE if name in found))


def used_columns(
    understood: dict[str, str], found: dict[str, str], scale: Scale
) -> tuple[dict[str, str], list[str]]:  # fmt: skip
    """What was understood without the size that another one stands before, and that one (total beside active)."""
    if scale != "N2" or not {"active_params", "params"} <= found.keys():
        return understood, []
    rest = {ours: theirs for ours, theirs in understood.items() if ours != "params"}
    return rest, [f"{understood['params']} (active_params is the size)"]


def _counted(shapes: list[ModelShape | None] | None, cells: dict[str, list[float | None]]) -> Units:
    """Each unit that the table's shapes allow, counted from them."""
    if shapes is None:
        return {}
    counted: Units = {}
    if "seq_len" in cells:
        counted["M"] = [s.flops_per_token if s else None for s in shapes]
    counted["N1"] = [s.params_non_embedding if s else None for s in shapes]
    if "vocab_size" in cells:
        counted["N2"] = [s.params if s else None for s in shapes]
    return counted


def _of_one_shape(values: Units, counted: Units) -> bool:
    """Every unit is what the table's own shapes count to (within 1%): nobody meant different things by them.

    Without shapes nobody knows what a foreign table's counts leave in or out, and the choice decides what is fitted.
    """
    for unit, column in values.items():
        if unit not in counted:
            return False
        for named, own in zip(column, counted[unit], strict=True):
            if named is not None and (own is None or abs(named / own - 1) > WARN_ABOVE):
                return False
    return True


def _decide(
    values: Units, found: dict[str, str], scale: Scale | None, counted: Units, warnings: list[str]
) -> Scale:  # fmt: skip
    if not values:
        raise InputError(
            "no column gives the size of the runs",
            why=f"columns understood: {_said(found) or 'none'}",
            remedy="name one with --column flops_per_token=..., params=... or params_non_embedding=...",
        )
    if scale is not None:
        if scale not in values:
            raise ConfigError(
                f"the table has no size in {scale}",
                why=f"it has {', '.join(values)}",
                remedy="M needs flops_per_token, or a shape with seq_len; N1 params_non_embedding; N2 params",
                key="scale",
            )
        return scale
    chosen: Scale = "M" if "M" in values else "N1" if "N1" in values else "N2"
    if counted and "M" not in values:
        if "params" not in found and "params_non_embedding" not in found:
            raise ConfigError(
                "a shape needs `seq_len` before FLOPs per token can be counted",
                remedy="add the column, or choose --scale N1 (parameters without embeddings)",
                key="seq_len",
            )
        chosen = "N1" if "params_non_embedding" in found else "N2"
        warnings.append(f"the table has shapes but no `seq_len`, so M cannot be counted: size is {chosen}")
    elif chosen == "N2":
        column = (found.get("active_params") or found.get("params", "the shape")).removeprefix("\0")
        warnings.append(
            f"`{column}` is taken as parameters with embeddings (N2); if they are left out of it, say --scale N1"
        )
    elif len(values) > 1 and not _of_one_shape(values, counted):
        others = ", ".join(v for v in values if v != chosen)
        warnings.append(f"sizes in several units ({chosen}, {others}): {chosen} is used; --scale chooses another")
    return chosen


def _said(found: dict[str, str]) -> str:
    return ", ".join(f"{ours} from {theirs.removeprefix(chr(0))}" for ours, theirs in found.items())


def _shapes(cells: dict[str, list[float | None]], count: int) -> list[ModelShape | None] | None:
    if not {"n_layer", "d_model"} <= cells.keys():
        return None

    def at(name: str, i: int, default: float) -> float:
        value = cells[name][i] if name in cells else None
        return default if value is None else value

    shapes: list[ModelShape | None] = []
    for i in range(count):
        layers, width = cells["n_layer"][i], cells["d_model"][i]
        if not layers or not width or layers <= 0 or width <= 0:
            shapes.append(None)
            continue
        heads = at("n_head", i, 1)
        try:
            shapes.append(
                ModelShape(
                    n_layer=int(layers),
                    d_model=int(width),
                    n_head=int(heads),
                    n_kv_head=int(at("n_kv_head", i, heads)),
                    d_ffn=at("d_ffn", i, 8 / 3 * width),
                    vocab_size=int(at("vocab_size", i, 1)),
                    seq_len=int(at("seq_len", i, 1)),
                )
            )
        except ConfigError:
            shapes.append(None)
    return shapes


def _size_from_compute(cells: dict[str, list[float | None]], values: Units) -> list[float | None] | None:
    """M = C / D where a table has compute and tokens but no size."""
    if values or not {"flops", "tokens"} <= cells.keys():
        return None
    pairs = zip(cells["flops"], cells["tokens"], strict=True)
    return [c / d if c and d and c > 0 and d > 0 else None for c, d in pairs]


@dataclass(frozen=True)
class Point:
    """Size, tokens and compute of one row, or why it has none."""

    size: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    reason: str = ""
    missing: bool = False
    """There is no size or no tokens, and nothing to derive them from."""
    mismatch: float = 0.0
    """Relative disagreement with the table's own compute, where all three are given."""


def resolve(scale: Scale, size: float | None, tokens: float | None, flops: float | None, budget: float | None) -> Point:
    """Any two of size, tokens and compute give the third; with parameters C is always 6 N D."""
    factor = 1.0 if scale == "M" else 6.0
    compute = flops if flops is not None else budget if tokens is None or size is None else None
    for name, value in (("size", size), ("tokens", tokens), ("flops", compute)):
        if value is not None and not 0 < value < float("inf"):
            return Point(reason=f"{name} is {value:g}, not a positive number")
    if size is None and tokens is not None and compute is not None and scale == "M":
        size = compute / tokens
    if tokens is None and size is not None and compute is not None:
        tokens = compute / (factor * size)
    if size is None or tokens is None:
        missing = [n for n, v in (("size", size), ("tokens", tokens)) if v is None]
        return Point(reason=f"no {' and no '.join(missing)}, and no compute to derive it from", missing=True)
    product = factor * size * tokens
    mismatch = 0.0 if compute is None or scale != "M" else abs(product / compute - 1)
    if mismatch > LEAVE_OUT_ABOVE:
        return Point(
            reason=f"size x tokens = {product:.4g} but the table says {compute:.4g} FLOPs ({mismatch:.0%} apart)"
        )
    return Point(size, tokens, product, mismatch=mismatch)


def as_scale(text: Any) -> Scale | None:
    """`M`, `N1` or `N2`, or exit 2."""
    if text is None or text in ("M", "N1", "N2"):
        return text
    raise ConfigError(
        f"--scale {text} is not a unit of size", remedy="M (FLOPs per token), N1 or N2 (parameters)", key="scale"
    )
