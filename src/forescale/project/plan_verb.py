"""`plan` around its room: laws by default, the workspace's own facts, measured seconds, and where the plan is kept."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forescale.base.artifact import read_manifest
from forescale.base.config import ModelSection, Recipe, ScheduleSection, load_recipe
from forescale.base.errors import ForescaleError, MissingExtraError
from forescale.base.records.laws import Laws
from forescale.base.records.plan import Objective, Plan, Sharding
from forescale.base.records.run import OPTIMIZER
from forescale.base.records.spec import Schedule
from forescale.base.records.tokens import TokensSummary
from forescale.base.shape import ModelShape
from forescale.project.laws_verbs import workspace_or_none
from forescale.project.workspace import Workspace
from forescale.scaling.which_laws import read_laws

LAPTOP_FLOPS_PER_SECOND = 2e10
"""Order of magnitude of one small machine: only to choose which shapes are timed. Our choice."""
SPREAD = (0.25, 1.0, 4.0)
"""Shapes that are timed, as factors on the size that the laws would give such a budget."""


@dataclass(frozen=True)
class Facts:
    """What a workspace says about its plans."""

    model: ModelSection
    schedule: ScheduleSection
    laws: Laws | None = None
    unique_tokens: int | None = None
    validation_id: str = ""
    ladder_flops: float | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    sharding: Sharding | None = None


def facts(space: Workspace | None, overrides: Sequence[str] = (), recipe: Path | None = None) -> Facts:
    """A workspace's recipe, laws, tokens and ladder; outside one, defaults. `recipe` is used instead of its own."""
    chosen = recipe or (space.recipe if space else None)
    whole, _ = load_recipe(chosen, overrides)
    if space is None:
        return Facts(whole.model, whole.schedule, sharding=whole.parallel.sharding)
    laws = Laws.read(space.laws / "laws.json") if (space.laws / "laws.json").exists() else None
    tokens = _tokens(space)
    model = whole.model
    if tokens is not None and recipe is None and model.vocab_size is None:
        model = model.model_copy(update={"vocab_size": tokens.vocab_size})
    return Facts(
        model=model,
        schedule=whole.schedule,
        laws=laws,
        unique_tokens=corpus_tokens(space),
        validation_id=tokens.validation_id if tokens else "",
        ladder_flops=_ladder_flops(space),
        conditions=_of_training(laws, tokens, whole.model_copy(update={"model": model})),
        sharding=whole.parallel.sharding,
    )


def _of_training(laws: Laws | None, tokens: TokensSummary | None, recipe: Recipe) -> dict[str, Any]:
    """In a run table's words, how this workspace trains and on which tokens it scores: as far as its laws' runs say."""
    said: dict[str, Any] = {
        "seq_len": recipe.model.seq_len, "weight_decay": recipe.train.weight_decay, "schedule": Schedule().kind,
        "optimizer": OPTIMIZER,
    }  # fmt: skip
    if tokens is not None:
        said |= {"tokenizer": tokens.tokenizer, "validation": tokens.validation_id}
    return {name: value for name, value in said.items() if laws is not None and laws.conditions.get(name) and value}


def plan_verb(
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
    laws: str | Path | None = None,
    recipe: Path | None = None,
    shape: Mapping[str, float] | None = None,
    unique_tokens: float | None = None,
    serve_tokens: float | None = None,
    objective: Objective = "flops",
    out: Path | None = None,
    workspace: Path | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
    seconds_per_token: Callable[[ModelShape], float] | None = None,
    ranks: int | None = None,
    sharding: Sharding | None = None,
    kept: bool = True,
) -> Plan:
    """Plan for one dial; kept in the workspace (and its ledger) where there is one (`kept`), and at `out`."""
    from forescale.scaling.plan import plan

    space = workspace_or_none(workspace)
    known = facts(space, overrides, recipe)
    own = read_laws(laws) if laws is not None else known.laws
    seconds = seconds_per_token
    if minutes is not None and seconds is None:
        seconds = measured_seconds(minutes, known.model, shape or {})
    conditions = dict(known.conditions) if own is not None and own is known.laws else {}
    if known.unique_tokens is not None:  # whatever laws forecast it, the run is on this corpus
        conditions["unique_tokens"] = known.unique_tokens

    def make(fixed: Mapping[str, float] | None) -> Plan:
        return plan(
            own,
            flops=flops, tokens=tokens, days=days, minutes=minutes, money=money, gpus=gpus, device=device, price=price,
            utilisation=utilisation, model=known.model, schedule=known.schedule, shape=fixed,
            unique_tokens=unique_tokens, serve_tokens=serve_tokens, objective=objective,
            conditions=conditions, ladder_flops=known.ladder_flops, seconds_per_token=seconds,
            ranks=ranks, sharding=sharding or known.sharding,
        )  # fmt: skip

    made = make(shape)
    if known.unique_tokens is not None and unique_tokens is None and made.tokens > known.unique_tokens:
        made = _within(made, known, make if tokens is None and not shape else None)
    if space is not None and kept:
        keep(space, made, name, validation=known.validation_id)
    if out is not None:
        made.write(out)
    return made


def _within(made: Plan, known: Facts, make: Callable[[Mapping[str, float]], Plan] | None) -> Plan:
    """The same compute on a larger model, so that no token is repeated; a warning where that cannot be."""
    from forescale.scaling.shapes import ShapeRules, nearest

    assert known.unique_tokens is not None
    short = f"the corpus has {known.unique_tokens:,} training tokens, the laws' plan wants {made.tokens:,}"
    if make is not None and known.model.n_layer is None and known.model.d_model is None:
        rules = ShapeRules.of(known.model)
        for reserve in (1.02, 1.1, 1.2, 1.35, 1.5):  # shapes come in steps: the first that is large enough
            shape = nearest(reserve * made.flops / known.unique_tokens, rules)
            larger = make({"n_layer": shape.n_layer, "d_model": shape.d_model})
            if larger.tokens <= known.unique_tokens:
                words = f"{short}: a larger model is planned on {larger.tokens:,}, so that none is repeated"
                return larger.model_copy(update={"warnings": [*larger.warnings, words]})
    hint = "add text, or plan with --unique-tokens, which counts repeated epochs"
    return made.model_copy(update={"warnings": [*made.warnings, f"{short}: {hint}"]})


def keep(space: Workspace, plan: Plan, name: str | None = None, *, validation: str = "") -> str:
    """Write plans/NAME/plan.json and the ledger's `planned` line; a plan that is there already is not written twice."""
    from forescale.scaling.ledger import Ledger

    name = name or _free_name(space, plan)
    path = space.plan(name)
    if path.exists() and Plan.read(path) == plan:
        return name
    Ledger(space.ledger).planned(plan, name, validation=validation)  # first: a broken ledger takes no plan
    plan.write(path)
    return name


def _free_name(space: Workspace, plan: Plan) -> str:
    """The budget as a name; with a number behind it where another plan has it."""
    base = f"{plan.flops_asked:.2e}".replace("+", "")
    name, n = base, 1
    while space.plan(name).exists() and Plan.read(space.plan(name)) != plan:
        n += 1
        name = f"{base}-{n}"
    return name


def measured_seconds(minutes: float, model: ModelSection, shape: Mapping[str, float]) -> Callable[[ModelShape], float]:
    """Seconds per token of any shape on this machine, from a few that are timed now (needs the `train` extra)."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError.of("train", "--minutes times this machine, which")
    from forescale.project.timing import measure
    from forescale.scaling.guide import Guide
    from forescale.scaling.published import laws
    from forescale.scaling.shapes import ShapeRules, nearest

    rules = ShapeRules.of(model, shape)
    centre = Guide.of(laws("deepseek"), rules).split(60 * minutes * LAPTOP_FLOPS_PER_SECOND)[0]
    shapes = list(dict.fromkeys(nearest(factor * centre, rules) for factor in SPREAD))
    batches = [max(one.seq_len, 1024 // one.seq_len * one.seq_len) for one in shapes]
    return measure(shapes, batches).target_seconds_per_token


def corpus_tokens(space: Workspace) -> int | None:
    """Training tokens of a workspace's corpus; None: not tokenized yet."""
    tokens = _tokens(space)
    return None if tokens is None else tokens.train.tokens


def _tokens(space: Workspace) -> TokensSummary | None:
    try:
        return TokensSummary.model_validate(read_manifest(space.tokens).summary)
    except ForescaleError:
        return None


def _ladder_flops(space: Workspace) -> float | None:
    """Compute of all ladders of the workspace: what the laws have cost."""
    total = 0.0
    for folder in sorted(space.root.glob("ladders/*")):
        try:
            total += float(read_manifest(folder).summary.get("total_flops", 0.0))
        except ForescaleError:
            continue
    return total or None
