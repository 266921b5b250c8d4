"""`forecast --at POINTS.csv --out PRED.csv`: the rows of a table, each with its forecast."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forescale.base.errors import ConfigError, InputError
from forescale.base.files import write_atomic
from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws

ADDED = ("predicted", "low", "high")
HYPER = ("learning_rate", "batch_tokens")
SIZES = {"M": ("flops_per_token", "model_scale"), "N1": ("params_non_embedding", "model_scale"),
         "N2": ("params", "model_scale")}  # fmt: skip
"""Columns that give the size in the laws' own unit, in order of preference."""


def forecast_points(
    laws: Laws, at: Path, out: Path, *, level: float | None = None, conditions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Forecast every row of `at`; a column that names a condition of the laws counts for its row.

    ConfigError (2): a condition of all rows that cannot be; InputError (3): a row that cannot be, with its line.
    """
    from forescale.scaling.conditions import checked_conditions
    from forescale.scaling.sources import read_rows

    checked_conditions(laws, conditions)
    raw = read_rows(at)
    if not raw.rows:
        raise InputError(f"{at} has no rows", remedy="one target a row: a size and tokens, or flops", file=at)
    best = {"lr": laws.learning_rate, "batch_tokens": laws.batch}
    known = {*laws.conditions, "unique_tokens"} - best.keys() | {name for name, law in best.items() if law is not None}
    made: list[dict[str, Any]] = []
    warnings: dict[str, None] = {}
    for place, row in enumerate(raw.rows):
        line = raw.lines[place] or place + 1
        own = {key: _value(row[key]) for key in row if key in known and row[key] not in (None, "")}
        try:
            checked_conditions(laws, own)
        except ConfigError as error:  # in a table it is data
            raise InputError(
                error.what, why=error.why, remedy="mend that row", file=at, line=line, key=error.key
            ) from None
        forecast = _one(laws, row, at, line, level, {**(conditions or {}), **own})
        warnings |= dict.fromkeys(forecast.warnings)
        low, high = forecast.interval or (None, None)
        hyper = {name: value for name in HYPER if (value := getattr(forecast, name)) is not None and name not in row}
        made.append({**row, "predicted": forecast.loss, "low": low, "high": high, **hyper})
    write_atomic(out, _as_csv(made, raw.rows[0]).encode())
    return {"points": len(made), "out": str(out), "warnings": list(warnings)}


def _one(
    laws: Laws, row: Mapping[str, Any], file: Path, line: int, level: float | None, conditions: Mapping[str, Any]
) -> Forecast:
    from forescale.scaling.forecast import forecast

    size = next((_number(row, name) for name in SIZES[laws.scale] if _number(row, name) is not None), None)
    if size is None and laws.scale == "M" and row.get("n_layer") not in (None, ""):
        size = _shape_size(row)
    tokens, flops = _number(row, "tokens"), _number(row, "flops")
    if size is None and tokens is not None and flops is not None:
        size = flops / (laws.flops_factor * tokens)
    if size is not None and tokens is None and flops is not None:
        tokens = flops / (laws.flops_factor * size)
    if flops is None and (size is None or tokens is None):
        raise InputError(
            f"a target of {file} has neither {SIZES[laws.scale][0]} and tokens, nor flops",
            remedy="name the columns as in a run table, in the laws' own size unit",
            file=file,
            line=line,
        )
    for name, value in (("size", size), ("tokens", tokens), ("flops", flops)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(
                f"the {name} {value:g} of a target is not a positive number",
                remedy="mend that row",
                file=file,
                line=line,
            )
    try:
        if size is not None and tokens is not None:
            return forecast(laws, model_scale=size, tokens=tokens, level=level, conditions=conditions)
        return forecast(laws, flops=flops, level=level, conditions=conditions)
    except InputError as error:  # what these laws cannot tell of this row
        raise InputError(error.what, why=error.why, remedy=error.remedy, file=file, line=line) from None


def _shape_size(row: Mapping[str, Any]) -> float | None:
    """M of a row that gives a shape."""
    from forescale.base.shape import ModelShape

    keys = ("n_layer", "d_model", "n_head", "n_kv_head", "d_ffn", "vocab_size", "seq_len")
    values = {key: _number(row, key) for key in keys}
    values["n_kv_head"] = values["n_kv_head"] or values["n_head"]
    if any(value is None for key, value in values.items() if key != "vocab_size"):
        return None
    whole = {key: int(value or 1) for key, value in values.items()}
    return ModelShape(**whole).flops_per_token


def _number(row: Mapping[str, Any], name: str) -> float | None:
    try:
        return float(row[name])
    except (KeyError, TypeError, ValueError):
        return None


def _value(cell: Any) -> Any:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell


def _as_csv(rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> str:
    """The table's own columns in their order, as they were, and what was added to them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    last = [n for n in (*ADDED, *HYPER) if n in names and (n in ADDED or n not in given)]
    order = [name for name in names if name not in last] + last
    text = io.StringIO()
    writer = csv.DictWriter(text, order, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return text.getvalue()
