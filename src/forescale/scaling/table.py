"""The run table: rows of finished runs as arrays, with everything that was guessed, left out and why.

(Contract, section 2.) All laws are fitted on this one noun, whoever made the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.records.laws import LeftOut, Scale, Unit
from forescale.scaling.choices import choose_group, loss_column, refuse_mixtures, refuse_single_curve, unnamed_choices
from forescale.scaling.columns import TRAINING_LOSSES, apply_mapping, apply_where, guess, normal, number, text_of
from forescale.scaling.derive import bigram_of, budgets_of, conditions_of, trunks_of
from forescale.scaling.screen import Draft, screen, settings_of
from forescale.scaling.sizes import as_scale, choose_sizes
from forescale.scaling.sources import Row, read_rows

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    refuse_single_curve(names)
    mapped, rows = apply_mapping(raw.rows, columns or ())
    found = guess([n for n in names if n not in mapped.values()], mapped.values())
    found = {k: v for k, v in found.items() if k not in mapped}
    guesses = {**{k: v for k, v in found.items() if k != v}, **mapped}
    keep = apply_where(raw.rows, where or (), {**found, **mapped})
    found |= {ours: f"\0{ours}" for ours in mapped}
    index = [i for i, k in enumerate(keep) if k]
    index = choose_group(rows, index, found, group)
    refuse_mixtures(rows, index, found)
    return _build(rows, index, raw.lines, raw.source, found, guesses, wanted, metric, names)


def _build(
    rows: list[Row], index: list[int], lines: list[int | None], source: str, found: dict[str, str],
    guesses: dict[str, str], scale: Scale | None, metric: str | None, names: list[str],
) -> RunTable:  # fmt: skip
    loss_name, unit = loss_column(rows, index, found, metric)
    sizes = choose_sizes(rows, found, scale)
    draft = Draft(warnings=list(sizes.warnings))
    if normal(found[loss_name].removeprefix("\0")) in TRAINING_LOSSES and loss_name not in guesses:
        guesses = {**guesses, loss_name: found[loss_name]}
    if loss_name in found and normal(found[loss_name]) in TRAINING_LOSSES:
        draft.warnings.append(f"`{found[loss_name]}` is a training loss; a validation loss makes a better law")
    screen(rows, index, lines, found, loss_name, sizes.values[sizes.scale], sizes.scale, draft)
    replicates = settings_of(rows, names, found, draft, lines)
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
        trunk=trunks_of(rows, at, found),
        setting=replicates,
        budget=budgets_of(column("budget"), flops),
        lr=column("lr"),
        batch_tokens=batch,
        steps=steps,
        seed=column("seed"),
        bigram=bigram_of(column, unit, loss),
        hardware_flops=column("hardware_flops"),
        sizes={
            s: np.array([np.nan if v[i] is None else v[i] for i in at], dtype=float) for s, v in sizes.values.items()
        },
        group=next((text_of(rows[i].get(found["group"])) for i in at), "") if "group" in found else "",
        conditions=conditions_of(rows, at, found, batch),
        left_out=tuple(sorted(draft.left_out, key=lambda out: out.row)),
        warnings=tuple(draft.warnings + unnamed_choices(rows, at, names, found)),
        guesses={ours: theirs.removeprefix("\0") for ours, theirs in guesses.items()},
        source=source,
        n_rows=len(index),
    )
