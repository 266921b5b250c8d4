"""The verbs that need no artifact of the workspace to be made: looking, comparing, asking the laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.project.workspace import Workspace

if TYPE_CHECKING:
    from forescale.base.records.compare import Comparison
    from forescale.base.records.corpus import CorpusSummary, DedupSummary
    from forescale.base.records.forecast import Forecast
    from forescale.base.records.ledger import LedgerView
    from forescale.base.records.suggestion import Suggestion
    from forescale.base.records.watch import Watch


class PlainVerbs:
    """Methods of `Project` that hand their options on; each has the name and options of its verb."""

    workspace: Workspace
    overrides: tuple[str, ...]
    force: bool

    @staticmethod
    def init(folder: Path | str, overrides: Sequence[str] = (), *, force: bool = False) -> dict[str, Any]:
        """A workspace with a commented recipe."""
        from forescale.project.init import init_workspace

        return init_workspace(Path(folder), overrides, force=force)

    def check(self) -> dict[str, Any]:
        """The recipe with origins, inputs, devices, disk and price; runs nothing."""
        from forescale.project.check import check_project
        from forescale.project.project import Project

        assert isinstance(self, Project)
        return check_project(self)

    def show(self, path: Path | str | None = None, *, verify: bool = False, lineage: bool = False) -> dict[str, Any]:
        """An artifact in words; without a path, all of the workspace."""
        from forescale.project.show import show

        return show(Path(path) if path is not None else self.workspace.root, verify=verify, lineage=lineage)

    def dedup(self, inputs: Sequence[Path], *, out: Path, **options: Any) -> DedupSummary:
        """Near duplicates out of Parquet and JSONL files."""
        from forescale.project.texts import dedup_verb

        return dedup_verb(inputs, out=out, force=self.force, **options)

    def corpus_stats(self) -> CorpusSummary:
        """What cleaning counted."""
        from forescale.project import texts

        return texts.stats(self.workspace.corpus)

    def corpus_sample(self, n: int = 5, seed: int = 0) -> dict[str, Any]:
        """Training documents drawn by seed."""
        from forescale.project import texts

        return texts.sample(self.workspace.corpus, n=n, seed=seed)

    def corpus_why(self, document: str) -> dict[str, Any]:
        """What became of a document."""
        from forescale.project import texts

        return texts.why(self.workspace.corpus, document)

    def corpus_diff(self, a: Path, b: Path) -> dict[str, Any]:
        """How two corpora differ."""
        from forescale.project import texts

        return texts.diff(a, b)

    def forecast(
        self,
        laws: str | Path | None = None,
        *,
        flops: float | None = None,
        model_scale: float | None = None,
        tokens: float | None = None,
        level: float | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> Forecast | dict[str, Any]:
        """The loss of one new run, by the workspace's laws or others."""
        from forescale.project.laws_verbs import forecast_verb

        return forecast_verb(
            laws or self.workspace.laws, flops=flops, model_scale=model_scale, tokens=tokens, level=level,
            conditions=conditions,
        )  # fmt: skip

    def suggest(self, runs: Sequence[Path] = (), *, target: float, **options: Any) -> Suggestion:
        """The next runs that narrow the target's forecast most."""
        from forescale.project.laws_verbs import suggest_verb

        return suggest_verb(runs, target=target, workspace=self.workspace.root, **options)

    def compare(
        self, corpora: Sequence[Path | str], *, validation: Sequence[Path | str] = (), **options: Any
    ) -> Comparison:
        """Which corpus is better at which scale: of finished runs, or of text that gets the same ladder first."""
        from forescale.project.compare_verb import compare_verb
        from forescale.project.project import Project

        assert isinstance(self, Project)
        return compare_verb(corpora, validation=validation, project=lambda: self, **options)

    def ledger(self, *, digest: str | None = None) -> LedgerView:
        """Every forecast against its outcome; `digest`: a published one that it must hold."""
        from forescale.project.ledger_verb import ledger_verb

        return ledger_verb(workspace=self.workspace.root, digest=digest)

    def watch(self, run: Path | str, **options: Any) -> Watch:
        """The final loss of a training that goes on."""
        from forescale.project.watch_verb import watch_verb

        return watch_verb(Path(run), workspace=self.workspace.root, **options)
