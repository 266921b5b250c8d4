"""Which rows of a table share a fit, and which column is its loss: chosen by the reader, else refused with a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.laws import Unit
from forescale.scaling.columns import evaluations, normal, number, text_of, where_option
from forescale.scaling.measure_units import in_bits, loss_unit
from forescale.scaling.sources import Row

NEVER_MIXED = ("tokenizer", "validation", "seq_len", "group")
KIND = re.compile(r"^(loss|eval|metric)_(kind|type|split|name|set|on)$")
"""Columns whose words say what a loss is of."""
SPLIT = re.compile(
    r"^((loss|eval|evaluation|data|dataset|metric|val)_)?(split|subset|partition|phase|eval|evaluation)$"
)
"""Columns that say it where their words are such as `HELD`."""
HELD = frozenset({"train", "training", "trained", "val", "valid", "validation", "dev", "test", "eval", "evaluation",
                  "heldout", "held out", "held-out", "held_out", "holdout", "hold-out"})  # fmt: skip
OUTCOME = re.compile(
    r"loss|bpb|acc|perplex|ppl|score|time|second|tok_per|tokens_per_s|throughput|util|mfu|hardware|date|host|url|path"
    r"|created|grad_norm|reason|outlier|notes|tags|task|runtime|memory"
)
"""Columns that a run produces, beside those that set it: two rows may differ in them and be the same setting."""


def refuse_single_curve(names: list[str]) -> None:
    """TensorBoard exports one curve: that is no table of runs."""
    if {normal(n) for n in names} >= {"wall_time", "step", "value"}:
        raise InputError(
            "this is TensorBoard's export of one curve, not a table of runs",
            why="it has Wall time, Step and Value: one scalar of one run",
            remedy="make a table with one row a finished run: size, tokens, loss (`forescale watch` reads one curve)",
        )


def choose_group(rows: list[Row], index: list[int], found: dict[str, str], group: str | None) -> list[int]:
    """The rows (indices) of the group asked for."""
    if group is None:
        return index
    if "group" not in found:
        raise ConfigError("--group needs a `group` column", remedy="name it with --column group=COLUMN", key="group")
    chosen = [i for i in index if text_of(rows[i].get(found["group"])) == group]
    if not chosen:
        known = sorted({text_of(rows[i].get(found["group"])) for i in index})
        raise ConfigError(f"no runs of group `{group}`", remedy=f"groups here: {', '.join(known)}", key="group")
    return chosen


def refuse_mixtures(rows: list[Row], index: list[int], found: dict[str, str], names: Sequence[str]) -> None:
    """Rows whose losses do not lie on one curve never share a fit: exit 2 with the choices."""
    for name in NEVER_MIXED:
        if name not in found:
            continue
        values = sorted({text_of(rows[i].get(found[name])) for i in index} - {""})
        if len(values) > 1:
            column = found[name].removeprefix("\0")
            option = "--group NAME" if name == "group" else where_option(column, "VALUE")
            raise ConfigError(
                f"the runs differ in {name}: {', '.join(values[:12])}",
                why="their losses do not lie on one curve",
                remedy=f"choose with {option}" + (" (`forescale compare` fits each)" if name == "group" else ""),
                key=column,
            )
    for name in names:
        values = sorted({text_of(rows[i].get(name)) for i in index} - {""})
        if len(values) > 1 and _says_what_of(name, values):
            raise ConfigError(
                f"the losses are not all of one text: `{name}` is {', '.join(values[:12])}",
                why="losses on training text, and on each held-out text, lie on curves of their own",
                remedy=f"choose with {where_option(name, next((v for v in values if 'val' in v.lower()), values[0]))}",
                key=name,
            )


def _says_what_of(name: str, values: Sequence[str]) -> bool:
    """Whether the words of a column say what the losses are of."""
    if SPLIT.match(normal(name)):
        return all(value.lower() in HELD for value in values)
    return bool(KIND.match(normal(name))) and not any(number(value) is not None for value in values)


def loss_column(
    rows: list[Row], index: list[int], found: dict[str, str], metric: str | None, others: Sequence[str] = ()
) -> tuple[str, Unit]:  # fmt: skip
    """Which column is fitted, in which unit; a unit that changes from row to row is refused.

    `others`: columns that nothing was read from, to be named where no loss is found.
    """
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
        unclear = [name for name in others if in_bits(name)]
        if unclear:
            raise InputError(
                f"`{unclear[0]}` is in bits, but per token or per byte?",
                why="a loss is fitted in nats per token or in bits per byte, and the header does not say which it is",
                remedy=f"--column loss='0.693147*{unclear[0]}' if per token, --column bpb='{unclear[0]}' if per byte",
                key=unclear[0],
            )
        perplexity = next((name for name in others if re.search(r"(^|_)(ppl|perplexity)(_|$)", normal(name))), None)
        if perplexity is not None:
            raise InputError(
                "no column gives the loss",
                why=f"`{perplexity}` is a perplexity: the exponential of a loss in nats",
                remedy=f"add a column loss = ln({perplexity})",
                key=perplexity,
            )
        several = evaluations(others)
        raise InputError(
            "no column gives the loss",
            why=f"several are losses on held-out text: {', '.join(several[:12])}"
            if several
            else f"none of the names is known as a validation loss; columns not understood: {', '.join(others[:20])}",
            remedy="name it with --column loss=COLUMN (nats per token) or --column bpb=COLUMN",
        )
    units = {text_of(rows[i].get(found["unit"])) for i in index} - {""} if "unit" in found else set()
    per_byte = bool(units) and all((unit := loss_unit(text)) and unit[0] == "bpb" for text in units)
    return "loss", "bpb" if per_byte else "nats_per_token"


def unnamed_choices(rows: list[Row], at: list[int], names: list[str], found: dict[str, str]) -> list[str]:
    """A column of words that we do not know and that splits the runs: say so, for they now share one fit."""
    known = set(found.values())
    warnings = []
    for name in names:
        if name in known or OUTCOME.search(normal(name)):
            continue
        values = {text_of(rows[i].get(name)) for i in at} - {""}
        if 1 < len(values) <= 8 and all(number(v) is None for v in values) and len(at) >= 2 * len(values):
            listed = ", ".join(sorted(values))
            warnings.append(
                f"the runs differ in `{name}` ({listed}) and share one fit; {where_option(name, 'VALUE')} chooses"
            )
    return warnings
