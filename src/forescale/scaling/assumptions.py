"""What a forecast takes for granted, by name, and what each difference between ladder and target costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from forescale.base.records.forecast import Assumption
from forescale.base.records.laws import Laws
from forescale.scaling.columns import number
from forescale.scaling.off_best import NAMES, off_best

PER_DOUBLING = {
    "seq_len": 0.005, "weight_decay": 0.002, "warmup_tokens": 0.0005, "batch_tokens": 0.002, "lr": 0.003,
}  # fmt: skip
"""Relative standard deviation charged per doubling away from the ladder's values (our choices, from public sweeps:
a learning rate or batch off by 2x costs 0.1-0.4%, a sequence length 0.3-1%). Learning rate and batch are charged so
only by laws that know no best one."""
RISE_DOUBT = 1.64
"""What a learning rate or batch away from the best costs is uncertain by itself: the lower end of a 90% interval
reaches to the forecast at the best one (our choice, as for the wear of repeats)."""
OTHER = {"schedule": 0.01, "optimizer": 0.02, "tokenizer": 0.1, "validation": 0.05}
"""Charged for another word: another schedule shifts the loss by about 1%, another validation set by anything."""
UNKNOWN = 0.01
"""Charged for a condition we have no experience of."""
FREE_EPOCHS = 4.0
"""Repeating data up to about this often costs next to nothing (Muennighoff et al., arXiv 2305.16264): up to there
nothing is charged on top of what repeats are expected to cost."""
PER_EPOCH_DOUBLING = 0.02
"""Charged upwards per doubling beyond: the law of repeats was measured to some tens of epochs (our choice)."""
HURTS_ONLY = ("unique_tokens", *NAMES)
"""Differences that can only raise the loss: they widen the interval upwards."""
ROUNDED = 0.01
"""Token counts this near one another are one count: runs end at whole steps and windows."""
FRESH = "as many as its tokens"
"""What is assumed of a target's unique tokens where nobody names them: no token is seen twice."""
RATIO_STEP = 0.003
"""Charged per unit of ln(tokens / size) beyond the ladder's own range."""


def assumptions_of(
    laws: Laws, size: float, tokens: float, conditions: Mapping[str, Any], best: Mapping[str, float | None]
) -> list[Assumption]:
    """Every condition of the ladder, whether the target shares it or not, and what a difference is charged.

    `best`: the laws' own `lr` and `batch_tokens` at the target, None where they have no law of it.
    """
    found = []
    names = list(dict.fromkeys((*laws.conditions, *conditions, "unique_tokens")))
    named = {name: value for name in NAMES if (value := number(conditions.get(name))) is not None}
    off = off_best(laws.learning_rate, laws.batch, best, named)
    for name in names:
        ladder, target = laws.conditions.get(name), conditions.get(name)
        if name == "unique_tokens":
            found.append(_epochs(ladder, number(target) or corpus_tokens(laws), tokens))
        elif name in off:
            rise, why = off[name].rise, off[name].why
            charged, raised = rise / RISE_DOUBT, math.expm1(rise)
            found.append(Assumption(what=name, ladder=ladder, target=target, charged=charged, raised=raised, why=why))
        elif name in NAMES and target is None:
            continue  # those follow their laws, and are given with the forecast
        else:
            charged, why = _charge(name, ladder, target)
            found.append(Assumption(what=name, ladder=ladder, target=target, charged=charged, why=why))
    if laws.predictive is not None and laws.predictive.ratio is not None:
        low, high = laws.predictive.ratio
        ratio = tokens / size
        beyond = max(math.log(ratio / high), math.log(low / ratio), 0.0)
        why = f"outside the runs' own by {math.exp(beyond):.3g} x" if beyond else ""
        charged = RATIO_STEP * beyond
        found.append(Assumption(what="tokens per size", ladder=[low, high], target=ratio, charged=charged, why=why))
    return found


def _charge(name: str, ladder: Any, target: Any) -> tuple[float, str]:
    """What a difference from the ladder's own values is charged, and why; nothing where nobody names the target's."""
    if target is None:
        return 0.0, ""
    other = OTHER.get(name, UNKNOWN)
    if ladder is None:
        return other, "the runs do not say theirs"
    numeric = number(target)
    values = [number(v) for v in (ladder if isinstance(ladder, list) else [ladder])]
    known = [v for v in values if v is not None]
    unlawed = f"no law of the {NAMES[name]} to charge by: " if name in NAMES else ""
    if numeric is not None and known:
        low, high = min(known), max(known)
        if low <= numeric <= high:
            return 0.0, f"{unlawed}within the runs' own" if unlawed else ""
        if numeric <= 0 or low <= 0:
            return UNKNOWN, "the runs have none" if numeric > 0 else "the runs have some"
        doublings = max(math.log2(numeric / high), math.log2(low / numeric))
        charged = PER_DOUBLING.get(name, UNKNOWN) * doublings
        return charged, f"{unlawed}outside the runs' own by {2**doublings:.3g} x"
    words = ladder if isinstance(ladder, list) else [ladder]
    return (0.0, "") if str(target) in [str(w) for w in words] else (other, "another than the runs'")


def corpus_tokens(laws: Laws) -> float | None:
    """How many tokens a corpus has, where its runs tell: some saw them twice, or the table names more than were seen.

    A run that saw each token once tells only that there are as many as it saw.
    """
    said = laws.conditions.get("unique_tokens")
    most = max((n for v in (said if isinstance(said, list) else [said]) if (n := number(v))), default=0.0)
    if laws.largest is None or not most > 0:
        return None
    return None if abs(most / laws.largest.tokens - 1) < ROUNDED else most


def _epochs(ladder: Any, unique: float | None, tokens: float) -> Assumption:
    """Repetition: the target's tokens over its unique ones, or those of the ladder's corpus where its runs tell.

    Where nobody names them, its tokens are taken to be new: that is said, and nothing is charged. What repeats are
    expected to cost where the target names its unique tokens moves the forecast itself.
    """
    if unique is None:
        return Assumption(what="unique_tokens", ladder=ladder, target=FRESH)
    epochs = tokens / unique
    charged = PER_EPOCH_DOUBLING * math.log2(epochs / FREE_EPOCHS) if epochs > FREE_EPOCHS else 0.0
    why = f"seen {epochs:.3g} times; the law of repeats was measured to some tens" if charged else ""
    return Assumption(what="unique_tokens", ladder=ladder, target=unique, charged=charged, why=why)
