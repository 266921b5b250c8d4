"""The data quality meter: which corpus is better at which compute, how surely, and where the order flips.

Every corpus gets laws from its own ladder, scored on a common outside set. Expected losses at the optimal split are
drawn together: parameter errors independently, extrapolation errors half shared, since the forms err alike on like
ladders. Seed noise plays no part: the question is which corpus is better, not which run is luckier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.base.records.compare import Better, Comparison, CorpusExponent, Crossing
from forescale.base.records.laws import Laws
from forescale.scaling.assumptions import ROUNDED, corpus_tokens
from forescale.scaling.columns import apply_where, text_of
from forescale.scaling.fit import fit
from forescale.scaling.flat import FLAT
from forescale.scaling.forecast import optimum
from forescale.scaling.named import LOSS_READ, name_columns
from forescale.scaling.predictive import centre_of, distance, surface_log_loss
from forescale.scaling.sources import read_rows

Array = npt.NDArray[np.float64]

SHARED = 0.5
"""Share of the extrapolation error's variance that two corpora have in common (our choice)."""
N_DRAWS = 2000
GRID = 241
BEYOND = 1000.0
"""Crossings are looked for up to this many times the largest compute."""


def compare(
    *sources: Mapping[str, Any] | Sequence[Any] | Any,
    budgets: Sequence[float] | None = None,
    level: float = 0.9,
    seed: int = 0,
    unique: Mapping[str, float] | None = None,
    **reading: Any,
) -> Comparison:
    """Fit every corpus and set them side by side.

    `sources`: tables of runs (paths, or anything that `fit` takes) one after another or in one sequence, name -> table
    (or Laws), or one table whose `group` column names the corpora. `reading`: the reading options of `fit`. `unique`:
    corpus -> tokens that it has, where its runs do not tell.
    """
    corpora = {
        name: source if isinstance(source, Laws) else fit(source, level=level, **(reading | extra))
        for name, (source, extra) in _named(sources[0] if len(sources) == 1 else sources, reading).items()
    }
    return compare_laws(corpora, budgets=budgets, level=level, seed=seed, unique=unique)


def _named(sources: Any, reading: Mapping[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each corpus's name, its source, and the group to choose in it."""
    if isinstance(sources, Mapping) and sources and all(_is_source(v) for v in sources.values()):
        return {str(name): (source, {}) for name, source in sources.items()}
    if isinstance(sources, Sequence) and not isinstance(sources, str) and all(_is_source(s) for s in sources):
        stems = [Path(str(source)).stem if isinstance(source, (str, Path)) else "" for source in sources]
        named: dict[str, tuple[Any, dict[str, Any]]] = {}
        for source, stem in zip(sources, stems, strict=True):
            found = _groups_of(source, reading, str(source) if stem and stems.count(stem) > 1 else stem)
            twice = sorted(found.keys() & named.keys())
            if twice:
                raise InputError(
                    f"two tables of runs have one name: {', '.join(twice)}",
                    why="the order could not say which is meant",
                    remedy="give each once, or name them: compare({'web': runs, 'books': other_runs})",
                )
            named |= found
        return named
    return _groups_of(sources, reading, "")


def _is_source(value: Any) -> bool:
    return isinstance(value, (str, Path, Laws)) or hasattr(value, "__arrow_c_stream__") or _is_table(value)


def _is_table(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(v, Sequence) and not isinstance(v, str) for v in value.values())
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(r, Mapping) for r in value)


def _groups_of(source: Any, reading: Mapping[str, Any], name: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """One table: a corpus for each value of its `group` column, by that name, an alias, or what --column calls so."""
    rows = read_rows(source).rows
    names = list(dict.fromkeys(name for row in rows for name in row))
    named = name_columns(rows, names, reading.get("columns") or ())
    column = named.found.get("group", "group")
    keep = apply_where(named.rows, reading.get("where") or (), named.found)
    chosen = [text_of(row.get(column)) for row, kept in zip(named.rows, keep, strict=True) if kept]
    groups = sorted(set(chosen) - {""})
    if len(groups) > 1:
        return {(f"{name}/{g}" if name in groups else g): (source, {"group": g}) for g in groups}
    return {(groups[0] if groups and not name else name or "runs"): (source, {})}


def compare_laws(
    corpora: Mapping[str, Laws], *, budgets: Sequence[float] | None = None, level: float = 0.9, seed: int = 0,
    unique: Mapping[str, float] | None = None,
) -> Comparison:  # fmt: skip
    """The comparison itself, from laws."""
    if len(corpora) < 2:
        raise InputError(
            f"there is only one corpus to compare: {', '.join(corpora) or 'none'}",
            remedy="give two tables of runs, or one with a `group` column of two corpora or more",
        )
    warnings = _comparable(corpora)
    usable = {name: laws for name, laws in corpora.items() if laws.predictive is not None}
    warnings += list(dict.fromkeys(w for laws in corpora.values() for w in laws.warnings if LOSS_READ in w))
    read = sorted({laws.guesses["loss"] for laws in corpora.values() if "loss" in laws.guesses})
    if read:
        warnings.append(f"scored by {', '.join(f'`{name}`' for name in read)}: another set of text may turn the order")
    warnings += [f"{name}: no loss surface, left out of the order" for name in corpora if name not in usable]
    warnings += _same_runs(usable)
    warnings += [_regime(name, laws) for name, laws in usable.items() if laws.regime != "scaling"]
    better: list[Better] = []
    crossings: list[Crossing] = []
    if len(usable) > 1:
        low = max(_smallest(laws) for laws in usable.values())
        high = max(laws.largest.flops for laws in usable.values() if laws.largest is not None)
        at = np.array(sorted(budgets)) if budgets else np.geomspace(low, 100.0 * high, 9)
        some_flat = _some_flat(usable)
        if some_flat:  # a floor beside a falling law: an order beyond the runs would be the difference of two forms
            at = at[at <= 1.05 * high]
        draws = _Draws(usable, seed)
        known = {name: tokens for name, laws in usable.items() if (tokens := corpus_tokens(laws))} | dict(unique or {})
        better = [_order(draws, float(c), known) for c in at]
        warnings += _exhausted(better, known)
        crossings = _crossings(draws, low, high if some_flat else BEYOND * high)
        if some_flat:
            warnings.append(some_flat)
        beyond = [b.flops for b in better if b.flops > 10 * high]
        if beyond:
            warnings.append(f"beyond {10 * high:.3g} FLOPs the order is extrapolated more than 10 x")
    return Comparison(
        corpora=dict(corpora),
        better=better,
        exponents={name: _exponent(laws) for name, laws in corpora.items()},
        crossings=crossings,
        warnings=warnings,
    )


def _comparable(corpora: Mapping[str, Laws]) -> list[str]:
    """Refuse what cannot be compared; warn of what should not be."""
    units = {name: laws.unit for name, laws in corpora.items()}
    _one_unit("losses", units, "--metric")
    _one_unit("sizes", {name: laws.scale for name, laws in corpora.items()}, "--scale")
    tokenizers = {str(laws.conditions.get("tokenizer")) for laws in corpora.values()}
    if set(units.values()) == {"nats_per_token"} and len(tokenizers) > 1:
        raise InputError(
            "the corpora were run with different tokenizers and their losses are nats per token",
            why="nats per token are not comparable between tokenizers",
            remedy="give a `bpb` column (bits per byte)",
            key="tokenizer",
        )
    sets = {name: laws.conditions.get("validation") for name, laws in corpora.items()}
    if len({str(s) for s in sets.values()}) > 1:
        listed = ", ".join(f"{name} on {value}" for name, value in sets.items())
        return [f"the corpora were scored on different validation sets ({listed}): the order says little"]
    if None in sets.values():
        return ["no `validation` column: the corpora are taken to be scored on one common outside set"]
    return []


def _one_unit(what: str, units: Mapping[str, str], option: str) -> None:
    """Refuse corpora of different units, naming each with its own."""
    if len(set(units.values())) < 2:
        return
    raise InputError(
        f"the corpora's {what} are in different units: "
        + ", ".join(f"{name} in {unit}" for name, unit in units.items()),
        why="each table is read in the unit that its own columns give",
        remedy=f"choose with {option} one that all of them have, or add its column to the others",
        key=option.removeprefix("--"),
    )


def _regime(name: str, laws: Laws) -> str:
    """What a ladder that may not be on its curve means for the order."""
    why = next((text for text in laws.warnings if "on the curve" in text or "bigram" in text), "")
    return (
        f"{name}: the regime of its ladder is {laws.regime}, so an order beyond its runs is a guess at any probability"
        + (f" ({why})" if why else "")
    )


def _same_runs(corpora: Mapping[str, Laws]) -> list[str]:
    """Corpora whose laws are the same to the last digit: one table of runs under two names."""
    return [
        f"{a} and {b} have the very same laws: their runs are the same, and any order between them is chance"
        for a, b in combinations(corpora, 2)
        if corpora[a].surface == corpora[b].surface and corpora[a].largest == corpora[b].largest
    ]


def _some_flat(corpora: Mapping[str, Laws]) -> str:
    """A warning where some ladders are flat and others are not; empty where all are of one kind."""
    flat = [name for name, laws in corpora.items() if laws.surface is not None and laws.surface.form == FLAT]
    if not flat or len(flat) == len(corpora):
        return ""
    return (
        f"{', '.join(flat)}: the loss does not fall measurably with compute, elsewhere it does: no order is given "
        "beyond the largest runs"
    )


def _smallest(laws: Laws) -> float:
    if laws.smallest_rung is not None:
        return laws.smallest_rung
    return laws.largest.flops / 100.0 if laws.largest is not None else 1.0


class _Draws:
    """Joint draws of all corpora's expected ln loss at a compute."""

    def __init__(self, corpora: Mapping[str, Laws], seed: int) -> None:
        self.corpora = dict(corpora)
        rng = np.random.default_rng(seed)
        self.shared = rng.standard_normal(N_DRAWS)
        self.own = {name: rng.standard_normal(N_DRAWS) for name in corpora}
        self.pick = {name: rng.random(N_DRAWS) for name in corpora}

    def centre(self, name: str, flops: float) -> float:
        """ln loss expected at the corpus's own optimal split."""
        laws = self.corpora[name]
        assert laws.predictive is not None
        return centre_of(laws.predictive, *optimum(laws, flops))

    def at(self, name: str, flops: float) -> Array:
        """Draws of it."""
        laws = self.corpora[name]
        assert laws.predictive is not None
        size, tokens = optimum(laws, flops)
        rows = np.asarray(laws.predictive.draws)
        around = np.zeros(N_DRAWS)
        if len(rows):
            values = surface_log_loss(rows, size, tokens)
            around = (values - values.mean())[(self.pick[name] * len(values)).astype(np.int64)]
        growth = laws.predictive.sd_growth * distance(laws, size, tokens)
        error = math.sqrt(SHARED) * self.shared + math.sqrt(1 - SHARED) * self.own[name]
        return np.asarray(self.centre(name, flops) + around + growth * error)


def _repeats(draws: _Draws, flops: float, unique: Mapping[str, float]) -> dict[str, float]:
    """Corpus -> times that its best split goes through the tokens there are, where that is more than once."""
    times = {name: optimum(draws.corpora[name], flops)[1] / n for name, n in unique.items() if name in draws.corpora}
    return {name: share for name, share in times.items() if share > 1 + ROUNDED}


def _exhausted(better: Sequence[Better], unique: Mapping[str, float]) -> list[str]:
    """What an order says at compute that a corpus cannot feed."""
    first = {name: b.flops for b in sorted(better, key=lambda b: -b.flops) for name in b.repeats}
    return [
        f"{name} has {unique[name]:,.0f} tokens: from {flops:.3g} FLOPs on its best split repeats them, and the order "
        "counts repeated tokens as new ones"
        for name, flops in first.items()
    ]


def _order(draws: _Draws, flops: float, unique: Mapping[str, float]) -> Better:
    names = list(draws.corpora)
    centres = {name: draws.centre(name, flops) for name in names}
    order = sorted(names, key=lambda name: centres[name])
    values = np.stack([draws.at(name, flops) for name in order])
    return Better(
        flops=flops,
        order=order,
        probability=float((values.argmin(axis=0) == 0).mean()),
        losses={name: math.exp(centres[name]) for name in order},
        repeats=_repeats(draws, flops, unique),
    )


def _crossings(draws: _Draws, low: float, high: float) -> list[Crossing]:
    """Where the expected losses of two corpora change places, and how many joint draws do so anywhere in the range."""
    grid = np.geomspace(low, high, GRID)
    centres = {name: np.array([draws.centre(name, float(c)) for c in grid]) for name in draws.corpora}
    ends = {name: (draws.at(name, low), draws.at(name, high)) for name in draws.corpora}
    found = []
    for a, b in combinations(draws.corpora, 2):
        gap = centres[a] - centres[b]
        for k in np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0):
            share = float(gap[k] / (gap[k] - gap[k + 1]))
            flops = float(grid[k] * (grid[k + 1] / grid[k]) ** share)
            flips = np.sign(ends[a][0] - ends[b][0]) != np.sign(ends[a][1] - ends[b][1])
            pair = (a, b) if gap[k] < 0 else (b, a)
            found.append(Crossing(pair=pair, flops=flops, probability=float(flips.mean())))
    return sorted(found, key=lambda c: c.flops)


def _exponent(laws: Laws) -> CorpusExponent:
    if laws.allocation is None:
        return CorpusExponent(model_exponent=None, interval=None)
    return CorpusExponent(
        model_exponent=laws.allocation.model_exponent, interval=laws.allocation.intervals.get("model_exponent")
    )
