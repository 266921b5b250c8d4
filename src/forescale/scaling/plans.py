"""Several plans side by side: every combination of what was given more than once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forescale.base.records.laws import Laws
from forescale.base.records.plan import Plans
from forescale.scaling.plan import plan

SEVERAL = {
    "laws": "{}", "flops": "{} FLOPs", "tokens": "{} tokens", "days": "{} days", "minutes": "{} minutes",
    "money": "money {}", "gpus": "{} GPUs", "device": "{}",
}  # fmt: skip
"""Options that may take several values, and how one of them is said."""


def plans(laws: Laws | str | Path | Sequence[Laws | str | Path] | None = None, **options: Any) -> Plans:
    """`plan` for each combination of laws, dial values, devices and device counts that are given as a list.

    >>> both = plans(["deepseek", "chinchilla"], flops=1e20)
    >>> both.names, [one.steps for one in both.plans]
    (['deepseek', 'chinchilla'], [19106, 18237])
    """
    chosen = combinations({"laws": laws, **options})
    made = [plan(**one) for _, one in chosen]
    return Plans(plans=made, names=[name or one.laws for (name, _), one in zip(chosen, made, strict=True)])


def combinations(options: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """One set of options for each plan, named after what differs (\"\" where nothing does).

    >>> combinations({"flops": [1e20, 1e21], "laws": "deepseek"})[1]
    ('1e21 FLOPs', {'flops': 1e+21, 'laws': 'deepseek'})
    """
    lists = {key: list(value) for key, value in options.items() if key in SEVERAL and isinstance(value, (list, tuple))}
    fixed = {key: value for key, value in options.items() if key not in lists}
    chosen = []
    for values in itertools.product(*lists.values()):
        one = dict(zip(lists, values, strict=True))
        name = ", ".join(_said(key, value) for key, value in one.items() if len(lists[key]) > 1)
        chosen.append((name, {**one, **fixed}))
    return chosen


def _said(key: str, value: Any) -> str:
    if isinstance(value, Laws):
        return value.group or value.source or "laws"
    if isinstance(value, float):
        return SEVERAL[key].format(f"{value:.4g}".replace("e+", "e"))
    return SEVERAL[key].format(value)
