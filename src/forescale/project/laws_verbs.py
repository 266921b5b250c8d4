"""The laws' verbs around their room: which runs and laws are meant, and where results are written. No torch."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.artifact import make, read_manifest, recipe_hash, stands
from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.base.files import sha256_file, write_atomic
from forescale.project.workspace import Workspace
from forescale.scaling.which_laws import read_laws

if TYPE_CHECKING:
    from forescale.base.records.forecast import Forecast
    from forescale.base.records.laws import Laws
    from forescale.base.records.suggestion import Suggestion
    from forescale.scaling.ladder import Grounds
    from forescale.scaling.table import RunTable


TABLE_ENDINGS = (".csv", ".json", ".jsonl", ".parquet")
"""Endings of files, which no folder of laws has."""


def workspace_or_none(start: Path | None) -> Workspace | None:
    """The workspace named or found upward; None where there is none. One that is named must be there."""
    if start is not None:
        return Workspace.find(start)
    try:
        return Workspace.find(None)
    except ConfigError:
        return None


def runs_source(runs: Sequence[Path], workspace: Path | None) -> Any:
    """What `fit` reads: one path, the rows of several, or the workspace's ladders."""
    paths = list(runs)
    if not paths:
        space = workspace_or_none(workspace)
        paths = sorted(space.root.glob("ladders/*/runs.csv")) if space else []
        if not paths:
            raise InputError(
                "no runs to read",
                why="no RUNS were named" + (", and this workspace has no ladder yet" if space else ""),
                remedy="name a table of runs (forescale example runs shows one), or run forescale ladder",
            )
    if len(paths) == 1:
        return paths[0]
    from forescale.scaling.sources import Rows, read_rows

    read = [read_rows(path) for path in paths]
    rows = [row for part in read for row in part.rows]
    notes = tuple(f"{part.source}: {note}" for part in read for note in part.notes)
    return Rows(rows, [None] * len(rows), "several tables", notes)


def fit_verb(
    runs: Sequence[Path] = (),
    *,
    scale: str | None = None,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    group: str | None = None,
    metric: str | None = None,
    form: str | None = None,
    band: float = 0.0025,
    level: float = 0.9,
    thorough: bool = False,
    dry_run: bool = False,
    out: Path | None = None,
    workspace: Path | None = None,
    force: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Laws | dict[str, Any]:
    """Fit laws to runs; written to `out`, by default the workspace's laws/, nowhere outside one.

    `tell` hears how the columns were read, before anything is fitted.
    """
    from forescale.scaling.table import read_runs

    if out is not None and not out.is_dir() and (out.is_file() or out.suffix.lower() in TABLE_ENDINGS):
        raise ConfigError(
            f"--out {out} is a file's name, and laws are a folder: laws.json, draws, residuals and figures",
            remedy=f"--out {out.with_suffix('') if out.suffix else out.with_name(out.name + '-laws')}",
            key="out",
        )
    source = runs_source(runs, workspace)
    table = read_runs(source, scale=scale, columns=columns, where=where, group=group, metric=metric)
    if dry_run:
        return {
            "scale": table.scale,
            "unit": table.unit,
            "columns": table.understood,
            "ignored": list(table.ignored),
            "runs": {"used": len(table), "left_out": [row.to_json() for row in table.left_out]},
            "budgets": sorted(set(table.budget.tolist())),
            "conditions": table.conditions,
            "warnings": list(table.warnings),
        }
    if tell is not None and table.guesses:
        tell("columns read: " + ", ".join(f"{ours} from {theirs}" for ours, theirs in table.guesses.items()))
    from forescale.scaling.fit import fit

    space = workspace_or_none(workspace)
    options: dict[str, Any] = {"form": form, "band": band, "level": level, "thorough": thorough}
    if out is not None or space is None:
        laws = fit(table, **options)
        if out is not None:
            write_laws(out, laws, table, band=band)
        return laws
    settings = {**options, "scale": scale, "columns": list(columns), "where": list(where), "group": group}
    settings["format"] = _format()
    parents, inputs = _origins(source)
    recipe = recipe_hash("laws", parents=parents, settings=settings | {"metric": metric}, inputs=inputs)
    with make(
        space.laws, "laws", recipe, parents=parents, settings=settings, verb="fit", force=force
    ) as folder:  # a fit of the same runs in the same way is found again
        if not folder.already:
            laws = fit(table, **options)
            folder.summary = {"regime": laws.regime, "runs": laws.runs.used, "unit": laws.unit}
            write_laws(folder.path, laws, table, band=band)
    return read_laws(space.laws)


def _format() -> str:
    """Names the shape of laws.json: after an upgrade that changes it, a fit is made again instead of not being read."""
    from forescale.base.records.laws import Laws

    return hashlib.sha256(json.dumps(Laws.model_json_schema(), sort_keys=True).encode()).hexdigest()[:8]


def _origins(source: Any) -> tuple[list[str], dict[str, str]]:
    """Recipe of the ladder that a table belongs to, and the hash of what was read."""
    if not isinstance(source, Path):
        return [], {"rows": hashlib.sha256(json.dumps(source, sort_keys=True, default=str).encode()).hexdigest()}
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    try:
        parents = [read_manifest(source if source.is_dir() else source.parent).recipe]
    except ArtifactError:
        parents = []
    return parents, {path.name: sha256_file(path) for path in files}


def write_laws(folder: Path, laws: Laws, table: RunTable, *, band: float = 0.0025) -> list[str]:
    """laws.json, draws.parquet, residuals.csv, and the figures where the `report` extra is there; names written."""
    from forescale.project.law_files import draws_parquet, figures, residuals_csv
    from forescale.scaling.residuals import residual_rows

    laws.write(folder / "laws.json")
    write_atomic(folder / "draws.parquet", draws_parquet(laws))
    write_atomic(folder / "residuals.csv", residuals_csv(residual_rows(laws, table, band=band)))
    return ["laws.json", "draws.parquet", "residuals.csv", *figures(folder, laws, table)]


def say_figures(out: Path | None, workspace: Path | None) -> None:
    """Where the figures of a fit that was written lie, or which extra draws them: a line on standard error."""
    from forescale.project.law_files import can_draw

    if out is None:
        space = workspace_or_none(workspace)
        if space is None:
            return
        out = space.laws
    drawn = f"figures: {out / 'figures.html'} and {out / 'figures'}/"
    print(drawn if can_draw() else "figures: none; pip install 'forescale[report]' draws them", file=sys.stderr)


def forecast_verb(
    laws: str | Path,
    *,
    flops: float | None = None,
    model_scale: float | None = None,
    tokens: float | None = None,
    at: Path | None = None,
    out: Path | None = None,
    level: float | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> Forecast | dict[str, Any]:
    """One forecast, or with `at` a table of them written to `out`."""
    record = read_laws(laws)
    one = flops is not None or model_scale is not None or tokens is not None
    if at is not None:
        if one:
            raise ConfigError("--at goes without --flops, --model-scale and --tokens", key="at")
        if out is None:
            raise ConfigError("--at POINTS.csv needs --out PRED.csv", key="out")
        from forescale.project.points import forecast_points

        return forecast_points(record, at, out, level=level, conditions={**_corpus_of(laws), **(conditions or {})})
    if not one:
        raise ConfigError(
            "what is to be forecast?", remedy="give --flops C, or --model-scale X and --tokens D, or --at POINTS.csv"
        )
    if out is not None:
        raise ConfigError("--out goes with --at", key="out")
    from forescale.scaling.forecast import forecast

    corpus = _corpus_of(laws)
    given = {**corpus, **(conditions or {})}
    made = forecast(record, flops=flops, model_scale=model_scale, tokens=tokens, level=level, conditions=given)
    if "unique_tokens" in (conditions or {}) or made.tokens <= corpus.get("unique_tokens", math.inf):
        return made
    words = "unique tokens are those of the workspace's corpus: --conditions unique_tokens=U says otherwise"
    return made.model_copy(update={"warnings": [*made.warnings, words]})


def _corpus_of(laws: str | Path) -> dict[str, int]:
    """The unique tokens that a target of a workspace's own laws has; nothing for other laws, or where not known."""
    from forescale.project.plan_verb import corpus_tokens

    folder = Path(laws) if Path(laws).is_dir() else Path(laws).parent
    space = Workspace(folder.resolve().parent)
    if not space.recipe.exists() or folder.resolve() != space.laws or not Path(laws).exists():
        return {}
    tokens = corpus_tokens(space)
    return {} if tokens is None else {"unique_tokens": tokens}


def suggest_verb(
    runs: Sequence[Path] = (),
    *,
    target: float,
    candidates: Path | None = None,
    scale: str | None = None,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    group: str | None = None,
    metric: str | None = None,
    workspace: Path | None = None,
) -> Suggestion:
    """The next runs for a target's forecast, from the runs so far."""
    from forescale.project.enough_runs import refuse_few, refuse_one_budget
    from forescale.scaling.fit import fit
    from forescale.scaling.suggest import suggest
    from forescale.scaling.table import read_runs

    source = runs_source(runs, workspace)
    table = read_runs(source, scale=scale, columns=columns, where=where, group=group, metric=metric)
    refuse_one_budget(table, source if isinstance(source, Path) else None)
    refuse_few(table, source if isinstance(source, Path) else None)
    laws = fit(table)
    base = _ladder_grounds(runs, workspace) if candidates is None and laws.scale == "M" else None
    return suggest(laws, target, candidates=candidates, grounds=base)


def _ladder_grounds(runs: Sequence[Path], workspace: Path | None) -> Grounds | None:
    """What the runs of a workspace's own ladder stand on, so that the next ones can be made there; None for others."""
    from forescale.base.config import load_recipe
    from forescale.project.ladder import grounds_of

    space = workspace_or_none(workspace)
    if runs:
        folders = [path.resolve() if path.is_dir() else path.resolve().parent for path in runs]
        space = Workspace(folders[0].parent.parent)
        if any(folder != space.ladder(folder.name) for folder in folders):
            return None
    if space is None or not space.recipe.exists() or not stands(space.tokens):
        return None
    return grounds_of(space, load_recipe(space.recipe)[0], "main")


def example_verb(what: str, *, out: Path | None = None, force: bool = False) -> dict[str, Any]:
    """The example's text, or where it was written."""
    if what == "recipe":
        from forescale.project.recipe_text import commented_recipe

        text = commented_recipe()
    else:
        from forescale.project.example import runs_csv

        text = runs_csv()
    if out is None:
        return {"example": what, "text": text}
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already", remedy="--force overwrites it", file=out)
    write_atomic(out, text.encode())
    return {"example": what, "out": str(out)}
