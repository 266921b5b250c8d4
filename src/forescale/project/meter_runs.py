"""The same ladder on every corpus: one design, its trunks dealt to the executor together, a run table for each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.artifact import Folder, read_manifest
from forescale.base.config import Recipe
from forescale.base.errors import ConfigError, InputError
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.spec import RunSpec
from forescale.base.records.tokens import TokensSummary
from forescale.project.ladder import check_tokens, refuse_unfinished, run_trunks, shape_rule, summarise
from forescale.project.meter_sets import write_set_tables
from forescale.scaling.identify import MIN_CELLS
from forescale.scaling.ladder import Design, Grounds, design, rungs, trunk_tokens

if TYPE_CHECKING:
    from forescale.project.ladder import Progress
    from forescale.project.meter import Meter
    from forescale.project.project import Project

SMALL = {
    "tokenizer": {"vocab_size": 512, "train_bytes": 6_000_000},
    "model": {"seq_len": 128, "head_dim": 16, "ffn_multiple": 16},
    "train": {"validation_tokens": 131_072},
}
"""The demo's sizes, for what neither recipe nor --set names: the paper's would fit no ladder of minutes."""
SMALL_TOP = 1e14
"""Largest budget in FLOPs for which SMALL is meant (our choice)."""
TOP, LEAST_TOP = 1e12, 1e9
"""Budgets end here by default, or below, where a corpus has too few tokens."""


@dataclass(frozen=True)
class Ran:
    """The run tables, and what went otherwise than asked."""

    budgets: tuple[float, ...]
    tables: dict[str, Path]
    failed: dict[str, str]
    """Run -> reason."""
    warnings: list[str]


def small_recipe(project: Project) -> tuple[Recipe, list[str]]:
    """The workspace's recipe, small where it says nothing; and what was chosen so."""
    budgets = project.recipe.ladder.budgets
    if budgets and max(budgets) > SMALL_TOP:
        return project.recipe, []
    sections, said = {}, []
    for section, keys in SMALL.items():
        chosen = {key: value for key, value in keys.items() if f"{section}.{key}" not in project.origin}
        sections[section] = getattr(project.recipe, section).model_copy(update=chosen)
        said += [f"{section}.{key} = {value}" for key, value in chosen.items()]
    note = f"small ladders: {', '.join(said)} (the recipe does not say; --set changes them)"
    return project.recipe.model_copy(update=sections), [note] if said else []


def ladders(meter: Meter, tokens: Mapping[str, TokensSummary], tokenizer: Path, progress: Progress | None) -> Ran:
    """Run what is missing of every corpus's ladder."""
    seed = meter.recipe.train.seed
    grounds = {name: _grounds(meter, name, summary, tokenizer) for name, summary in tokens.items()}
    warnings: list[str] = []
    budgets = meter.recipe.ladder.budgets
    if not budgets:
        budgets, warnings = _budgets(grounds, seed)
    designs = {name: _named(design(budgets, base, seed=seed), name) for name, base in grounds.items()}
    for name, plan in designs.items():
        check_tokens(plan, tokens[name].train.tokens, f"corpus {name}")
    _check_cells(next(iter(designs.values())))
    settings = {
        "ladder": meter.recipe.ladder.model_dump(exclude={"cores"}),
        "model": meter.recipe.model.model_dump(),
        "train": meter.recipe.train.model_dump(),
        "schedule": meter.recipe.schedule.model_dump(),
        "budgets": list(budgets),
    }
    with ExitStack() as stack:
        folders = {}
        for name in tokens:
            parent = read_manifest(meter.root / "tokens" / name).recipe
            folders[name] = stack.enter_context(
                meter.make(meter.root / "ladders" / name, "ladder", [parent], settings, seed=seed)
            )
        _run(meter, {n: designs[n] for n, f in folders.items() if not f.already}, folders, progress)
    failed: dict[str, str] = {}
    for folder in folders.values():
        failed |= LadderSummary.model_validate(folder.summary).failed
    tables = {name: folder.path / "runs.csv" for name, folder in folders.items()}
    return Ran(next(iter(designs.values())).budgets, tables, failed, warnings)


def _grounds(meter: Meter, name: str, summary: TokensSummary, tokenizer: Path) -> Grounds:
    return Grounds(
        shape_for=shape_rule(meter.recipe.model, summary.vocab_size),
        tokens_dir=str(meter.root / "tokens" / name),
        tokenizer_dir=str(tokenizer),
        out_dir=str(meter.root / "ladders" / name / "runs"),
        group=name,
        unique_tokens=summary.train.tokens,
        recipe=meter.recipe,
    )


def _named(plan: Design, corpus: str) -> Design:
    """Run names that say the corpus, so that several ladders' rows can stand in one table."""
    return replace(plan, specs=tuple(s.model_copy(update={"name": f"{corpus}-{s.name}"}) for s in plan.specs))


def _budgets(grounds: Mapping[str, Grounds], seed: int) -> tuple[list[float], list[str]]:
    """Four budgets up to TOP, or as far as the smallest corpus lets every run see new text only."""
    smallest = min(grounds.values(), key=lambda g: g.unique_tokens)
    top = TOP
    while top >= LEAST_TOP:
        budgets = rungs(float(f"{top:.2g}"))
        if max(design(budgets, smallest, seed=seed).longest.branches) <= smallest.unique_tokens:
            said = f"ladder budgets up to {max(budgets):.2g} FLOPs, chosen here (set [ladder] budgets to change them)"
            small = f": {smallest.group} has {smallest.unique_tokens:,} tokens, and none is repeated"
            return list(budgets), [said + (small if top < TOP else "")]
        top *= 0.8
    raise InputError(
        f"corpus {smallest.group} is too small for any ladder: {smallest.unique_tokens:,} training tokens",
        remedy="add text, or set small [ladder] budgets yourself",
    )


def _check_cells(plan: Design) -> None:
    """A ladder that no surface can be fitted to is refused before it is paid for."""
    cells = {(s.shape.flops_per_token, tokens) for s in plan.specs for tokens in s.branches}
    if len(cells) < MIN_CELLS:
        raise ConfigError(
            f"the ladder has {len(cells)} different (size, tokens) runs, and a law needs {MIN_CELLS}",
            why="the order of the corpora is read from laws fitted to each",
            remedy="set more [ladder] budgets (four, 2 to 4 times apart), or more ladder.sizes_per_budget",
            key="ladder.budgets",
        )


def _run(meter: Meter, designs: Mapping[str, Design], folders: Mapping[str, Folder], progress: Progress | None) -> None:
    """Every missing trunk through one executor, dearest first; each table grows as its trunks end."""
    if not designs:
        return
    specs = sorted((s for plan in designs.values() for s in plan.specs), key=_price, reverse=True)
    whole = Design(next(iter(designs.values())).budgets, tuple(specs))
    tables = {name: folders[name].path / "runs.csv" for name in designs}
    records, reasons = run_trunks(meter.project.executor(), whole, lambda s: tables[s.group], "compare", progress)
    corpus_of = {s.name: s.group for s in specs} | {r.run: r.group for r in records}
    for name, plan in designs.items():
        own = [record for record in records if record.group == name]
        failed = {run: reason for run, reason in reasons.items() if corpus_of[run] == name}
        refuse_unfinished(f"corpus {name}'s ladder", tables[name], own, failed, "compare")
        write_set_tables(folders[name].path, own)
        seconds = sum(r.seconds for r in own if r.status == "finished")
        folders[name].summary = summarise(name, tables[name], plan, own, failed, seconds).to_json()


def _price(spec: RunSpec) -> float:
    return trunk_tokens(spec) * spec.shape.flops_per_token
