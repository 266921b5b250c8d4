"""Columns of a table under our names: as the reader mapped them, as their headers say, guessed, or derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from forescale.scaling.columns import apply_mapping, evaluations, guess, number
from forescale.scaling.header_units import COUNTS, in_plain_counts, stated_units, unit_of
from forescale.scaling.sources import Row

SIZES = ("flops_per_token", "params_non_embedding", "params", "active_params", "n_layer")
TOKENS_FROM = (("samples", "seq_len"), ("steps", "batch_tokens"), ("steps", "batch_seqs", "seq_len"))
"""Columns whose product is the tokens, the surest first."""


@dataclass
class Named:
    """Rows, and which of their columns is which of ours."""

    rows: list[Row]
    found: dict[str, str]
    """Our column -> where it lies in the rows; derived and mapped ones under a name of their own."""
    guesses: dict[str, str]
    """Our column -> what it was read from, where that is not its own name."""
    mapped: dict[str, str]
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def understood(self) -> dict[str, str]:
        """Our column -> the table's, for every column that has a meaning here."""
        return {ours: self.guesses.get(ours, theirs.removeprefix("\0")) for ours, theirs in self.found.items()}


def name_columns(rows: list[Row], names: list[str], columns: Sequence[str]) -> Named:
    """Mapped columns first, then headers that state a unit, then guesses, then tokens from steps and batch."""
    mapped, rows = apply_mapping(rows, columns)
    free = [name for name in names if name not in mapped.values()]
    with_unit = {name for name, _ in stated_units(free, {}).values()}
    found = guess([name for name in free if name not in with_unit], mapped.values())
    found = {ours: theirs for ours, theirs in found.items() if ours not in mapped}
    stated = stated_units(free, found | mapped)
    stated |= {ours: (theirs, unit_of(theirs)[1]) for ours, theirs in mapped.items() if _has_unit(ours, theirs, names)}
    rows, scaled, warnings = in_plain_counts(rows, stated)
    guesses = {ours: theirs for ours, theirs in found.items() if ours != theirs} | mapped | scaled
    found |= {ours: f"\0{ours}" for ours in (*mapped, *scaled)}
    used = {*found.values(), *(name for name, _ in stated.values())}
    used |= {name for text in mapped.values() for name in names if text == name or text.endswith(f"*{name}")}
    made = Named(rows, found, guesses, mapped, [n for n in names if n not in used], warnings)
    return _with_tokens(_with_loss_choices(made))


def _has_unit(ours: str, theirs: str, names: list[str]) -> bool:
    return ours in COUNTS and theirs in names and unit_of(theirs)[1] != 1.0


def _with_loss_choices(made: Named) -> Named:
    """Several losses on held-out text, of which none is known by name: they are named, and none is chosen."""
    several = [name for name in evaluations(made.ignored) if name not in made.mapped.values()]
    if len(several) > 1 and "loss" in made.found and "loss" not in made.mapped:
        made.warnings.append(
            f"`{made.found['loss']}` is read as the loss; {len(several)} other columns are losses on held-out text"
            f" ({', '.join(several[:6])}): --column loss=NAME chooses one"
        )
    return made


def _with_tokens(made: Named) -> Named:
    """Tokens = steps x batch where nothing else gives them."""
    found = made.found
    if "tokens" in found or (("flops" in found or "budget" in found) and any(name in found for name in SIZES)):
        return made
    factors = next((names for names in TOKENS_FROM if all(name in found for name in names)), None)
    if factors is None:
        return made
    cells = [[number(row.get(found[name])) for name in factors] for row in made.rows]
    made.rows = [{**row, "\0tokens": _product(values)} for row, values in zip(made.rows, cells, strict=True)]
    made.guesses["tokens"] = " x ".join(found[name].removeprefix("\0") for name in factors)
    found["tokens"] = "\0tokens"
    return made


def _product(values: list[float | None]) -> float | None:
    result = 1.0
    for value in values:
        if value is None:
            return None
        result *= value
    return result
