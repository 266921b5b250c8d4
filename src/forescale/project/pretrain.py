"""Plan -> sealed forecast -> run -> outcome in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.artifact import read_manifest
from forescale.base.errors import ArtifactError, ConfigError, DivergedError, InputError, LayoutError
from forescale.base.records.plan import Plan
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec, Schedule
from forescale.base.records.tokens import TokensSummary

if TYPE_CHECKING:
    from forescale.project.project import Project

OnProgress = Callable[[int, int, float, float], None]
"""step, steps, loss in nats per token, tokens per second."""


def read_plan(project: Project, plan: str | Path | None) -> tuple[str, Plan]:
    """A plan's name and content: from a file, from `plans/NAME`, or the only one of the workspace."""
    if plan is None:
        found = sorted(project.workspace.root.glob("plans/*/plan.json"))
        if len(found) != 1:
            names = ", ".join(p.parent.name for p in found) or "none"
            raise ConfigError(f"which plan? here: {names}", remedy="forescale plan makes one; forescale pretrain NAME")
        return found[0].parent.name, Plan.read(found[0])
    path = Path(plan)
    if path.is_file():
        return (path.parent.name if path.name == "plan.json" else path.stem), Plan.read(path)
    if project.workspace.plan(str(plan)).exists():
        return str(plan), Plan.read(project.workspace.plan(str(plan)))
    raise ArtifactError(f"there is no plan `{plan}`", remedy="forescale plan --out FILE makes one", file=path)


def spec_of(project: Project, name: str, plan: Plan, *, processes: int, seed: int) -> RunSpec:
    """The RunSpec of a plan in this workspace, not yet sealed."""
    space, recipe = project.workspace, project.recipe
    layout = recipe.parallel
    if layout.tensor > 1 or layout.pipeline > 1:
        raise LayoutError(
            "this version trains with data-parallel ranks only",
            why=f"the recipe asks for tensor = {layout.tensor}, pipeline = {layout.pipeline}",
            remedy="set both to 1 under [parallel]",
            key="parallel.tensor",
        )
    tokens = TokensSummary.model_validate(read_manifest(space.tokens).summary)
    if plan.model.vocab_size < tokens.vocab_size:
        raise ConfigError(
            f"the plan has {plan.model.vocab_size:,} vocabulary rows, the tokenizer {tokens.vocab_size:,} ids",
            remedy="plan again in this workspace",
            key="model.vocab_size",
        )
    total = plan.steps * plan.batch_tokens
    if plan.epochs <= 1.0 and total > tokens.train.tokens:
        raise InputError(
            f"the corpus has {tokens.train.tokens:,} training tokens; the plan wants {total:,}",
            why=f"{total - tokens.train.tokens:,} tokens are missing",
            remedy="add text, or plan with --unique-tokens, which counts repeated epochs",
        )
    return RunSpec(
        name=name,
        shape=plan.model.shape,
        learning_rate=plan.learning_rate,
        batch_tokens=plan.batch_tokens,
        branches=(total,),
        warmup_steps=plan.warmup_steps,
        schedule=Schedule(),
        weight_decay=recipe.train.weight_decay,
        clip=recipe.train.clip,
        init_std=recipe.model.init_std,
        seed=seed,
        tokens_dir=str(space.tokens),
        tokenizer_dir=str(space.tokenizer),
        out_dir=str(space.run(name)),
        validation_tokens=recipe.train.validation_tokens,
        save_weights=True,
        precision=recipe.train.precision,
        processes=processes,
        checkpoint_minutes=recipe.checkpoint.every_minutes,
        checkpoint_steps=recipe.checkpoint.every_steps,
        checkpoint_keep=recipe.checkpoint.keep,
        plan=name,
        group=space.root.name,
    )


def pretrain(
    project: Project,
    plan: str | Path | None = None,
    *,
    processes: int | None = None,
    seed: int | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> RunRecord | RunSpec:
    """Seal the plan's forecast, train it, write the outcome beside the forecast. `dry_run` gives the spec."""
    from forescale.launch.ranks import run_spec
    from forescale.scaling.ledger import Ledger

    name, content = read_plan(project, plan)
    spec = spec_of(
        project,
        name,
        content,
        processes=processes or project.recipe.parallel.data,
        seed=project.recipe.train.seed if seed is None else seed,
    )
    if dry_run:
        return spec
    ledger = Ledger(project.workspace.ledger)
    tokens = TokensSummary.model_validate(read_manifest(project.workspace.tokens).summary)
    path = Path(spec.out_dir) / "spec.json"
    if path.exists():  # a run goes on under the seal it began with, whatever the plan says by now
        begun = RunSpec.read(path)
        if begun.model_copy(update={"seal": None, "processes": spec.processes}) != spec:
            raise ConfigError(
                f"the run {name} was begun with another plan or recipe",
                why="its forecast was sealed for that plan, and a run is never changed under its seal",
                remedy=f"give the new plan another name, or remove {path.parent}",
                file=path,
            )
        spec = begun.model_copy(update={"processes": spec.processes})  # resumed on what the machine has today
    else:
        seal = ledger.seal(content, name, run=name, validation=tokens.validation_id).digest
        spec = spec.model_copy(update={"seal": seal})
        spec.write(path)
    record = _finished(run_spec(spec, on_progress)[-1], path)
    assert record.validation is not None
    assert spec.seal is not None
    unit = content.forecast.unit if content.forecast else "bpb"
    loss = record.validation.bits_per_byte if unit == "bpb" else record.validation.nats_per_token
    ledger.outcome(spec.seal, loss, flops=record.flops)
    return record


def extend_run(
    project: Project,
    run: str,
    tokens: int,
    *,
    processes: int | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> RunRecord | RunSpec:
    """A finished run made longer: its constant stage goes on, and a new branch decays (paper 2.3).

    Its forecast was for fewer tokens, so the longer run has no sealed one: plan it anew to have it count.
    """
    from forescale.launch.ranks import run_spec

    path = project.workspace.run(run) / "spec.json"
    if not path.exists():
        raise ArtifactError(f"there is no run `{run}`", remedy="forescale pretrain makes one", file=path)
    begun = RunSpec.read(path)
    total = -(-tokens // begun.batch_tokens) * begun.batch_tokens
    if total <= max(begun.branches):
        raise ConfigError(
            f"{run} has {max(begun.branches):,} tokens already; {tokens:,} is not more",
            remedy="give a larger --tokens",
            key="tokens",
        )
    spec = begun.model_copy(update={"branches": (*begun.branches, total), "processes": processes or begun.processes})
    if dry_run:
        return spec
    spec.write(path)
    return _finished(run_spec(spec, on_progress)[-1], path)


def _finished(record: RunRecord, path: Path) -> RunRecord:
    """The record, or exit 6 for a run that did not end well."""
    if record.status != "finished" or record.validation is None:
        raise DivergedError(
            f"the run {record.run} ended as {record.status}",
            why=record.reason,
            remedy="its last checkpoint is kept; lower the learning rate in the recipe and plan again",
            file=path.parent / "log.jsonl",
        )
    return record
