"""Units that a column's header states: `Params (M)`, `tokens_b`, `Tokens in billions`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from forescale.scaling.columns import ALIASES, names_its_unit, normal, number
from forescale.scaling.sources import Row

COUNTS = ("params_non_embedding", "params", "active_params", "tokens", "unique_tokens", "batch_tokens")
"""Our columns whose headers may state a unit; nothing is read into another column's name.

`d_m` is none of them: a single letter has its unit in brackets."""
FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
RAW = {1e3: 1e6, 1e6: 1e6, 1e9: 1e5, 1e12: 1e4}
"""Cells whose median lies above this are plain counts, whatever the header says: there is no 1e12 parameters in M."""
RAW_FLOPS = 1e12
"""The same for compute: no run took 1e12 EFLOPs, and none so few FLOPs."""
_LETTER = re.compile(
    r"^(.*?)[\s_]*[(\[]\s*(?:in\s+|x\s*)?([KMBTkmbt]|1e(?:3|6|9|12))\s*[)\]]$|^(.*[^\W_]{2})[\s_]([KMBTkmbt])$"
)
_WORD = re.compile(r"(?i)^(.*?)[\s_]*[(\[]?\s*(?:in[\s_]+)?(thousand|million|billion|trillion)s?\s*[)\]]?$")


def unit_of(header: str) -> tuple[str, float]:
    """A header without its unit, and the unit; 1 where it states none.

    >>> unit_of("Params (M)"), unit_of("tokens_b"), unit_of("Tokens in billions"), unit_of("tokens")
    (('Params', 1000000.0), ('tokens', 1000000000.0), ('Tokens', 1000000000.0), ('tokens', 1.0))
    """
    word = _WORD.match(header)
    if word and word[1].strip():
        return word[1].strip(), WORDS[word[2].lower()]
    letter = _LETTER.match(header)
    if letter is None:
        return header, 1.0
    base, unit = (letter[1], letter[2]) if letter[2] else (letter[3], letter[4])
    factor = float(unit) if unit.startswith("1e") else FACTORS[unit.lower()]
    return (base.strip(), factor) if base.strip() else (header, 1.0)


def stated_units(names: Iterable[str], found: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Our column -> the table's column and its unit, for counts whose header states one."""
    known = {alias: ours for ours in COUNTS for alias in ALIASES[ours]}
    stated: dict[str, tuple[str, float]] = {}
    taken = set(found.values())
    for name in names:
        base, factor = unit_of(name)
        ours = known.get(normal(base)) if factor != 1.0 else None
        if ours and ours not in found and ours not in stated and name not in taken:
            stated[ours] = (name, factor)
    return stated


def in_plain_counts(
    rows: list[Row], stated: dict[str, tuple[str, float]]
) -> tuple[list[Row], dict[str, str], list[str]]:  # fmt: skip
    """Rows with these columns in our own units under `\\0NAME`, what each was read from, and warnings."""
    read: dict[str, str] = {}
    warnings: list[str] = []
    for ours, (theirs, factor) in stated.items():
        cells = [number(row.get(theirs)) for row in rows]
        values = [v for v in cells if v is not None]
        plain = bool(values) and float(np.median(values)) > _raw(ours, factor)
        if plain:
            warnings.append(
                f"`{theirs}` states a unit, but holds plain counts ({np.median(values):.3g}): read as they are"
            )
        scaled = [_scaled(row.get(theirs), 1.0 if plain else factor) for row in rows]
        rows = [{**row, f"\0{ours}": value} for row, value in zip(rows, scaled, strict=True)]
        read[ours] = theirs if plain else _words(ours, theirs, factor)
    return rows, read, warnings


def _raw(ours: str, factor: float) -> float:
    """What the median of a column must lie above to be plain whatever its header says; losses never are."""
    return RAW.get(factor, math.inf) if ours in COUNTS else RAW_FLOPS if ours in ("flops", "budget") else math.inf


def _words(ours: str, theirs: str, factor: float) -> str:
    """A column and what it was multiplied by.

    >>> _words("tokens", "tokens_b", 1e9), _words("bpb", "val bpb", 1.0), _words("loss", "bits_per_token", 0.693147)
    ('tokens_b x 1e9', 'val bpb', 'bits_per_token x 0.6931 (to nats per token)')
    """
    if factor == 1.0:
        return theirs
    times = f"{theirs} x {factor:.4g}".replace("e+0", "e").replace("e+", "e")
    into = {
        "loss": " (to nats per token)",
        "bpb": " (to bits per byte)",
        "flops": " (to FLOPs)",
        "budget": " (to FLOPs)",
    }
    return times + into.get(ours, "")


def _scaled(cell: object, factor: float) -> object:
    """A cell times its unit; one that names its own (7B), or that is no number, as it stands."""
    value = number(cell)
    return cell if value is None or names_its_unit(cell) else value * factor
