"""From a budget to a run: shape, tokens, batch, learning rate, warm-up, schedule, layout, time, cost and forecast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from forescale.base.config import ModelSection, ScheduleSection, load_recipe
from forescale.base.errors import ConfigError, InputError
from forescale.base.records.forecast import Forecast
from forescale.base.records.laws import Laws
from forescale.base.records.plan import LawsSay, Objective, Plan, PlanModel, PlanSchedule, Sharding
from forescale.base.records.spec import MULTI_STEP
from forescale.base.shape import ModelShape
from forescale.scaling import budget, cost, published
from forescale.scaling.dials import Asked, Dials, resolve
from forescale.scaling.guide import OWN_LOSS, Guide
from forescale.scaling.memory import checkpoint_gib
from forescale.scaling.planned_run import Run, Wishes
from forescale.scaling.shapes import ShapeRules, proportions, refuse_unmet, size_of
from forescale.scaling.training import Training
from forescale.scaling.which_laws import read_laws

WARMUP_STEPS = 2000
WARMUP_SHARE = 0.02
FEW_STEPS = 1000
"""Below so many steps a run lies above the curve (measured on tiny ladders)."""
DECAY_RATIO = 3.0
"""From this ratio of decay timescales on, the difference to the ladder is said (our choice)."""
ROUNDED = 1.05
"""A rounded plan may differ from what was asked by this factor without being called so (our choice)."""
UNUSED = 0.02
"""A share of days or money that is not used is said from here on."""
BUSY = 0.9
"""Devices that work less than this share of the time are said to wait (our choice)."""
WAITS = {
    "idle": "devices not used", "steps": "each step's own time", "network": "exchange of gradients",
    "bubble": "pipeline bubble", "uneven": "uneven stages", "traffic": "traffic of the tensor split",
}  # fmt: skip
FAR = 10.0
"""A target this many times beyond the measured range is said to be far."""


def plan(
    laws: Laws | str | Path | None = None,
    *,
    flops: float | None = None,
    tokens: float | None = None,
    days: float | None = None,
    minutes: float | None = None,
    money: float | None = None,
    gpus: int | None = None,
    device: str | None = None,
    price: float | None = None,
    utilisation: float = 0.4,
    recipe: str | Path | None = None,
    model: ModelSection | None = None,
    schedule: ScheduleSection | None = None,
    shape: Mapping[str, float] | None = None,
    unique_tokens: float | None = None,
    serve_tokens: float | None = None,
    objective: Objective = "flops",
    level: float | None = None,
    conditions: Mapping[str, Any] | None = None,
    ladder_flops: float | None = None,
    seconds_per_token: Callable[[ModelShape], float] | None = None,
    ranks: int | None = None,
    sharding: Sharding | None = None,
) -> Plan:
    """What to train for one dial, by `laws` (your own, a laws folder, or a published name; default `deepseek`).

    `recipe`, `model`, `schedule` and `shape` fix what they name; the laws fill the rest. `ranks`: processes of
    this machine that share each batch.

    >>> plan("deepseek", flops=1e20).learning_rate
    0.000986
    """
    own, warnings = _laws(laws)
    if recipe is not None:
        whole, _ = load_recipe(Path(recipe))
        model, schedule = model or whole.model, schedule or whole.schedule
        sharding = sharding or whole.parallel.sharding
    wishes = Wishes(
        ShapeRules.of(model or ModelSection(), shape), schedule or ScheduleSection(), unique_tokens, serve_tokens,
        objective, level, dict(conditions or {}),
    )  # fmt: skip
    _check(wishes)
    dials = Dials(flops, tokens, days, minutes, money, gpus, device, price, utilisation, sharding or "full", ranks)
    guide = Guide.of(own, wishes.rules)
    asked = resolve(dials, guide, wishes.rules, wishes.schedule, seconds_per_token)
    run = _run(asked, guide, wishes, dials)
    refuse_unmet(run.shape, run.wanted, wishes.rules)
    if dials.limit_hours is not None:
        asked = replace(asked, flops=run.asked_flops)
    made = _decide(run, asked, guide, wishes, dials, ladder_flops, [*own.warnings, *warnings, *guide.warnings])
    if seconds_per_token is None:
        return made
    return made.model_copy(update={"seconds": seconds_per_token(made.model.shape) * made.tokens})


def _run(asked: Asked, guide: Guide, wishes: Wishes, dials: Dials) -> Run:
    """The run of a budget; one of days or money is spent to the last whole step, and not exceeded."""
    hours = dials.limit_hours
    if hours is None or (asked.shape is not None and asked.tokens is not None):
        return Run.of(asked, guide, wishes, dials)
    limit = budget.Limit(
        hours,
        lambda flops: Run.of(replace(asked, flops=flops), guide, wishes, dials),
        lambda run: (run.device_hours(dials) or 0.0) / (dials.gpus or 1),
        None if asked.tokens is not None else lambda run, tokens: run.on(tokens, guide, wishes, dials),
    )
    return budget.within(asked.flops, limit)


def _laws(laws: Laws | str | Path | None) -> tuple[Laws, list[str]]:
    if laws is None:
        return published.laws("deepseek"), ["no laws of your own: planned by `deepseek`"]
    return read_laws(laws), []


def _check(wishes: Wishes) -> None:
    for key in ("unique_tokens", "serve_tokens"):
        value = getattr(wishes, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"--{key.replace('_', '-')} must be a positive number, not {value}", key=key)
    batch, seq_len = wishes.schedule.batch_tokens, wishes.rules.seq_len
    if batch is not None and (batch < seq_len or batch % seq_len):
        raise ConfigError(
            f"a batch of {batch} tokens is not a multiple of seq_len = {seq_len}",
            remedy=f"set schedule.batch_tokens = {max(1, round(batch / seq_len)) * seq_len}",
            key="schedule.batch_tokens",
        )
    if wishes.objective not in ("flops", "hours", "money"):
        raise ConfigError(f"--objective is flops, hours or money, not {wishes.objective}", key="objective")


def _decide(
    run: Run,
    asked: Asked,
    guide: Guide,
    wishes: Wishes,
    dials: Dials,
    ladder_flops: float | None,
    warnings: list[str],
) -> Plan:
    """Round everything to a run that can be trained, and say what it will be like."""
    shape, training, steps, total, flops = run.shape, run.training, run.steps, run.tokens, run.flops
    batch, rate = training.batch, training.rate
    warnings += run.notes
    warmup = wishes.schedule.warmup_steps
    m_say, tokens_say, batch_say, rate_say = guide.unconstrained(asked.flops)
    epochs = max(1.0, total / wishes.unique_tokens) if wishes.unique_tokens else 1.0
    warnings += _doubts(guide, asked.flops, flops, steps, shape, epochs, training, dials)
    warnings += proportions(shape, wishes.rules)
    warnings += _decay_doubt(guide, rate, steps, wishes)
    device_hours = run.device_hours(dials)
    price = cost.cost(device_hours, dials.price, _ladder_share(guide.laws, shape, total, ladder_flops))
    warnings += _waiting(run, dials)
    hardware = dials.hardware
    return Plan(
        flops_asked=asked.flops,
        flops=flops,
        flops_per_token=shape.flops_per_token,
        tokens=total,
        epochs=epochs,
        model=PlanModel.of(shape),
        batch_tokens=batch,
        learning_rate=rate,
        warmup_steps=min(WARMUP_STEPS, max(1, round(WARMUP_SHARE * steps))) if warmup is None else warmup,
        steps=steps,
        schedule=PlanSchedule(kind="multi_step", points=list(MULTI_STEP)),
        forecast=_forecast(guide.laws, shape, total, training, wishes, warnings),
        layout=run.layout,
        checkpoint_gib=checkpoint_gib(shape),
        cost=price,
        laws=guide.laws.source or "laws",
        laws_say=LawsSay(
            flops_per_token=m_say, tokens=tokens_say, batch_tokens=batch_say, learning_rate=rate_say
        ),
        pareto=training.points,
        warnings=list(dict.fromkeys(warnings)),
        device=hardware.name if hardware else None,
        gpus=dials.gpus,
        utilisation=dials.utilisation if hardware else None,
        unique_tokens=wishes.unique_tokens,
        serve_tokens=wishes.serve_tokens,
        borrowed=_borrowed(guide, run),
    )  # fmt: skip


def _ladder_share(laws: Laws, shape: ModelShape, tokens: int, ladder_flops: float | None) -> float | None:
    """The ladder's compute over ladder's and run's: of a workspace, else of the laws' runs and as these count it."""
    flops = shape.flops_per_token * tokens
    if ladder_flops is None and laws.runs.flops is not None:
        ladder_flops, flops = laws.runs.flops, laws.flops_factor * size_of(shape, laws.scale) * tokens
    return None if ladder_flops is None else ladder_flops / (ladder_flops + flops)


def _borrowed(guide: Guide, run: Run) -> dict[str, str]:
    """What is not of these laws, by name."""
    if run.weighed_by in (None, OWN_LOSS):
        return dict(guide.borrowed)
    return guide.borrowed | {"size against tokens": str(run.weighed_by)}


def _forecast(
    laws: Laws, shape: ModelShape, tokens: int, training: Training, wishes: Wishes, warnings: list[str]
) -> Forecast | None:
    """The laws' own forecast of the rounded run, at its rate and batch; none where the laws have no surface."""
    if laws.surface is None and laws.predictive is None:
        warnings.append("these laws have no loss surface: no forecast")
        return None
    from forescale.scaling.forecast import forecast, refuse_off_line

    size = size_of(shape, laws.scale)
    try:
        refuse_off_line(laws, size, tokens)
    except InputError as error:  # the rest of the plan stands, by other laws where these have none
        warnings.append(f"no forecast: {error.what}: {error.why}; {error.remedy}")
        return None
    conditions = dict(wishes.conditions)
    if wishes.unique_tokens is not None:
        conditions["unique_tokens"] = wishes.unique_tokens
    named = _named(laws, training, wishes)
    made = forecast(
        laws, model_scale=size, tokens=tokens, level=wishes.level, conditions=(conditions | named) or None,
        credited=None if "batch_tokens" in named else training.credited,
    )  # fmt: skip
    warnings += made.warnings
    return made.model_copy(update={"learning_rate": training.rate, "batch_tokens": training.batch})


def _named(laws: Laws, training: Training, wishes: Wishes) -> dict[str, Any]:
    """The learning rate and batch that are fixed, as `forecast --conditions` would name them, where these laws know the
    best ones; a batch moves the best rate, so both are named with it."""
    rate, batch = wishes.schedule.learning_rate, wishes.schedule.batch_tokens
    named: dict[str, Any] = {}
    if batch is not None and laws.batch is not None:
        named["batch_tokens"] = training.batch
    if laws.learning_rate is not None and (rate is not None or named):
        named["lr"] = training.rate
    return named


def _doubts(
    guide: Guide,
    asked: float,
    flops: float,
    steps: int,
    shape: ModelShape,
    epochs: float,
    training: Training,
    dials: Dials,
) -> list[str]:
    """What a careful reader should be told."""
    doubts = list(training.notes)
    beyond = guide.beyond(shape, flops / shape.flops_per_token)
    if beyond is not None and beyond > ROUNDED:
        loud = "FAR BEYOND" if beyond > FAR else "beyond"
        doubts.append(f"this plan lies {loud} the measured range: {beyond:,.3g} x the largest compute of its laws")
    if steps < FEW_STEPS:
        doubts.append(f"only {steps} steps: runs of fewer than about {FEW_STEPS} lie above the curve")
    off = shape.flops_per_token / guide.split(asked)[0]
    if not 0.5 < off < 2.0:
        doubts.append(f"the model is {off:.2f} x the size that the laws find optimal for this compute")
    if epochs > 4.0:
        doubts.append(f"{epochs:,.1f} epochs: beyond about 4, repeated tokens are worth much less than new ones")
    if training.credited is not None and flops > ROUNDED * asked:
        doubts.append(
            f"the batch is above the laws' own: it spends {flops / asked:.3g} x the FLOPs asked for, to be done sooner"
        )
    elif flops > ROUNDED * asked:
        doubts.append(f"the rounded plan spends {flops / asked:.3g} x the FLOPs asked for")
    if dials.gpus is not None and dials.device is None:
        doubts.append("--gpus without --device: no layout, time or cost")
    if dials.price is not None and dials.device is None:
        doubts.append("--price without --device: no cost")
    if training.points is not None and (dials.gpus is None or dials.device is None):
        doubts.append("hours and money need --gpus and --device: the batch stays the one that is best for FLOPs")
    return doubts


def _waiting(run: Run, dials: Dials) -> list[str]:
    """What devices lose to waiting, where that is much or not known, and a budget that no such run keeps."""
    if dials.hardware is None:
        return []
    if run.layout is None:
        why = "no --gpus" if dials.gpus is None else "no layout"
        return [f"{why}: device-hours and money are those of devices that never wait"]
    said, waits = [], run.layout.waits
    assert waits is not None
    if waits.busy < BUSY:
        parts = [f"{words} {part:.0%}" for key, words in WAITS.items() if (part := getattr(waits, key)) >= 0.005]
        said.append(
            f"the devices wait {1 - waits.busy:.0%} of the time (each of what is left: {', '.join(parts)}):"
            " days, device-hours and money count it"
        )
    limit = dials.limit_hours
    if limit is not None and run.hours is not None and run.hours > limit:
        said.append(f"it takes {run.hours / 24:.3g} days, the budget is for {limit / 24:.3g}: no shorter run was found")
    if limit is not None and run.hours is not None and run.hours < (1 - UNUSED) * limit:
        said.append(
            f"{1 - run.hours / limit:.0%} of the budget is not used: the run takes {run.hours / 24:.3g} of"
            f" {limit / 24:.3g} days, a step more or a larger shape takes too long or fits no layout"
        )
    return said


def _decay_doubt(guide: Guide, rate: float, steps: int, wishes: Wishes) -> list[str]:
    """Weight decay acts over rate x decay x steps: inert in a tiny ladder, dominant in a long run."""
    ladder = guide.learning_rate.law.conditional_on.get("decay_timescale")
    decay = wishes.conditions.get("weight_decay")
    if not isinstance(ladder, (int, float)) or not isinstance(decay, (int, float)) or ladder <= 0 or decay <= 0:
        return []
    target = rate * decay * steps
    if target / ladder < DECAY_RATIO:
        return []
    return [
        f"learning rate x weight decay x steps is {target:.2g} here but {ladder:.2g} in the ladder: weight decay acts "
        "more strongly than the ladder could show; its learning-rate law is conditional on that"
    ]
