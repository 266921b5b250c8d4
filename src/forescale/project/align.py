"""The alignment verbs: SFT, preferences, DPO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forescale.base.records.align import AlignRecord

if TYPE_CHECKING:
    from forescale.project.project import Project


def run_sft(project: Project, data: Path, *, from_: str, name: str) -> AlignRecord:
    """Supervised tuning of a run on messages; gives the run `name`."""
    from forescale.align import sft

    return sft.run(
        project.workspace.weights(from_), data, project.workspace.run(name), project.recipe.sft,
        seed=project.recipe.train.seed, heldout=project.default_pairs("heldout"),
    )  # fmt: skip


def run_prefer(project: Project, prompts: Path, *, from_: str, name: str) -> Path:
    """Pairs ranked from the run's own samples; gives the file."""
    from forescale.prefer import make_pairs

    out = project.workspace.run(name) / "pairs.jsonl"
    if not out.exists():
        make_pairs(project.workspace.weights(from_), prompts, out, seed=project.recipe.train.seed)
    return out


def run_dpo(project: Project, pairs: Path, *, from_: str, name: str) -> AlignRecord:
    """Direct preference optimisation; a skipped record where there are too few pairs."""
    from forescale.align import dpo

    return dpo.run(
        project.workspace.weights(from_), pairs, project.workspace.run(name), project.recipe.dpo,
        seed=project.recipe.train.seed, heldout=project.default_pairs("heldout"),
    )  # fmt: skip
