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
from forescale.scaling.columns import TRAINING_LOSSES, apply_where, normal, number, text_of
from forescale.scaling.compute_said import SHARED_FACTOR, compute_warnings, labels_as_compute
from forescale.scaling.derive import bigram_of, budgets_of, conditions_of, trunks_of
from forescale.scaling.marks import known_choices, marked_rows
from forescale.scaling.named import Named, name_columns
from forescale.scaling.other_counts import refuse_other_counts
from forescale.scaling.screen import (
    Draft,
    refuse_groups_off,
    refuse_two_units,
    screen,
    set_aside_diverged,
    set_aside_misplaced,
    set_aside_units,
    settings_of,
)
from forescale.scaling.sizes import as_scale, choose_sizes, used_columns
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
    understood: dict[str, str] = field(default_factory=dict)
    """Our column -> where it was read from, those that go by our own names too."""
    ignored: tuple[str, ...] = ()
    """Columns of the table that play no part."""

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops_factor(self) -> float:
        """C = factor x size x tokens."""
        return 1.0 if self.scale == "M" else 6.0

    def lack_of(self, what: str) -> str:
        """Why there is no learning rate or no batch at all, in words."""
        if what == "batch" and {"batch_seqs", "seq_len"} & self.understood.keys() == {"batch_seqs"}:
            column = self.understood["batch_seqs"]
            return f"`{column}` counts sequences, and without a column `seq_len` their tokens are unknown"
        return f"the table has no {what} column"

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
    named = name_columns(raw.rows, names, columns or ())
    named.warnings[:0] = raw.notes
    keep = apply_where(named.rows, where or (), named.found)
    index = [i for i, k in enumerate(keep) if k]
    index = choose_group(named.rows, index, named.found, group)
    refuse_mixtures(named.rows, index, named.found, names)
    return _build(named, index, raw.lines, raw.source, wanted, metric, names)


def _build(
    named: Named, index: list[int], lines: list[int | None], source: str, scale: Scale | None, metric: str | None,
    names: list[str],
) -> RunTable:  # fmt: skip
    rows, found, guesses = named.rows, named.found, named.guesses
    loss_name, unit = loss_column(rows, index, found, metric, named.ignored)
    sizes = choose_sizes(rows, found, scale)
    draft = Draft(warnings=[*named.warnings, *sizes.warnings])
    if normal(found[loss_name].removeprefix("\0")) in TRAINING_LOSSES and loss_name not in guesses:
        guesses = {**guesses, loss_name: found[loss_name]}
    if loss_name in found and normal(found[loss_name]) in TRAINING_LOSSES:
        draft.warnings.append(f"`{found[loss_name]}` is a training loss; a validation loss makes a better law")
    size = sizes.values[sizes.scale]
    screen(rows, index, lines, found, loss_name, size, sizes.scale, draft)
    set_aside_units(draft, found, sizes.scale, lines)
    refuse_other_counts(rows, draft.index, names, found, *draft.arrays())
    said = _said_otherwise(rows, draft.index, found, size, sizes.scale)
    refuse_groups_off(draft, found, sizes.scale, rows, names, said)
    refuse_two_units(draft, rows, names, found[loss_name].removeprefix("\0"))
    aside = set_aside_misplaced(draft, found, sizes.scale, lines, said)
    set_aside_diverged(draft, lines)
    others = [i for i in index if i not in aside]
    draft.warnings += _compute_warnings(rows, others, found, size, sizes.scale)
    replicates = settings_of(rows, names, found, draft, lines, found[loss_name])
    if not draft.index:
        raise _no_run(draft, named)
    at = draft.index

    def column(name: str) -> Array:
        values = [number(rows[i].get(found[name])) if name in found else None for i in at]
        return np.array([np.nan if v is None else v for v in values], dtype=float)

    batch = column("batch_tokens")
    if "batch_seqs" in found and "batch_tokens" not in found:
        batch = column("batch_seqs") * column("seq_len")
    understood, unused = used_columns(named.understood(), found, sizes.scale)
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
        budget=budgets_of(labels_as_compute(column("budget"), flops), flops),
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
        warnings=tuple(
            draft.warnings
            + unnamed_choices(rows, at, names, found)
            + known_choices(rows, at, found)
            + marked_rows(rows, at, names, found)
        ),
        guesses={o: theirs.removeprefix("\0") for o, theirs in guesses.items() if o in understood or o == loss_name},
        source=source,
        n_rows=len(index),
        understood=understood,
        ignored=(*named.ignored, *unused),
    )


def _no_run(draft: Draft, named: Named) -> InputError:
    """Why nothing is left, and how the columns were understood."""
    factor = next((text for text in draft.warnings if SHARED_FACTOR in text), "")
    reasons = factor or "; ".join(sorted({out.reason for out in draft.left_out})[:4])
    said = ", ".join(f"{ours} from {theirs}" for ours, theirs in named.understood().items())
    if named.lacking and draft.left_out and all("no tokens" in out.reason for out in draft.left_out):
        return _no_tokens(named, said)
    return InputError(
        "no usable run in the table",
        why="; ".join(
            (
                reasons,
                f"columns understood: {said}",
                f"ignored: {', '.join(named.ignored[:20]) or 'none'}",
                *named.warnings,
            )
        ),
        remedy="bring size, tokens and compute to one count: --column NAME='FACTOR*COLUMN' for the one that is off"
        if factor
        else "name what is missing with --column NAME=COLUMN, choose rows with --where COLUMN=VALUE",
    )


def _no_tokens(named: Named, said: str) -> InputError:
    """Tokens that could be counted but for one column."""
    (missing,) = set(named.lacking) - named.found.keys()
    factors = " x ".join(named.found.get(name, name).removeprefix("\0") for name in named.lacking)
    rest = next(name for name in named.lacking if name != missing)
    theirs = named.found[rest].removeprefix("\0")
    return InputError(
        f"no usable run: `{missing}` is missing, so tokens = {factors} cannot be counted",
        why=f"the table has neither tokens nor compute; columns understood: {said}",
        remedy=f"add a column `{missing}`, name it with --column {missing}=COLUMN, or say how many tokens one of"
        f" `{theirs}` is: --column tokens='N*{theirs}'",
        key=missing,
    )


def _said_otherwise(
    rows: list[Row], index: list[int], found: dict[str, str], size: list[float | None], scale: Scale
) -> dict[str, Array]:
    """ln(said / counted), by words for it, of what the table says a second way; nan where it does not.

    Compute beside size x tokens, and steps x batch beside tokens.
    """

    def column(name: str) -> Array:
        values = [number(rows[i].get(found[name])) if name in found else None for i in index]
        return np.array([np.nan if v is None else v for v in values], dtype=float)

    tokens = column("tokens")
    own = np.array([np.nan if size[i] is None else size[i] for i in index], dtype=float)
    counted = (1.0 if scale == "M" else 6.0) * own * tokens
    pairs = {f"`{found[name].removeprefix(chr(0))}`": (column(name), counted) for name in ("flops", "budget")
             if name in found}  # fmt: skip
    pairs["steps x batch"] = column("steps") * column("batch_tokens"), tokens
    with np.errstate(divide="ignore", invalid="ignore"):
        return {words: np.log(value / known) for words, (value, known) in pairs.items()}


def _compute_warnings(
    rows: list[Row], index: list[int], found: dict[str, str], size: list[float | None], scale: Scale
) -> list[str]:  # fmt: skip
    """What the table's own compute says against size x tokens, where it has all three."""
    if "tokens" not in found:
        return []
    product = "size x tokens" if scale == "M" else f"6 x {scale} x tokens"
    warnings = []
    for name in ("flops", "budget"):
        if name in found:
            said = found[name].removeprefix("\0")
            logs = _said_otherwise(rows, index, found, size, scale)[f"`{said}`"]
            warnings += compute_warnings(logs, [i + 1 for i in index], said, product)
    return warnings
