"""`forecast`: the loss of one new run as a predictive distribution, from a laws record alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from forescale.base.errors import ConfigError, InputError
from forescale.base.records.forecast import Assumption, Extrapolation, Forecast
from forescale.base.records.laws import Laws, Line
from forescale.scaling import repeat
from forescale.scaling.assumptions import HURTS_ONLY, assumptions_of
from forescale.scaling.columns import number
from forescale.scaling.conditions import checked_conditions
from forescale.scaling.plausible import NO_LOSS
from forescale.scaling.predictive import Spread, centre_of, quantile, spread
from forescale.scaling.published import split_of
from forescale.scaling.which_laws import read_laws

FAR = 300.0
"""Beyond this ratio of compute no public forecast was ever checked often enough to say how it fares."""
BENEATH = 0.8
"""Share of the smallest rung's compute below which a target is said to lie under the ladder."""
KNOWN_TAIL = 0.01
"""Least probability on either side for which errors of public ladders were ever counted."""
NEAR, TIED = 0.1, 0.25
"""How far (in logarithms) from the one token count or size, or from the tie, a target still counts as on it: tied runs
scatter around theirs."""
WEAR_DOUBT = 1.64
"""What excess size loses by repeats is the least certain part of their law (one paper's fit): the lower end of a 90%
interval reaches to the forecast without it (our choice)."""
TOLD, TOLD_RAISED = 0.02, 0.005
"""What is charged or moves the forecast by this much is a warning too (our choice)."""
PROBABILITIES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def forecast(
    laws: Laws | str | Path, *, flops: float | None = None, model_scale: float | None = None,
    tokens: float | None = None, level: float | None = None, conditions: Mapping[str, Any] | None = None,
    credited: float | None = None,
) -> Forecast:  # fmt: skip
    """Forecast one new run at a size and tokens, or at the optimal split of `flops` (in the laws' own scale).

    `laws`: what `fit` made, a laws folder, a laws.json, or a published name.
    `conditions` say what differs at the target from the ladder's runs; each difference is named and charged. Unique
    tokens beyond which the target repeats move the forecast itself, and so do a learning rate (`lr`) and a batch
    (`batch_tokens`) away from the laws' best. `credited`: tokens that count for the loss, where some only pay for a
    large batch. ConfigError (2): a target or a condition that cannot be; InputError (3): what these laws cannot tell.
    """
    laws = read_laws(laws)
    if laws.predictive is None and laws.surface is None:
        raise InputError(
            "these laws can forecast no loss",
            why="; ".join(w for w in laws.warnings if w.startswith("no surface")) or "they have no surface",
            remedy="fit them to runs at several sizes and token budgets",
        )
    size, data = _target(laws, flops, model_scale, tokens)
    refuse_off_line(laws, size, data)
    made = at(laws, size, data, level=level, conditions=conditions, credited=credited)
    if model_scale is None and tokens is None and laws.allocation is None and laws.line is None:
        return made.model_copy(update={"warnings": [_no_split(laws), *made.warnings]})
    return made


def at(
    laws: Laws, size: float, data: float, *, level: float | None = None,
    conditions: Mapping[str, Any] | None = None, credited: float | None = None,
) -> Forecast:  # fmt: skip
    """The forecast at a size and tokens, also off the line that the laws' runs lie on: what `forecast` refuses there is
    what a search for the next runs must weigh."""
    level = laws.level if level is None else level
    if not 0 < level < 1:
        raise ConfigError(f"a level of {level} is not between 0 and 1", key="level")
    target_flops = laws.flops_factor * size * data
    said = checked_conditions(laws, conditions)
    seen = data if credited is None else credited
    rate, batch = _hyper(laws, laws.flops_factor * size * seen, size, seen)
    assumptions = assumptions_of(laws, size, data, said, {"lr": rate, "batch_tokens": batch})
    both = math.sqrt(sum(a.charged**2 for a in assumptions if a.what not in HURTS_ONLY))
    up = math.sqrt(sum(a.charged**2 for a in assumptions))
    rise = sum(math.log1p(a.raised) for a in assumptions)
    warnings = list(_warnings(laws, size, data, target_flops))
    warnings += [_charge_words(a) for a in assumptions if a.charged >= TOLD or a.raised >= TOLD_RAISED]
    if (1 - level) / 2 < KNOWN_TAIL - 1e-9:
        warnings.append(f"a level of {level:g}: errors were counted up to 98%, beyond it tails go on as a normal's do")
    worth_size, worth_data = _worth(laws, size, seen, said, warnings)
    loss = expected(laws, worth_size, worth_data)
    if loss > NO_LOSS:
        raise InputError(
            f"these laws give {loss:.3g} at {laws.scale} = {size:.4g} and {data:.4g} tokens, which is no loss of text",
            why="guessing among a million tokens costs 13.8 nats: the target lies too far below the runs",
            remedy="ask nearer to the runs, or fit runs of that size",
        )
    interval = None
    quantiles: list[tuple[float, float]] = []
    if laws.predictive is not None and laws.predictive.members:
        # the distance counts repeats: tokens that are worth less bring no target nearer to the ladder
        far = spread(laws, size, seen).growth
        parts = replace(spread(laws, worth_size, worth_data), growth=far)
        parts = replace(parts, centre=parts.centre + rise)
        new = replace(spread(laws, size, seen), growth=far)
        worn = math.log(max(1.0, loss / expected(laws, size, worth_data))) / WEAR_DOUBT
        down = math.hypot(both, worn, *(a.charged for a in assumptions if a.raised))

        def quantile_at(probability: float) -> float:
            """Repeats, and another rate or batch, only hurt: no quantile lies below that of the best on new tokens."""
            return max(_at(laws, parts, down, up, probability), _at(laws, new, both, both, probability))

        if laws.predictive.quantiles:
            interval = (quantile_at(0.5 - level / 2), quantile_at(0.5 + level / 2))
            quantiles = [(p, quantile_at(p)) for p in PROBABILITIES]
    else:
        warnings.append("no interval: these laws carry no measured forecast error")
    return Forecast(
        loss=loss * math.exp(rise),
        interval=interval,
        level=level,
        unit=laws.unit,
        scale=laws.scale,
        model_scale=size,
        tokens=data,
        flops=target_flops,
        learning_rate=rate,
        batch_tokens=batch,
        extrapolation=_extrapolation(laws, size, data, target_flops),
        source=laws.source,
        regime=laws.regime,
        assumptions=assumptions,
        self_check=laws.self_check,
        warnings=warnings,
        quantiles=quantiles,
    )


def _target(laws: Laws, flops: float | None, model_scale: float | None, tokens: float | None) -> tuple[float, float]:
    """Size and tokens of the target; any two of three, or compute alone at the optimal split."""
    for name, value in (("flops", flops), ("model-scale", model_scale), ("tokens", tokens)):
        if value is not None and not (isinstance(value, Real) and 0 < value < math.inf):
            raise ConfigError(f"--{name} {value!r} is not a positive number", key=name)
    k = laws.flops_factor
    if flops is not None and model_scale is not None and tokens is not None:
        product = k * model_scale * tokens
        if abs(product / flops - 1) > 0.01:
            raise ConfigError(
                f"size x tokens = {product:.4g}, but flops = {flops:.4g}", remedy="give two of the three", key="flops"
            )
    if model_scale is not None and tokens is not None:
        return model_scale, tokens
    if flops is None:
        raise ConfigError(
            "a target needs --flops, or --model-scale and --tokens", remedy="give one of the two", key="flops"
        )
    if model_scale is not None:
        return model_scale, flops / (k * model_scale)
    if tokens is not None:
        return flops / (k * tokens), tokens
    if laws.line is not None and laws.line.fixed != "tokens per size":
        raise off_line(laws, laws.line, "know no best split of a compute")
    return optimum(laws, flops)


def _no_split(laws: Laws) -> str:
    """Which split a compute alone was given by laws that know no best one."""
    flat = laws.surface is not None and laws.surface.form == "flat"
    why = "their loss is the same at any split" if flat else "--model-scale X --tokens D asks at a split of your own"
    return (
        "these laws know no best split of a compute: taken is the largest run's size and tokens, both scaled alike"
        f" (or the runs' own ratio, where they have one); {why}"
    )


def refuse_off_line(laws: Laws, size: float, tokens: float) -> None:
    """Laws of runs on one line cannot tell what size does from what tokens do: off it they have no answer (exit 3)."""
    line = laws.line
    if line is None:
        return
    near = TIED if line.fixed == "tokens per size" else NEAR
    if line.away(size, tokens) > near:
        raise off_line(laws, line, f"cannot tell the loss at {laws.scale} = {size:.4g} and {tokens:.4g} tokens")


def off_line(laws: Laws, line: Line, cannot: str) -> InputError:
    """What laws of one line cannot do, why, which runs would mend it, and what can be asked of them now."""
    why, runs, now = {
        "tokens": (
            f"all their runs have {line.value:.4g} tokens, so what more tokens do was never seen",
            "add runs of other token counts at two or more of these sizes",
            f"ask at their tokens: --model-scale X --tokens {line.value:.6g}",
        ),
        "size": (
            f"all their runs have one size, {laws.scale} = {line.value:.4g}, so what size does was never seen",
            "add runs of other sizes at two or more of these token counts",
            f"ask at their size: --model-scale {line.value:.6g} --tokens D",
        ),
        "tokens per size": (
            f"in their runs tokens are tied to size: tokens = {line.value:.4g} x {laws.scale}^{line.slope or 0:.4g}",
            "add runs off that line: the same sizes with a quarter and four times the tokens",
            "ask along it: --flops C alone, or a size with its tokens",
        ),
    }[line.fixed]
    return InputError(f"these laws {cannot}", why=why, remedy=f"{runs}, and fit again; or {now}")


def optimum(laws: Laws, flops: float) -> tuple[float, float]:
    """The optimal split of a budget: the allocation law, else along the runs' own line of tokens to size."""
    k = laws.flops_factor
    if laws.line is not None and laws.line.slope is not None:  # C = k size x value size^slope
        size = (flops / (k * laws.line.value)) ** (1.0 / (1.0 + laws.line.slope))
        return size, flops / (k * size)
    if laws.allocation is not None:
        size = laws.allocation.model_coefficient * flops**laws.allocation.model_exponent
        return size, flops / (k * size)
    if laws.largest is not None and laws.predictive is not None and laws.predictive.ratio is not None:
        low, high = laws.predictive.ratio
        if high / low > 1.5:  # the tie may be to a power of the size: go along the ends of the range
            largest = laws.largest
            size = largest.size * (flops / largest.flops) ** 0.5
            return size, flops / (k * size)
        ratio = math.sqrt(low * high)
        size = math.sqrt(flops / (k * ratio))
        return size, flops / (k * size)
    raise InputError(
        "these laws have no allocation law, so compute alone names no target",
        remedy="give --model-scale and --tokens",
    )


def _charge_words(found: Assumption) -> str:
    """What a large charge is for."""
    if found.raised:
        return f"{found.what} = {found.target:.4g} lies {found.why}: the forecast is {found.raised:.1%} higher for it"
    if found.what == "unique_tokens":
        return f"{found.target:.3g} unique tokens, {found.why}: {found.charged:.1%} charged upwards"
    upwards = " upwards" if found.what in HURTS_ONLY else ""
    return (
        f"{found.what} differs at the target ({found.ladder} -> {found.target}): {found.charged:.1%} charged{upwards}"
    )


def expected(laws: Laws, size: float, tokens: float) -> float:
    """The laws' own forecast of a run on new tokens, without its spread."""
    if laws.predictive is not None and laws.predictive.members:
        return math.exp(centre_of(laws.predictive, size, tokens))
    assert laws.surface is not None
    return laws.surface.loss(size, tokens)


def size_for(laws: Laws, tokens: float) -> float | None:
    """The size for which so many tokens are the optimal split, or that a tie gives them; None where no law tells."""
    if laws.line is not None and laws.line.slope is not None:
        return float((tokens / laws.line.value) ** (1.0 / laws.line.slope))
    law = laws.allocation
    if law is None and laws.surface is not None and min(laws.surface.alpha, laws.surface.beta) > 0:
        law = split_of(laws.surface, laws.flops_factor)
    if law is None or law.data_exponent <= 0:
        return None
    return law.split((tokens / law.data_coefficient) ** (1.0 / law.data_exponent))[0]


def _worth(
    laws: Laws, size: float, tokens: float, conditions: Mapping[str, Any], warnings: list[str]
) -> tuple[float, float]:
    """The size and the new tokens that a target is worth whose unique tokens are named; else its own."""
    unique = number(conditions.get("unique_tokens"))
    if unique is None or not 0 < unique < tokens:
        return size, tokens
    worth_size, worth_data = repeat.effective(size, tokens, unique, size_for(laws, unique))
    warnings.append(
        f"{tokens:.3g} tokens over {unique:.3g} unique ones are forecast as {worth_data:.3g} new ones and a size of"
        f" {worth_size:.3g} (Muennighoff et al., arXiv 2305.16264)"
    )
    return worth_size, worth_data


def _at(laws: Laws, parts: Spread, down: float, up: float, probability: float) -> float:
    """The loss at a probability of the predictive distribution, with what is charged to either side."""
    predictive = laws.predictive
    assert predictive is not None
    z = quantile(predictive, probability)
    sd = predictive.widen * parts.total * (predictive.widen_low if z < 0 else 1.0)
    normal = float(np.sqrt(2) * _erfinv(2 * probability - 1))
    return math.exp(parts.centre + math.copysign(math.hypot(z * sd, normal * (down if z < 0 else up)), z))


def _erfinv(x: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(x))


def _extrapolation(laws: Laws, size: float, tokens: float, flops: float) -> Extrapolation:
    if laws.largest is None:
        return Extrapolation(flops=None, size=None, tokens=None)
    return Extrapolation(
        flops=flops / laws.largest.flops, size=size / laws.largest.size, tokens=tokens / laws.largest.tokens
    )


def _hyper(laws: Laws, flops: float, size: float, tokens: float) -> tuple[float | None, float | None]:
    batch = rate = None
    if laws.batch is not None:
        batch = laws.batch.value(flops=flops, size=size, tokens=tokens)
    if laws.learning_rate is not None:
        rate = laws.learning_rate.value(flops=flops, size=size, tokens=tokens, batch_tokens=batch)
    return tuple(None if v is None or not math.isfinite(v) else v for v in (rate, batch))  # type: ignore[return-value]


def _warnings(laws: Laws, size: float, tokens: float, flops: float) -> list[str]:
    warnings = list(laws.doubts)
    if laws.regime == "pre-scaling":
        warnings.append("pre-scaling: the ladder is not on the curve yet; the interval is widened, take care")
    if laws.smallest_rung is not None and flops < BENEATH * laws.smallest_rung:
        warnings.append(
            f"the target lies below the ladder ({flops / laws.smallest_rung:.2g} x its smallest rung): laws are fitted"
            " to look upwards, and below their runs public ladders were 0 to 12% off"
        )
    if laws.largest is not None:
        ratio = flops / laws.largest.flops
        if ratio > FAR:
            warnings.append(f"the target lies {ratio:.3g}x beyond the largest run: further than forecasts were checked")
        elif max(size / laws.largest.size, tokens / laws.largest.tokens) > FAR:
            warnings.append("the target's size or tokens lie more than 300x beyond the runs")
    if laws.surface is None and laws.predictive is not None:
        warnings += [w for w in laws.warnings if w.startswith("no surface")]
    if laws.self_check is not None and laws.self_check.n >= 5 and laws.self_check.coverage < 0.6:
        warnings.append(
            f"inside the ladder only {laws.self_check.coverage:.0%} of {laws.self_check.n} hidden runs fell into their"
            f" {laws.level:.0%} intervals"
        )
    return warnings
