"""A workspace and its verbs: each opens its room when it is called, makes its artifact, hands back a record."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.artifact import Folder, make, read_manifest, recipe_hash
from forescale.base.config import Recipe, load_recipe
from forescale.base.errors import ConfigError
from forescale.project.inputs import hash_inputs
from forescale.project.plain import PlainVerbs
from forescale.project.workspace import Workspace

if TYPE_CHECKING:
    from forescale.base.executor import Executor
    from forescale.base.records.align import AlignRecord
    from forescale.base.records.corpus import CorpusSummary
    from forescale.base.records.evaluation import EvalResult
    from forescale.base.records.ladder import LadderSummary
    from forescale.base.records.laws import Laws
    from forescale.base.records.plan import Plan, Plans
    from forescale.base.records.run import RunRecord
    from forescale.base.records.spec import RunSpec
    from forescale.base.records.tokens import TokensSummary
    from forescale.project.ladder import Progress as LadderProgress
    from forescale.project.pretrain import OnProgress


class Project(PlainVerbs):
    """One workspace: `Project(path)`; its verbs are those of the command line, with the same options."""

    def __init__(
        self,
        workspace: Path | str | None = None,
        overrides: Sequence[str] = (),
        *,
        force: bool = False,
        executor: str = "local",
        ray_address: str | None = None,
        near: Path | None = None,
    ) -> None:
        self.workspace = Workspace.find(None if workspace is None else Path(workspace), near)
        self.recipe: Recipe
        self.recipe, self.origin = load_recipe(self.workspace.recipe, overrides)
        self.overrides = tuple(overrides)
        self.force = force
        self._sources: list[Path] = []
        self._executor_kind, self._ray_address = executor, ray_address

    # -- corpus and tokens ---------------------------------------------------------------------------------------

    def clean(self, inputs: Sequence[Path | str] = ()) -> CorpusSummary:
        """Text -> Corpus: read, deduplicate, filter, split off validation."""
        from forescale.base.records.corpus import CorpusSummary
        from forescale.corpus.clean import clean
        from forescale.corpus.read import find_files

        named = [Path(p) for p in inputs] or self._sources
        paths = named or [self.workspace.root / source for source in self.recipe.corpus.sources]
        if not paths:
            raise ConfigError(
                "nothing to clean",
                remedy="name folders or files, or set [corpus] sources in the recipe",
                key="corpus.sources",
            )
        section, seed = self.recipe.corpus, self.recipe.corpus.seed
        settings = section.model_dump(exclude={"sources"})
        recipe = recipe_hash("corpus", parents=[], settings=settings, seed=seed, inputs=hash_inputs(paths))
        find_files(paths)  # an empty folder is refused before the corpus that stands here is set aside
        with self.make(self.workspace.corpus, "corpus", recipe, [], settings, "clean", seed=seed) as folder:
            if not folder.already:
                folder.summary = clean(paths, folder.path, section, self.executor(), seed=seed).to_json()
        return CorpusSummary.model_validate(folder.summary)

    def vocab(self) -> Path:
        """Corpus -> Tokenizer: byte-level BPE."""
        from forescale.tokens.corpus import train_on_corpus

        corpus = read_manifest(self.workspace.corpus)
        settings = self.recipe.tokenizer.model_dump()
        recipe = recipe_hash("tokenizer", parents=[corpus.recipe], settings=settings)
        with self.make(self.workspace.tokenizer, "tokenizer", recipe, [corpus.recipe], settings, "vocab") as folder:
            if not folder.already:
                train_on_corpus(self.workspace.corpus, self.recipe.tokenizer, folder.path)
        return folder.path

    def tokenize(self) -> TokensSummary:
        """Corpus + Tokenizer -> TokenShards."""
        from forescale.base.records.tokens import TokensSummary
        from forescale.tokens.encode import encode_corpus

        space = self.workspace
        parents = [read_manifest(path).recipe for path in (space.corpus, space.tokenizer)]
        recipe = recipe_hash("tokens", parents=parents, settings={})
        with self.make(space.tokens, "tokens", recipe, parents, {}, "tokenize") as folder:
            if not folder.already:
                folder.summary = encode_corpus(space.corpus, space.tokenizer, folder.path, self.executor()).to_json()
        return TokensSummary.model_validate(folder.summary)

    # -- laws ----------------------------------------------------------------------------------------------------

    def ladder(
        self,
        name: str = "main",
        *,
        dry_run: bool = False,
        target: float | None = None,
        until_interval: float | None = None,
        allowance: float | None = None,
        budgets: Sequence[float] = (),
        seed: int | None = None,
        progress: LadderProgress | None = None,
    ) -> LadderSummary:
        """TokenShards -> Ladder: small runs, each a row of runs.csv; with `target`, until its forecast is sharp."""
        from forescale.project.ladder import run_ladder
        from forescale.project.until import run_until

        if until_interval is None:
            wanted = budgets or budgets_for(self.recipe.ladder.budgets, target)
            return run_ladder(self, name, budgets=wanted, seed=seed, dry_run=dry_run, progress=progress)
        if target is None or allowance is None:
            raise ConfigError("--until-interval needs --target FLOPS and --allowance FLOPS", key="until-interval")
        return run_until(self, name, target=target, width=until_interval, allowance=allowance, progress=progress)

    def fit(self, ladder: str | None = None, **reading: Any) -> Laws:
        """Ladder -> Laws, written to laws/."""
        from forescale.base.records.laws import Laws
        from forescale.project.laws_verbs import fit_verb

        runs = [self.workspace.ladder(ladder) / "runs.csv"] if ladder else []
        laws = fit_verb(runs, workspace=self.workspace.root, **reading)
        assert isinstance(laws, Laws)
        return laws

    def plan(self, name: str | None = None, **dials: Any) -> Plan:
        """Laws + a dial -> Plan with its forecast; the same options as the command line."""
        from forescale.project.plan_verb import plan_verb

        return plan_verb(name=name, workspace=self.workspace.root, overrides=self.overrides, **dials)

    def plans(self, beside: Sequence[str | Path] = (), **dials: Any) -> Plans:
        """Several plans side by side: one for each combination of lists, beside kept ones; none of them is kept."""
        from forescale.project.plans_verb import plans_verb

        return plans_verb(beside=beside, workspace=self.workspace.root, overrides=self.overrides, **dials)

    # -- training and tuning -------------------------------------------------------------------------------------

    def pretrain(
        self,
        plan: str | Path | None = None,
        *,
        processes: int | None = None,
        dry_run: bool = False,
        extend: str | None = None,
        tokens: int | None = None,
        seed: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> RunRecord | RunSpec:
        """Plan -> a sealed forecast, then the run; or a finished run made longer."""
        from forescale.project.pretrain import extend_run, pretrain

        if extend is not None and tokens is not None:
            return extend_run(self, extend, tokens, processes=processes, dry_run=dry_run, on_progress=on_progress)
        return pretrain(self, plan, processes=processes, seed=seed, dry_run=dry_run, on_progress=on_progress)

    def sft(self, data: Path, *, from_: str, name: str = "sft") -> AlignRecord:
        """Weights + chat examples -> a tuned run."""
        from forescale.project.align import run_sft

        return run_sft(self, data, from_=from_, name=name)

    def prefer(self, prompts: Path, *, from_: str, name: str = "dpo") -> Path:
        """Weights + prompts -> preference pairs, ranked from the model's own answers."""
        from forescale.project.align import run_prefer

        return run_prefer(self, prompts, from_=from_, name=name)

    def dpo(self, pairs: Path, *, from_: str, name: str = "dpo") -> AlignRecord:
        """Weights + preference pairs -> a tuned run."""
        from forescale.project.align import run_dpo

        return run_dpo(self, pairs, from_=from_, name=name)

    # -- evaluation and talk -------------------------------------------------------------------------------------

    def evaluate(self, model: str, tasks: Sequence[str], *, heldout: Path | None = None) -> EvalResult:
        """Weights -> EvalResult, every answer kept."""
        from forescale.evaluate.run import run

        weights = self.workspace.weights(model)
        name = weights.parent.name if weights.name == "weights" else weights.name
        return run(
            weights,
            list(tasks),
            tokens_dir=self.workspace.tokens if self.workspace.tokens.exists() else None,
            heldout_jsonl=heldout or self.default_pairs("heldout"),
            out=self.workspace.evaluation(name),
            seed=self.recipe.train.seed,
            validation_tokens=self.recipe.train.validation_tokens,
        )

    def report(self, **facts: Any) -> Path:
        """Everything in the workspace -> one page."""
        from forescale.project.report import write_report

        return write_report(self, **facts)

    def chat(self, model: str) -> int:
        """Talk to a model in the terminal; gives the number of answers."""
        from forescale.serve.terminal import chat

        return chat(self.workspace.weights(model))

    # -- what the verbs share ------------------------------------------------------------------------------------

    def executor(self, workers: int | None = None) -> Executor:
        """The executor that the command line asked for."""
        from forescale.launch import open_executor

        return open_executor(
            self._executor_kind, workers=workers or self.recipe.ladder.cores or None, address=self._ray_address
        )

    def set_source(self, path: Path) -> None:
        """Clean this folder instead of the recipe's sources."""
        self._sources = [path]

    def default_pairs(self, split: str) -> Path | None:
        """Question/answer pairs that were made with the corpus, if there are any."""
        path = self.workspace.root / "pairs" / f"{split}.jsonl"
        return path if path.exists() else None

    @contextmanager
    def make(
        self, path: Path, kind: str, recipe: str, parents: list[str], settings: dict[str, Any], verb: str, seed: int = 0
    ) -> Iterator[Folder]:
        """An artifact of this workspace in the making; one that is finished is said to be."""
        with make(
            path, kind, recipe, parents=parents, settings=settings, verb=verb, seed=seed, force=self.force
        ) as folder:
            if folder.already:
                print(f"{verb}: {path.name}/ is finished; --force makes it again", file=sys.stderr)
            yield folder


def budgets_for(recipe: Sequence[float], target: float | None) -> Sequence[float]:
    """The recipe's budgets, or four up to a tenth of the target."""
    from forescale.scaling.ladder import rungs

    return recipe if recipe or target is None else rungs(target / 10)
