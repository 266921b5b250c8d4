"""What may be said of a target: the names of its conditions, and which values each can have."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from forescale.base.errors import ConfigError
from forescale.base.records.laws import Laws
from forescale.scaling.columns import ALIASES, number
from forescale.scaling.derive import CONDITIONS

ABOVE_ZERO = {
    "lr": "the peak learning rate", "batch_tokens": "tokens a step", "seq_len": "tokens a sequence",
    "unique_tokens": "tokens that are there to be seen",
}  # fmt: skip
FROM_ZERO = {"warmup_tokens": "tokens of warm-up", "weight_decay": "the optimizer's decay"}
"""These may be 0: none of it."""


def checked_conditions(laws: Laws, conditions: Mapping[str, Any] | None) -> dict[str, Any]:
    """The conditions with their numbers as numbers; None says nothing and is left out.

    Raises ConfigError (exit 2) for a name that no run table has, and for a value that its name cannot have.
    """
    known = list(dict.fromkeys((*CONDITIONS, *laws.conditions)))
    checked: dict[str, Any] = {}
    for name, value in (conditions or {}).items():
        if name not in known:
            raise ConfigError(
                f"there is no condition `{name}` ({name}={value})",
                why="a condition that is not known can be charged nothing that means anything",
                remedy=f"{_near(name, known)}known: {', '.join(known)}",
                key=name,
            )
        if value is not None:
            checked[name] = _value(name, value, laws.conditions.get(name))
    return checked


def _value(name: str, value: Any, ladder: Any) -> Any:
    """One value as its name takes it; the ladder's own word for it is always one."""
    words = ladder if isinstance(ladder, list) else [ladder]
    if isinstance(value, str) and value in words:
        return value
    what = ABOVE_ZERO.get(name) or FROM_ZERO.get(name)
    if what is None:
        if not isinstance(value, bool) and str(value).strip():
            return value
        raise ConfigError(f"the condition {name}={value} says nothing", remedy=f"{name}=WORD", key=name)
    amount = number(value)
    least = "above 0" if name in ABOVE_ZERO else "of 0 or more"
    if amount is None or not math.isfinite(amount) or amount < 0 or (amount == 0 and name in ABOVE_ZERO):
        raise ConfigError(
            f"the condition {name}={value} cannot be",
            why=f"{name} is a number {least}: {what}",
            remedy=f"write e.g. {name}={EXAMPLES[name]}, or leave it out where it is as in the runs",
            key=name,
        )
    return amount


EXAMPLES = {
    "lr": "3e-4", "batch_tokens": "2e6", "seq_len": "4096", "unique_tokens": "1e12", "warmup_tokens": "4e9",
    "weight_decay": "0.1",
}  # fmt: skip


def _near(name: str, known: list[str]) -> str:
    """Which was meant, where a name that tables use or a slip of the pen tells."""
    by_alias = [ours for ours in known if name.lower() in ALIASES.get(ours, ())]
    near = by_alias or difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`? " if near else ""
