"""Rows that are usable: finished runs with size, tokens and loss, without duplicates; the others with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forescale.base.records.laws import LeftOut, Scale
from forescale.scaling.choices import OUTCOME
from forescale.scaling.columns import normal, not_a_number, number, text_of
from forescale.scaling.plausible import Names, odd_units
from forescale.scaling.sizes import WARN_ABOVE, Point, resolve, size_columns
from forescale.scaling.sources import Row

Ints = npt.NDArray[np.int64]


@dataclass
class Draft:
    """Columns in the making."""

    index: list[int] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def screen(
    rows: list[Row], index: list[int], lines: list[int | None], found: dict[str, str], loss_name: str,
    size: list[float | None], scale: Scale, draft: Draft,
) -> None:  # fmt: skip
    """Set aside what is not a finished run with a size, tokens and a loss; keep the reason."""
    mismatches = 0
    unread: list[str] = []
    measures = (*size_columns(found, scale), "tokens", "flops", "budget")
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
            reason = _words_for_a_number(row, found, (loss_name,)) or "no loss"
        elif not np.isfinite(value):
            reason = f"the loss is {value}"
        elif value <= 0:
            reason = f"the loss is {value:g}, not positive"
        elif point.missing:  # a cell that is there but cannot be read is no missing value
            reason = _words_for_a_number(row, found, measures) or point.reason
        elif point.reason:
            reason = point.reason
        if reason:
            draft.left_out.append(LeftOut(row=i + 1, line=lines[i], reason=reason))
            continue
        mismatches += point.mismatch > WARN_ABOVE
        words = _words_for_a_number(row, found, measures)
        unread += [f"row {i + 1}, {words}"] if words else []
        draft.index.append(i)
        draft.points.append(point)
        draft.losses.append(float(value or 0.0))
    if mismatches:
        draft.warnings.append(f"size x tokens is more than 1% off the table's own FLOPs in {mismatches} rows")
    if unread:
        draft.warnings.append(
            f"{len(unread)} rows have a cell that is no number, which their other columns make up for: {unread[0]}"
            + (", ..." if len(unread) > 1 else "")
        )


def set_aside_units(draft: Draft, found: dict[str, str], scale: Scale, lines: list[int | None]) -> None:
    """Set aside rows whose size or tokens are in another unit than the rest; a whole column of them is refused."""
    columns = size_columns(found, scale)
    single = columns[0] if len(columns) == 1 else "size"
    names = Names(
        size=found[single].removeprefix("\0") if single in found else "size",
        tokens=found["tokens"].removeprefix("\0") if "tokens" in found else "tokens",
        ours=single,
    )
    odd = odd_units(np.array([p.size for p in draft.points]), np.array([p.tokens for p in draft.points]), names)
    if not odd:
        return
    for place, reason in odd.items():
        i = draft.index[place]
        draft.left_out.append(LeftOut(row=i + 1, line=lines[i], reason=reason))
    rows = [draft.index[place] + 1 for place in odd]
    named = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
    draft.warnings.append(
        f"{len(odd)} rows are set aside, for their size or tokens seem to be in another unit than the others'"
        f" (rows {named}; {next(iter(odd.values()))}): write them alike, or with their unit (3.2B, 125M)"
    )
    _keep(draft, [place for place in range(len(draft.index)) if place not in odd])


def _keep(draft: Draft, places: Sequence[int]) -> None:
    draft.index = [draft.index[p] for p in places]
    draft.points = [draft.points[p] for p in places]
    draft.losses = [draft.losses[p] for p in places]


def _words_for_a_number(row: Row, found: dict[str, str], names: Sequence[str]) -> str:
    """What the first of these columns says that is no number; empty where they hold numbers or nothing."""
    for name in names:
        words = not_a_number(row.get(found[name])) if name in found else ""
        if words:
            column = found[name].removeprefix("\0")
            return f"{column} is `{words}`, not a number"
    return ""


def settings_of(
    rows: list[Row], names: list[str], found: dict[str, str], draft: Draft, lines: list[int | None]
) -> Ints:
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
    _keep(draft, kept)
    return np.array(numbers, dtype=np.int64)
