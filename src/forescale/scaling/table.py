"""The run table: rows of finished runs as arrays, with everything that was guessed, left out and why.

(Contract, section 2.) All laws are fitted on this one noun, whoever made the runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import LeftOut, Scale, Unit
from forescale.scaling.columns import (
    TRAINING_LOSSES,
    apply_mapping,
    apply_where,
    guess,
    normal,
    number,
    text_of,
)
from forescale.scaling.sizes import WARN_ABOVE, Point, as_scale, choose_sizes, resolve
from forescale.scaling.sources import Row, read_rows

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUDGET_TOLERANCE = 0.10
"""Without a `budget` column, compute within this fraction is one budget."""
NEVER_MIXED = ("tokenizer", "validation", "seq_len", "group")
CONDITIONS = (
    "seq_len", "tokenizer", "validation", "schedule", "warmup_tokens", "weight_decay", "optimizer", "unique_tokens",
    "batch_tokens", "lr",
)  # fmt: skip
OUTCOME = re.compile(
    r"loss|bpb|acc|perplex|ppl|score|time|second|tok_per|tokens_per_s|throughput|util|mfu|hardware|date|host|url|path"
    r"|created|grad_norm|reason|outlier|notes|tags|task|runtime|memory"
)
"""Columns that a run produces, beside those that set it: two rows may differ in them and be the same setting."""


@dataclass(frozen=True)
class RunTable:
    """Usable runs as parallel arrays; nan where a column is missing. Sizes in `scale`, losses in `unit`."""

    scale: Scale
    unit: Unit
    size: Array
    tokens: Array
    flops: Array
    loss: Array
    row: Ints
    """Data row in the source, counted from 1."""
    run: tuple[str, ...]
    trunk: Ints
    """Runs of one number share a trunk and are resampled together."""
    setting: Ints
    """Runs of one number differ in seed only: replicates."""
    budget: Array
    """Nominal compute of the budget each run belongs to."""
    lr: Array
    batch_tokens: Array
    steps: Array
    seed: Array
    bigram: Array
    """The tokens' own bigram entropy in `unit`."""
    hardware_flops: Array
    sizes: dict[Scale, Array] = field(default_factory=dict)
    """Size in every unit that the table allows."""
    group: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    guesses: dict[str, str] = field(default_factory=dict)
    source: str = ""
    n_rows: int = 0

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops_factor(self) -> float:
        """C = factor x size x tokens."""
        return 1.0 if self.scale == "M" else 6.0

    def take(self, keep: npt.NDArray[Any]) -> RunTable:
        """The runs at these indices (or where this mask is true)."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        arrays = {
            name: getattr(self, name)[index]
            for name in (
                "size", "tokens", "flops", "loss", "row", "trunk", "setting", "budget", "lr", "batch_tokens", "steps",
                "seed", "bigram", "hardware_flops",
            )
        }  # fmt: skip
        rest = {
            "run": tuple(self.run[i] for i in index),
            "sizes": {scale: values[index] for scale, values in self.sizes.items()},
        }
        return RunTable(**{**self.__dict__, **arrays, **rest})


def read_runs(
    source: Any, *, scale: str | None = None, columns: Sequence[str] | None = None, where: Sequence[str] | None = None,
    group: str | None = None, metric: str | None = None,
) -> RunTable:  # fmt: skip
    """Read, name, choose and check the rows of a table of runs (contract, section 2)."""
    if isinstance(source, RunTable):
        return source
    wanted = as_scale(scale)
    raw = read_rows(source)
    if not raw.rows:
        raise InputError("the table has no rows", why=f"source: {raw.source}", remedy="give finished runs, one a row")
    names = list(dict.fromkeys(name for row in raw.rows for name in row))
    _refuse_single_curve(names)
    mapped, rows = apply_mapping(raw.rows, columns or ())
    found = guess([n for n in names if n not in mapped.values()], mapped.values())
    found = {k: v for k, v in found.items() if k not in mapped}
    guesses = {**{k: v for k, v in found.items() if k != v}, **mapped}
    keep = apply_where(raw.rows, where or (), {**found, **mapped})
    found |= {ours: f"\0{ours}" for ours in mapped}
    index = [i for i, k in enumerate(keep) if k]
    index = _choose_group(rows, index, found, group)
    _refuse_mixtures(rows, index, found)
    return _build(rows, index, raw.lines, raw.source, found, guesses, wanted, metric, names)


def _refuse_single_curve(names: list[str]) -> None:
    if {normal(n) for n in names} >= {"wall_time", "step", "value"}:
        raise InputError(
            "this is TensorBoard's export of one curve, not a table of runs",
            why="it has Wall time, Step and Value: one scalar of one run",
            remedy="make a table with one row a finished run: size, tokens, loss (`forescale watch` reads one curve)",
        )


def _choose_group(rows: list[Row], index: list[int], found: dict[str, str], group: str | None) -> list[int]:
    if group is None:
        return index
    if "group" not in found:
        raise ConfigError("--group needs a `group` column", remedy="name it with --column group=COLUMN", key="group")
    chosen = [i for i in index if text_of(rows[i].get(found["group"])) == group]
    if not chosen:
        known = sorted({text_of(rows[i].get(found["group"])) for i in index})
        raise ConfigError(f"no runs of group `{group}`", remedy=f"groups here: {', '.join(known)}", key="group")
    return chosen


def _refuse_mixtures(rows: list[Row], index: list[int], found: dict[str, str]) -> None:
    for name in NEVER_MIXED:
        if name not in found:
            continue
        values = sorted({text_of(rows[i].get(found[name])) for i in index} - {""})
        if len(values) > 1:
            column = found[name].removeprefix("\0")
            option = "--group NAME" if name == "group" else f"--where {column}=VALUE"
            raise ConfigError(
                f"the runs differ in {name}: {', '.join(values[:12])}",
                why="their losses do not lie on one curve",
                remedy=f"choose with {option}" + (" (`forescale compare` fits each)" if name == "group" else ""),
                key=column,
            )


def _loss_column(rows: list[Row], index: list[int], found: dict[str, str], metric: str | None) -> tuple[str, Unit]:
    """Which column is fitted, in which unit; a unit that changes from row to row is refused."""
    if metric not in (None, "loss", "bpb"):
        raise ConfigError(f"--metric {metric} is unknown", remedy="loss (nats per token) or bpb", key="metric")
    if "unit" in found:
        units = {text_of(rows[i].get(found["unit"])).lower() for i in index} - {""}
        if len(units) > 1:
            raise InputError(
                f"the unit of the loss changes from row to row: {', '.join(sorted(units))}",
                why="nats per token and bits per byte do not share a fit",
                remedy="choose with --where unit=VALUE",
                key="unit",
            )
    if metric is not None and metric not in found:
        raise ConfigError(f"the table has no `{metric}`", remedy=f"name it with --column {metric}=COLUMN", key=metric)
    if metric is None and {"loss", "bpb"} <= found.keys():
        has = [
            (number(rows[i].get(found["bpb"])) is not None, number(rows[i].get(found["loss"])) is not None)
            for i in index
        ]
        if any(b for b, _ in has) and any(not b and v for b, v in has):
            raise InputError(
                "the unit of the loss changes from row to row",
                why="some rows have only `loss` (nats per token), others `bpb`: they do not share a fit",
                remedy="choose with --metric loss or --metric bpb; rows without it are left out",
                key="bpb",
            )
        if not any(b for b, _ in has):
            return "loss", "nats_per_token"
    if metric == "bpb" or (metric is None and "bpb" in found):
        return "bpb", "bpb"
    if "loss" not in found:
        raise InputError(
            "no column gives the loss",
            why="none of the names is known as a validation loss",
            remedy="name it with --column loss=COLUMN (nats per token) or --column bpb=COLUMN",
        )
    units = {text_of(rows[i].get(found["unit"])).lower() for i in index} - {""} if "unit" in found else set()
    return "loss", "bpb" if units and all(u.startswith(("bpb", "bit")) for u in units) else "nats_per_token"


@dataclass
class _Draft:
    """Columns in the making."""

    index: list[int] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def _build(
    rows: list[Row], index: list[int], lines: list[int | None], source: str, found: dict[str, str],
    guesses: dict[str, str], scale: Scale | None, metric: str | None, names: list[str],
) -> RunTable:  # fmt: skip
    loss_name, unit = _loss_column(rows, index, found, metric)
    sizes = choose_sizes(rows, found, scale)
    draft = _Draft(warnings=list(sizes.warnings))
    if normal(found[loss_name].removeprefix("\0")) in TRAINING_LOSSES and loss_name not in guesses:
        guesses = {**guesses, loss_name: found[loss_name]}
    if loss_name in found and normal(found[loss_name]) in TRAINING_LOSSES:
        draft.warnings.append(f"`{found[loss_name]}` is a training loss; a validation loss makes a better law")
    _screen(rows, index, lines, found, loss_name, sizes.values[sizes.scale], sizes.scale, draft)
    settings = _settings(rows, names, found, draft, lines)
    if not draft.index:
        reasons = "; ".join(sorted({out.reason for out in draft.left_out})[:4])
        raise InputError("no usable run in the table", why=reasons, remedy="see the reasons; --column and --where help")
    at = draft.index

    def column(name: str) -> Array:
        values = [number(rows[i].get(found[name])) if name in found else None for i in at]
        return np.array([np.nan if v is None else v for v in values], dtype=float)

    batch = column("batch_tokens")
    if "batch_seqs" in found and "batch_tokens" not in found:
        batch = column("batch_seqs") * column("seq_len")
    flops = np.array([p.flops for p in draft.points])
    tokens = np.array([p.tokens for p in draft.points])
    steps = column("steps")
    steps = np.where(np.isnan(steps), tokens / batch, steps)
    loss = np.array(draft.losses)
    return RunTable(
        scale=sizes.scale,
        unit=unit,
        size=np.array([p.size for p in draft.points]),
        tokens=tokens,
        flops=flops,
        loss=loss,
        row=np.array([i + 1 for i in at], dtype=np.int64),
        run=tuple(text_of(rows[i].get(found["run"])) if "run" in found else str(i + 1) for i in at),
        trunk=_trunks(rows, at, found),
        setting=settings,
        budget=_budgets(column("budget"), flops),
        lr=column("lr"),
        batch_tokens=batch,
        steps=steps,
        seed=column("seed"),
        bigram=_bigram(column, unit, loss),
        hardware_flops=column("hardware_flops"),
        sizes={
            s: np.array([np.nan if v[i] is None else v[i] for i in at], dtype=float) for s, v in sizes.values.items()
        },
        group=next((text_of(rows[i].get(found["group"])) for i in at), "") if "group" in found else "",
        conditions=_conditions(rows, at, found, batch),
        left_out=tuple(sorted(draft.left_out, key=lambda out: out.row)),
        warnings=tuple(draft.warnings + _unnamed_choices(rows, at, names, found)),
        guesses={ours: theirs.removeprefix("\0") for ours, theirs in guesses.items()},
        source=source,
        n_rows=len(index),
    )


def _screen(
    rows: list[Row], index: list[int], lines: list[int | None], found: dict[str, str], loss_name: str,
    size: list[float | None], scale: Scale, draft: _Draft,
) -> None:  # fmt: skip
    """Set aside what is not a finished run with a size, tokens and a loss; keep the reason."""
    mismatches = 0
    for i in index:
        row = rows[i]
        status = text_of(row.get(found["status"])).lower() if "status" in found else ""
        value = number(row.get(found[loss_name]))

        def cell(name: str, row: Row = row) -> float | None:
            return number(row.get(found[name])) if name in found else None

        point = resolve(scale, size[i], cell("tokens"), cell("flops"), cell("budget"))
        reason = ""
        if status and status not in ("finished", "complete", "completed", "done", "success", "ok"):
            reason = f"the run is {status}, not finished"
        elif value is None:
            reason = "no loss"
        elif not np.isfinite(value):
            reason = f"the loss is {value}"
        elif value <= 0:
            reason = f"the loss is {value:g}, not positive"
        elif point.reason:
            reason = point.reason
        if reason:
            draft.left_out.append(LeftOut(row=i + 1, line=lines[i], reason=reason))
            continue
        mismatches += point.mismatch > WARN_ABOVE
        draft.index.append(i)
        draft.points.append(point)
        draft.losses.append(float(value or 0.0))
    if mismatches:
        draft.warnings.append(f"size x tokens is more than 1% off the table's own FLOPs in {mismatches} rows")


def _settings(rows: list[Row], names: list[str], found: dict[str, str], draft: _Draft, lines: list[int | None]) -> Ints:
    """Number each setting; equal rows with equal loss are duplicates and go, with another loss they are replicates."""
    free = {found[n] for n in ("seed", "run", "seconds", "status", "loss", "bpb", "trunk") if n in found}
    keys = [n for n in names if n not in free and not OUTCOME.search(normal(n))]
    seen: dict[tuple[str, ...], tuple[int, dict[float, tuple[int, str]]]] = {}
    numbers: list[int] = []
    kept: list[int] = []
    same_seed = 0
    for position, i in enumerate(draft.index):
        key = tuple(text_of(rows[i].get(n)) for n in keys)
        seed = text_of(rows[i].get(found["seed"])) if "seed" in found else ""
        number_, losses = seen.setdefault(key, (len(seen), {}))
        value = draft.losses[position]
        if value in losses:
            first = losses[value][0]
            draft.left_out.append(LeftOut(row=i + 1, line=lines[i], reason=f"duplicate of row {first + 1}"))
            continue
        same_seed += bool(seed) and any(other == seed for _, other in losses.values())
        losses[value] = (i, seed)
        numbers.append(number_)
        kept.append(position)
    if same_seed:
        draft.warnings.append(f"{same_seed} rows repeat a setting and its seed with another loss: taken as replicates")
    draft.index = [draft.index[p] for p in kept]
    draft.points = [draft.points[p] for p in kept]
    draft.losses = [draft.losses[p] for p in kept]
    return np.array(numbers, dtype=np.int64)


def _trunks(rows: list[Row], at: list[int], found: dict[str, str]) -> Ints:
    """Number of the trunk of each run; runs of one name are one trunk; all others stand alone."""
    keys = []
    for i in at:
        trunk = text_of(rows[i].get(found["trunk"])) if "trunk" in found else ""
        run = text_of(rows[i].get(found["run"])) if "run" in found else ""
        keys.append(f"t{trunk}" if trunk else f"r{run}" if run else f"#{i}")
    numbers = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _budgets(named: Array, flops: Array) -> Array:
    """The budget of each run: its column, or the geometric mean of a chain of computes each within 10%."""
    result = named.copy()
    open_ = np.flatnonzero(np.isnan(named))
    order = open_[np.argsort(flops[open_])]
    start = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or flops[order[i]] > flops[order[start]] * (1 + BUDGET_TOLERANCE):
            members = order[start:i]
            result[members] = np.exp(np.log(flops[members]).mean())
            start = i
    return result


def _bigram(column: Any, unit: Unit, loss: Array) -> Array:
    if unit == "bpb":
        return column("bigram_bpb")
    nats = column("bigram_loss")
    bytes_ratio = loss / column("bpb")  # nats per token over bits per byte: the same for every entropy of these tokens
    return np.asarray(np.where(np.isnan(nats), column("bigram_bpb") * bytes_ratio, nats))


def _conditions(rows: list[Row], at: list[int], found: dict[str, str], batch: Array) -> dict[str, Any]:
    """What the runs had in common: one value, or [lowest, highest], or the list of words."""
    result: dict[str, Any] = {}
    for name in CONDITIONS:
        if name not in found:
            continue
        texts = sorted({text_of(rows[i].get(found[name])) for i in at} - {""})
        if not texts:
            continue
        numbers = [number(t) for t in texts]
        if all(v is not None for v in numbers):
            values = sorted(v for v in numbers if v is not None)
            result[name] = values[0] if len(values) == 1 else [values[0], values[-1]]
        else:
            result[name] = texts[0] if len(texts) == 1 else texts
    finite = batch[np.isfinite(batch)]
    if "batch_tokens" not in result and len(finite):
        low, high = float(finite.min()), float(finite.max())
        result["batch_tokens"] = low if low == high else [low, high]
    return result


def _unnamed_choices(rows: list[Row], at: list[int], names: list[str], found: dict[str, str]) -> list[str]:
    """A column of words that we do not know and that splits the runs: say so, for they now share one fit."""
    known = set(found.values())
    warnings = []
    for name in names:
        if name in known or OUTCOME.search(normal(name)):
            continue
        values = {text_of(rows[i].get(name)) for i in at} - {""}
        if 1 < len(values) <= 8 and all(number(v) is None for v in values) and len(at) >= 2 * len(values):
            listed = ", ".join(sorted(values))
            warnings.append(f"the runs differ in `{name}` ({listed}) and share one fit; --where {name}=VALUE chooses")
    return warnings
