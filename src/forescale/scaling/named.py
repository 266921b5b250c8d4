"""Columns of a table under our names: as the reader mapped them, as their headers say, guessed, or derived."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from forescale.scaling.columns import TRAINING_LOSSES, apply_mapping, evaluations, guess, normal, number, text_of
from forescale.scaling.header_units import COUNTS, in_plain_counts, stated_units, unit_of
from forescale.scaling.log_headers import as_mappings, baseless
from forescale.scaling.measure_units import NAT, is_training, loss_unit, stated_measures, states_loss_unit, unit_for
from forescale.scaling.sources import Row

LOSS_READ = "is read as the loss"
"""Part of the warnings that say which of several losses was taken."""
SIZES = ("flops_per_token", "params_non_embedding", "params", "active_params", "n_layer")
SMOOTHED = re.compile(r"(^|_)(smooth(ed)?_(train_)?loss|loss_(ema|smooth(ed)?|avg)|avg_loss|ema_loss)$")
"""Names of the same loss over more than one step."""
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
    lacking: tuple[str, ...] = ()
    """Columns of ours whose product would be the tokens, all there but one."""
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def understood(self) -> dict[str, str]:
        """Our column -> the table's, for every column that has a meaning here."""
        return {ours: self.guesses.get(ours, theirs.removeprefix("\0")) for ours, theirs in self.found.items()}


def name_columns(rows: list[Row], names: list[str], columns: Sequence[str]) -> Named:
    """Mapped columns first, then headers that state a unit, then guesses, then tokens from steps and batch."""
    asked = {text.partition("=")[0].strip() for text in columns}
    mapped, rows = apply_mapping(rows, [*columns, *as_mappings(names, asked)])
    free = [name for name in names if name not in mapped.values()]
    with_unit = {name for name, _ in stated_units(free, {}).values()} | {n for n in free if states_loss_unit(n)}
    found = guess([name for name in free if name not in with_unit], mapped.values())
    found = {ours: theirs for ours, theirs in found.items() if ours not in mapped}
    stated = stated_units(free, found | mapped)
    stated |= stated_measures(
        [name for name in free if name not in with_unit or states_loss_unit(name)], found | mapped
    )
    stated |= {ours: (theirs, unit) for ours, theirs in mapped.items() if (unit := _unit(ours, theirs, names)) != 1.0}
    stated |= _unit_column(rows, found, stated)
    rows, scaled, warnings = in_plain_counts(rows, stated)
    trained = "loss" in stated and "loss" not in mapped and is_training(stated["loss"][0])
    warnings += [f"`{stated['loss'][0]}` is a training loss; a validation loss makes a better law"] if trained else []
    guesses = {ours: theirs for ours, theirs in found.items() if ours != theirs} | mapped | scaled
    found |= {ours: f"\0{ours}" for ours in (*mapped, *scaled)}
    used = {*found.values(), *(name for name, _ in stated.values())}
    used |= {name for text in mapped.values() for name in names if text == name or text.endswith(f"*{name}")}
    warnings += [
        f"`{name}` is a logarithm to an unknown base and is not read: --column {ours}=10**{name}, or =2**, or =e**"
        for ours, name in baseless(names) if name not in used
    ]  # fmt: skip
    made = Named(rows, found, guesses, mapped, ignored=[n for n in names if n not in used], warnings=warnings)
    return _with_tokens(_with_loss_choices(made))


def _unit(ours: str, theirs: str, names: list[str]) -> float:
    """The unit that the header of a mapped column states, where it was mapped as it stands."""
    if theirs not in names:
        return 1.0
    return unit_of(theirs)[1] if ours in COUNTS else unit_for(ours, theirs)


def _unit_column(
    rows: list[Row], found: dict[str, str], stated: dict[str, tuple[str, float]]
) -> dict[str, tuple[str, float]]:
    """The loss in bits per token, where a column `unit` says so in every row that says anything."""
    if "unit" not in found or "loss" not in found or "loss" in stated:
        return {}
    said = {text_of(row.get(found["unit"])) for row in rows} - {""}
    per_token = bool(said) and all((unit := loss_unit(text)) and unit[:2] == ("loss", NAT) for text in said)
    return {"loss": (found["loss"], NAT)} if per_token else {}


def _with_loss_choices(made: Named) -> Named:
    """Several losses on held-out text, of which none is known by name: they are named, and none is chosen."""
    several = [name for name in evaluations(made.ignored) if name not in made.mapped.values()]
    if made.found.get("loss") not in (None, "loss"):  # one of several sets, then, and not the run's only loss
        several = list(dict.fromkeys([*several, *(name for name in made.ignored if _of_a_set(name))]))
    if len(several) > 1 and "loss" in made.found and "loss" not in made.mapped:
        made.warnings.append(
            f"`{made.found['loss']}` {LOSS_READ}; {len(several)} other columns are losses too"
            f" ({', '.join(several[:6])}): --column loss=NAME chooses one"
        )
    elif len(several) == 1 and made.found.get("loss") == "loss" and _differ(made.rows, "loss", several[0]):
        made.warnings.append(
            f"`loss` {LOSS_READ}, and `{several[0]}` is one on held-out text: if `loss` is of training text,"
            f" --column loss={several[0]} is the better choice"
        )
    elif made.found.get("loss") == "loss":
        made.warnings += [
            f"`loss` {LOSS_READ}, and `{name}` smooths it: the loss of a last step alone is mostly noise,"
            f" --column loss={name} is the better choice"
            for name in made.ignored if SMOOTHED.search(normal(name)) and _differ(made.rows, "loss", name)
        ]  # fmt: skip
    return made


def _of_a_set(name: str) -> bool:
    """`loss_paloma_c4`, `books_loss`: by its name the loss on some text, which is not said to be training text."""
    return bool(re.match(r"loss_|.*_loss$", normal(name))) and normal(name) not in TRAINING_LOSSES


def _differ(rows: list[Row], one: str, other: str) -> bool:
    """Whether two columns hold different numbers anywhere."""
    return any(number(row.get(one)) != number(row.get(other)) for row in rows)


def _with_tokens(made: Named) -> Named:
    """Tokens = steps x batch where nothing else gives them."""
    found = made.found
    if "tokens" in found or (("flops" in found or "budget" in found) and any(name in found for name in SIZES)):
        return made
    factors = next((names for names in TOKENS_FROM if all(name in found for name in names)), None)
    if factors is None:
        nearly = [names for names in TOKENS_FROM if len(set(names) - found.keys()) == 1]
        made.lacking = max(nearly, key=len, default=())
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
