"""Rows that are usable: finished runs with size, tokens and loss, without duplicates; the others with the reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.records.laws import LeftOut, Scale
from forescale.scaling.choices import OUTCOME
from forescale.scaling.columns import normal, not_a_number, number, text_of, where_option
from forescale.scaling.diverged import diverged
from forescale.scaling.misplaced import misplaced
from forescale.scaling.plausible import NO_LOSS, Names, odd_units
from forescale.scaling.sizes import WARN_ABOVE, Point, resolve, size_columns
from forescale.scaling.sources import Row
from forescale.scaling.thousandfold import refuse_thousandfold
from forescale.scaling.two_units import column_that_tells, rows_in_bits

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass
class Draft:
    """Columns in the making."""

    index: list[int] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def arrays(self) -> tuple[Array, Array, Array]:
        """Size, tokens and loss of the rows that are left."""
        size, tokens = (np.array([getattr(p, name) for p in self.points]) for name in ("size", "tokens"))
        return size, tokens, np.array(self.losses)


def screen(
    rows: list[Row], index: list[int], lines: list[int | None], found: dict[str, str], loss_name: str,
    size: list[float | None], scale: Scale, draft: Draft,
) -> None:  # fmt: skip
    """Set aside what is not a finished run with a size, tokens and a loss; keep the reason."""
    mismatches = 0
    known = [v for i in index if (v := number(rows[i].get(found[loss_name]))) is not None and 0 < v < np.inf]
    most = NO_LOSS if known and np.median(known) <= NO_LOSS else np.inf  # a whole column of such is refused later
    summary = summary_rows(rows, index, found, size)
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
        if i in summary:
            reason = summary[i]
        elif status and status not in ("finished", "complete", "completed", "done", "success", "ok"):
            reason = f"the run is {status}, not finished"
        elif value is None:
            reason = _words_for_a_number(row, found, (loss_name,)) or "no loss"
        elif not np.isfinite(value):
            reason = f"the loss is {value}"
        elif value <= 0:
            reason = f"the loss is {value:g}, not positive"
        elif value > most:
            reason = f"the loss is {value:.4g}, more than guessing costs: diverged, or another unit?"
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


SUMMARY = re.compile(r"(?i)^(grand )?(total|totals|sum|mean|average|avg|median|overall|std|stdev|min|max)s?\.?:?$")
"""What spreadsheets call a row that adds up the others."""
FEW_SUMMARIES, SUMMARY_SHARE = 4, 0.1
"""Rows of such a name that a table may have."""


def summary_rows(
    rows: list[Row], index: list[int], found: dict[str, str], size: list[float | None]
) -> dict[int, str]:  # fmt: skip
    """Rows that sum up the others and are no run, by their name or, at the end of a table, by their numbers."""
    texts = [found[name] for name in ("run", "group") if name in found]
    result = {}
    for i in index:
        first = next(iter(rows[i].values()), "")
        label = next((text for text in (*(text_of(rows[i].get(n)) for n in texts), text_of(first))
                      if SUMMARY.match(text)), "")  # fmt: skip
        if label:
            result[i] = f"a summary of the other rows (`{label}`), not a run"
    if len(result) > max(FEW_SUMMARIES, SUMMARY_SHARE * len(index)):
        result = {}  # a word that so many rows begin with is what their runs have in common
    if len(index) > 3 and index[-1] not in result and "tokens" in found:
        counts = np.array([[size[i] or np.nan, number(rows[i].get(found["tokens"])) or np.nan] for i in index])
        others, last = counts[:-1], counts[-1]
        if np.isfinite(others).any(axis=0).all() and not (others == last).all(axis=1).any():
            for words, of in (("sums", np.nansum), ("means", np.nanmean)):
                if np.allclose(last, of(others, axis=0), rtol=1e-4, atol=0):
                    result[index[-1]] = f"its size and tokens are the {words} of all other rows': a summary, not a run"
                    break
    return result


def set_aside_units(draft: Draft, found: dict[str, str], scale: Scale, lines: list[int | None]) -> None:
    """Set aside rows whose size or tokens are in another unit than the rest; a whole column of them is refused."""
    size, tokens, _ = draft.arrays()
    odd = odd_units(size, tokens, _names(found, scale))
    if odd:
        said = "for their size or tokens seem to be in another unit than the others'"
        _set_aside(draft, lines, odd, said, "write them alike, or with their unit (3.2B, 125M)")


def set_aside_misplaced(
    draft: Draft, found: dict[str, str], scale: Scale, lines: list[int | None], said: dict[str, Array]
) -> set[int]:
    """Set aside rows that a factor of 1e3 or 1e6 in size or tokens explains, and nothing else; which of `rows`."""
    off = misplaced(*draft.arrays(), _names(found, scale), said)
    rows = {draft.index[place] for place in off}
    if off:
        _set_aside(draft, lines, off, "for a factor of 1,000 in one column would explain them", "mend those rows")
    return rows


def set_aside_diverged(draft: Draft, lines: list[int | None]) -> None:
    """Set aside rows whose loss is more than twice what the law of the others says."""
    off = diverged(*draft.arrays())
    if off:
        _set_aside(draft, lines, off, "for no run that went well ends so high", "say so in a column `status`")


def refuse_groups_off(
    draft: Draft, found: dict[str, str], scale: Scale, rows: list[Row], names: list[str], said: dict[str, Array]
) -> None:
    """Exit 3 where a group of rows, and no single ones, is a thousand times off; `said` has the draft's rows."""

    def choose(group: npt.NDArray[np.bool_]) -> str:
        return _choose(draft, rows, names, group)

    numbers = [i + 1 for i in draft.index]
    refuse_thousandfold(*draft.arrays(), _names(found, scale), numbers, said, choose)


def _choose(draft: Draft, rows: list[Row], names: list[str], group: npt.NDArray[np.bool_]) -> str:
    """How to choose one of two groups, in words."""
    tells = column_that_tells([{name: rows[i].get(name) for name in names} for i in draft.index], group)
    if tells is None:
        return "choose rows with --where COLUMN=VALUE"
    return f"choose with {where_option(tells[0], tells[2])} or {where_option(tells[0], tells[1])}"


def refuse_two_units(draft: Draft, rows: list[Row], names: list[str], column: str) -> None:
    """Exit 3 where some losses are in bits and others in nats: no law of both is one."""
    found = rows_in_bits(*draft.arrays())
    if found is None:
        return
    group, factor = found
    few = group if 2 * group.sum() <= len(group) else ~group
    numbers = [draft.index[place] + 1 for place in np.flatnonzero(few)]
    raise InputError(
        f"`{column}` is in two units: {len(numbers)} of {len(group)} rows (rows {_listed(numbers)}) lie {factor:.3f}"
        f" times {'above' if few is group else 'below'} the law of the others",
        why="a bit is 0.6931 nats, so a loss in bits is 1.443 times the same loss in nats; no law of both is one",
        remedy=f"write all in one unit (bits x 0.6931 = nats), or {_choose(draft, rows, names, group)}",
        key=column,
    )


def _names(found: dict[str, str], scale: Scale) -> Names:
    columns = size_columns(found, scale)
    tokens = found["tokens"].removeprefix("\0") if "tokens" in found else "tokens"
    if len(columns) == 1:
        return Names(size=found[columns[0]].removeprefix("\0"), tokens=tokens, ours=columns[0])
    if not columns and "flops" in found:
        return Names(size="FLOPs per token", tokens=tokens, compute=found["flops"].removeprefix("\0"))
    return Names(size="size", tokens=tokens, ours="size")


def _set_aside(draft: Draft, lines: list[int | None], reasons: dict[int, str], why: str, remedy: str) -> None:
    """Leave these places out, each with its reason, and say so in one warning."""
    for place, reason in reasons.items():
        i = draft.index[place]
        draft.left_out.append(LeftOut(row=i + 1, line=lines[i], reason=reason))
    rows = [draft.index[place] + 1 for place in reasons]
    many, which = (f"{len(rows)} rows are", "rows") if len(rows) > 1 else ("1 row is", "row")
    first = next(iter(reasons.values()))
    draft.warnings.append(f"{many} set aside, {why} ({which} {_listed(rows)}; {first}): {remedy}")
    _keep(draft, [place for place in range(len(draft.index)) if place not in reasons])


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")


def _rounded(one: Row, other: Row, column: str) -> bool:
    """Whether two cells hold one number, written with more digits and with fewer (four at least)."""
    a, b = sorted((text_of(row.get(column)) for row in (one, other)), key=len)
    digits, more = (len(text.partition(".")[2]) for text in (a, b))
    long, short = number(b), number(a)
    if long is None or short is None or digits >= more or sum(c.isdigit() for c in a.lstrip("-0.")) < 4 or "e" in a:
        return False
    return f"{long:.{digits}f}" == f"{short:.{digits}f}"


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
    rows: list[Row], names: list[str], found: dict[str, str], draft: Draft, lines: list[int | None], loss: str
) -> Ints:
    """Number each setting; equal rows with equal loss are duplicates and go, with another loss they are replicates.

    `loss`: its column. The same loss in fewer digits is equal.
    """
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
        rounded = next(
            (other for other, (at, s) in losses.items() if s == seed and _rounded(rows[at], rows[i], loss)), value
        )
        if rounded in losses:
            first = losses[rounded][0]
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
