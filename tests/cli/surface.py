"""The public surface as data: verbs, arguments, options, defaults, JSON keys. `python tests/cli/surface.py` rewrites the
golden file and prints what changed; a change of it is a change for other people's scripts, and wants a CHANGELOG line."""

from __future__ import annotations

import difflib
import json
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from forescale.cli.docs import default_of, is_option, options, verbs

GOLDEN = Path(__file__).parents[1] / "golden" / "cli.json"


def surface() -> dict[str, Any]:
    """All that scripts can hold on to."""
    return {"verbs": {name: _verb(command) for name, command in verbs()}, "json": json_keys()}


def _verb(command: Any) -> dict[str, Any]:
    parameters = options(command)
    return {
        "arguments": [p.metavar for p in parameters if not is_option(p)],
        "options": {p.opts[0]: _words(p) for p in parameters if is_option(p)},
    }


def _words(parameter: Any) -> str:
    default = default_of(parameter)
    words = [parameter.metavar or "flag", "required" if parameter.required else "", default and f"= {default}"]
    return " ".join(word for word in words if word)


def json_keys() -> dict[str, list[str]]:
    """Verb -> every key of its JSON, dotted; `[]` for the elements of a list, `{}` for the values of a mapping."""
    from forescale.base.records.compare import Comparison
    from forescale.base.records.demo import DemoResult
    from forescale.base.records.evaluation import EvalResult
    from forescale.base.records.forecast import Forecast
    from forescale.base.records.laws import Laws
    from forescale.base.records.ledger import LedgerView
    from forescale.base.records.plan import Plan, Plans
    from forescale.base.records.suggestion import Suggestion

    records: dict[str, type[BaseModel]] = {
        "fit": Laws, "forecast": Forecast, "plan": Plan, "plan, several": Plans, "compare": Comparison, "ledger": LedgerView,
        "ladder suggest": Suggestion, "demo": DemoResult, "evaluate": EvalResult,
    }  # fmt: skip
    return {verb: sorted(keys(record)) for verb, record in records.items()}


def keys(record: type[BaseModel], before: str = "") -> set[str]:
    """Dotted keys of a record and of the records inside it; a fit inside a comparison is not opened again."""
    found: set[str] = set()
    for name, field in record.model_fields.items():
        found.add(before + name)
        for inner, mark in _records(field.annotation):
            if inner.__name__ in ("Predictive", "Plan") or (before and inner.__name__ in ("Laws", "Forecast")):
                continue  # how a forecast is made is ours; a fit, forecast or plan inside another is listed once
            found |= keys(inner, f"{before}{name}{mark}.")
    return found


def _records(annotation: Any, mark: str = "") -> list[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, mark)]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, tuple):
        return [pair for argument in arguments for pair in _records(argument, mark + "[]")]
    if origin is dict:
        return _records(arguments[1], mark + "{}")
    return [pair for argument in arguments for pair in _records(argument, mark)]


def text() -> str:
    """The golden file's content."""
    return json.dumps(surface(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    old = GOLDEN.read_text(encoding="utf-8") if GOLDEN.exists() else ""
    print("\n".join(difflib.unified_diff(old.splitlines(), text().splitlines(), "before", "after", lineterm="", n=0)))
    GOLDEN.write_text(text(), encoding="utf-8")
