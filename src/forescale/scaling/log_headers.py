"""Columns whose header says that they hold logarithms: `log2_lr`, `log10(tokens)`, `ln params`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from forescale.scaling.columns import ALIASES, guess, normal

BASES = {"log2": "2", "log10": "10", "ln": "e"}
COUNTS = (
    "lr", "batch_tokens", "batch_seqs", "tokens", "params_non_embedding", "params", "active_params", "flops_per_token",
    "flops", "budget", "d_model", "steps",
)  # fmt: skip
"""Our columns that others give as logarithms; losses are none of them."""
_LOG = re.compile(r"^(log2|log10|ln)_(.+)$")
_BASELESS = re.compile(r"^log_(.+)$")


def as_mappings(names: Iterable[str], mapped: Iterable[str]) -> list[str]:
    """What a reader would write after `--column` for them: `lr=2**log2_lr`.

    A column that is there as it stands, or that was mapped, is left alone; `mapped` are our names.

    >>> as_mappings(["log2_lr", "log10(tokens)", "tokens", "ln_loss"], [])
    ['lr=2**log2_lr']
    """
    names = list(names)
    known = {alias: ours for ours in COUNTS for alias in ALIASES[ours]}
    there = {*guess(names), *mapped}
    found: dict[str, str] = {}
    for name in names:
        log = _LOG.match(normal(name))
        ours = known.get(log[2]) if log else None
        if log and ours and ours not in there:
            found.setdefault(ours, f"{ours}={BASES[log[1]]}**{name}")
    return list(found.values())


def baseless(names: Iterable[str]) -> list[tuple[str, str]]:
    """Our column and theirs, where theirs is a logarithm to a base that nobody says.

    >>> baseless(["log_lr", "log2_lr", "log_dir"])
    [('lr', 'log_lr')]
    """
    known = {alias: ours for ours in COUNTS for alias in ALIASES[ours]}
    logs = [(name, _BASELESS.match(normal(name))) for name in names]
    return [(known[log[1]], name) for name, log in logs if log and log[1] in known]
