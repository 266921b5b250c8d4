"""The data quality meter on text: one tokenizer, one outside set and the same ladder for every corpus, then the laws.

Everything is an artifact of its own under `comparisons/NAME/`: corpora/X, tokenizer, outside, tokens/X, ladders/X (with
runs.csv), so that a killed comparison goes on where it stopped, and one with other budgets cleans nothing again. What a
comparison of the same name said before is kept in report.old/.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forescale.base.artifact import Folder, make, read_manifest, recipe_hash, stands
from forescale.base.config import CorpusSection, Recipe, load_recipe
from forescale.base.errors import ConfigError, ForescaleError, InputError
from forescale.base.records.compare import Comparison, Outside
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.laws import Laws
from forescale.base.records.tokens import TokensSummary
from forescale.project.compare_verb import CorpusInput
from forescale.project.inputs import hash_inputs
from forescale.project.workspace import RECIPE_FILE, Workspace

if TYPE_CHECKING:
    from forescale.project.ladder import Progress
    from forescale.project.project import Project

BYTES_A_TOKEN = 16
"""An outside set is at most this many times the tokens that are scored, in bytes: a sample of more is no better."""
BEYOND = (3.0, 10.0, 100.0)
"""Times the largest budget: where the order is asked beside the budgets themselves."""
FEW_TOKENS = 8
"""Sequences that an outside set must have (our choice)."""


@dataclass(frozen=True)
class Meter:
    """Where a comparison lies and what it is made by."""

    project: Project
    root: Path
    recipe: Recipe

    @contextmanager
    def make(
        self, path: Path, kind: str, parents: Sequence[str], settings: Mapping[str, Any], **more: Any
    ) -> Iterator[Folder]:
        """An artifact of the comparison in the making, or the finished one."""
        inputs, seed = more.get("inputs"), more.get("seed", 0)
        recipe = recipe_hash(kind, parents=list(parents), settings=settings, seed=seed, inputs=inputs)
        with make(
            path, kind, recipe, parents=list(parents), settings=settings, verb="compare", seed=seed,
            force=self.project.force,
        ) as folder:  # fmt: skip
            yield folder


@dataclass(frozen=True)
class Clean:
    """One corpus, cleaned: its folder, its recipe, its counts."""

    folder: Path
    recipe: str
    summary: CorpusSummary


def texts_of(corpus: CorpusInput) -> list[Path]:
    """Where a corpus's raw text lies: the folder itself, or the sources of a workspace."""
    if corpus.kind != "workspace":
        return [corpus.path]
    recipe, _ = load_recipe(corpus.path / RECIPE_FILE)
    return [(corpus.path / source).resolve() for source in recipe.corpus.sources]


def run_meter(
    project: Project,
    corpora: Sequence[CorpusInput],
    validation: Sequence[Path],
    *,
    name: str | None = None,
    tokenizer: Path | None = None,
    progress: Progress | None = None,
    **reading: Any,
) -> Comparison:
    """Clean, tokenize, run the ladders, fit, compare; written to `comparisons/NAME/`, by default A-B-..."""
    from forescale.project.meter_report import write_report
    from forescale.project.meter_runs import ladders, small_recipe
    from forescale.project.meter_sets import orders
    from forescale.scaling.compare import compare
    from forescale.scaling.paired import with_pairs

    recipe, warnings = small_recipe(project)
    root = project.workspace.root / "comparisons" / _folder_name(name or "-".join(c.name for c in corpora))
    meter = Meter(project, root, recipe)
    _look_first(corpora, validation, tokenizer)
    _say(f"cleaning {', '.join(c.name for c in corpora)} into {root}")
    clean = {corpus.name: _clean(meter, corpus) for corpus in corpora}
    _say("one tokenizer and one outside set for all")
    words = _tokenizer(meter, clean, tokenizer)
    outside = _outside(meter, clean, validation)
    warnings += outside.summary["warnings"]
    tokens = {name: _tokens(meter, name, made, words, outside) for name, made in clean.items()}
    n_outside = next(iter(tokens.values())).validation.tokens
    warnings += _enough(recipe, n_outside)
    _say("the same ladder on each")
    ran = ladders(meter, tokens, words.path, progress)
    tables = ran.tables
    warnings += [*ran.warnings, *(f"{run}: {reason}" for run, reason in ran.failed.items())]
    unique = {name: float(summary.train.tokens) for name, summary in tokens.items()}
    budgets = [*ran.budgets, *(max(ran.budgets) * times for times in BEYOND)]
    made = compare(tables, budgets=budgets, unique=unique, **reading)
    warnings += [f"{name}: {text}" for name, laws in made.corpora.items() for text in _missing(laws)]
    made = with_pairs(made, tables, reading.get("metric"))
    by_set = orders(tables, [b.flops for b in made.better], unique, **reading)
    scored = min(n_outside, recipe.train.validation_tokens) // recipe.model.seq_len * recipe.model.seq_len
    record = Outside.model_validate(outside.summary["outside"])
    made = made.model_copy(
        update={
            "sets": by_set,
            "outside": record.model_copy(update={"tokens": n_outside, "scored_tokens": scored}),
            "tables": {name: str(table) for name, table in tables.items()},
            "report": str(root / "report.md"),
            "warnings": [*warnings, *made.warnings],
        }
    )
    write_report(made, {name: c.summary for name, c in clean.items()}, tokens, root)
    return made


def _missing(laws: Laws) -> list[str]:
    """Why a corpus has no place in the order, or no exponents: the fit's own words."""
    if laws.surface is not None and laws.allocation is not None:
        return []
    said = [text for text in laws.warnings if "no surface" in text or "allocation" in text]
    return said or ["no exponents: the ladder's runs cannot tell them"]


def _folder_name(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise ConfigError(f"--name {name} is no folder's name", remedy="a word such as web-books", key="name")
    return name[:100]


def _say(text: str) -> None:
    print(f"compare: {text}", file=sys.stderr)


def _look_first(corpora: Sequence[CorpusInput], validation: Sequence[Path], tokenizer: Path | None) -> None:
    """An empty folder, or one that holds no tokenizer, is refused before anything is made."""
    from forescale.corpus.read import find_files
    from forescale.tokens.tokenizer import Tokenizer

    if tokenizer is not None:
        Tokenizer.open(_folder_of(tokenizer))

    for corpus in corpora:
        if corpus.kind == "corpus" or (corpus.kind == "workspace" and _stands(corpus)):
            continue
        texts = texts_of(corpus)
        if not texts:
            raise ConfigError(
                f"the workspace {corpus.name} has neither a corpus nor [corpus] sources",
                remedy=f"forescale clean --workspace {corpus.path}, or name its sources in the recipe",
                file=corpus.path / RECIPE_FILE,
                key="corpus.sources",
            )
        with _said_of(f"corpus {corpus.name}"):
            find_files(texts)
    for folder in validation:
        with _said_of(f"--validation {folder}"):
            find_files([folder])


def _stands(corpus: CorpusInput) -> bool:
    return stands(Workspace(corpus.path).corpus)


@contextmanager
def _said_of(subject: str) -> Iterator[None]:
    """An error of one corpus names it: with several, `no text` alone would not say where."""
    try:
        yield
    except ForescaleError as error:
        error.what = f"{subject}: {error.what}"
        error.args = (error.what,)
        raise


def _clean(meter: Meter, corpus: CorpusInput) -> Clean:
    """The corpus as `clean` makes it: one that stands is taken as it is, a workspace's own rules hold for its text."""
    from forescale.corpus.clean import clean

    own = Workspace(corpus.path).corpus if corpus.kind == "workspace" else corpus.path
    if corpus.kind == "corpus" or (corpus.kind == "workspace" and _stands(corpus)):
        manifest = read_manifest(own)
        return Clean(own, manifest.recipe, CorpusSummary.model_validate(manifest.summary))
    section: CorpusSection = meter.recipe.corpus
    if corpus.kind == "workspace":
        section = load_recipe(corpus.path / RECIPE_FILE)[0].corpus
    paths, settings = texts_of(corpus), section.model_dump(exclude={"sources"})
    with meter.make(
        meter.root / "corpora" / corpus.name, "corpus", [], settings, inputs=hash_inputs(paths), seed=section.seed
    ) as folder:
        if not folder.already:
            with _said_of(f"corpus {corpus.name}"):
                made = clean(paths, folder.path, section, meter.project.executor(), seed=section.seed)
            folder.summary = made.to_json()
    return Clean(folder.path, folder.recipe, CorpusSummary.model_validate(folder.summary))


def _tokenizer(meter: Meter, clean: Mapping[str, Clean], given: Path | None) -> Folder:
    """The one that was given, or one that learns from equal bytes of every corpus, so that it favours none."""
    from forescale.tokens.corpus import sample_texts
    from forescale.tokens.tokenizer import Tokenizer, train_tokenizer

    if given is not None:
        place = _folder_of(given)
        return Folder(place, Tokenizer.open(place).hash, True)
    section = meter.recipe.tokenizer
    with meter.make(
        meter.root / "tokenizer", "tokenizer", [c.recipe for c in clean.values()], section.model_dump()
    ) as folder:
        if not folder.already:
            each = min(section.train_bytes // len(clean), *(c.summary.train.bytes for c in clean.values()))
            texts = (text for c in clean.values() for text in _first(sample_texts(c.folder, each), each))
            train_tokenizer(texts, section.vocab_size, folder.path)
    return folder


def _folder_of(tokenizer: Path) -> Path:
    return (tokenizer.parent if tokenizer.is_file() else tokenizer).resolve()


def _first(texts: Iterator[str], n_bytes: int) -> Iterator[str]:
    """Texts until their bytes are used up."""
    used = 0
    for text in texts:
        if used >= n_bytes:
            return
        yield text
        used += len(text.encode("utf-8", "replace"))


def _outside(meter: Meter, clean: Mapping[str, Clean], validation: Sequence[Path]) -> Folder:
    """The common outside set: of the folders given, or of what every corpus held out."""
    from forescale.corpus.outside import make_outside

    warnings = []
    if validation:
        sets = _set_names(validation)
        inputs = {f"{name}/{file}": digest for name, p in sets.items() for file, digest in hash_inputs([p]).items()}
    else:
        sets, inputs = {name: c.folder / "validation" for name, c in clean.items()}, {}
        warnings.append(
            "no --validation: the runs are scored on what the corpora themselves held out, equal bytes of each; "
            "every corpus is at home on its own part, so name text from outside all of them to judge quality"
        )
    section, tokens = meter.recipe.corpus, meter.recipe.train.validation_tokens
    settings = {"corpus": section.model_dump(exclude={"sources"}), "sets": list(sets), "most": tokens}
    with meter.make(
        meter.root / "outside", "outside", [c.recipe for c in clean.values()], settings, inputs=inputs
    ) as folder:
        if not folder.already:
            made = make_outside(
                sets, {name: c.folder for name, c in clean.items()}, folder.path, section, meter.project.executor(),
                raw=bool(validation), most_bytes=BYTES_A_TOKEN * tokens,
            )  # fmt: skip
            folder.summary = {"outside": made.outside.to_json(), "warnings": [*warnings, *made.warnings]}
    return folder


def _set_names(validation: Sequence[Path]) -> dict[str, Path]:
    names = [path.resolve().name for path in validation]
    unique = len(set(names)) == len(names)
    return {name if unique else f"{i + 1}-{name}": validation[i] for i, name in enumerate(names)}


def _tokens(meter: Meter, name: str, corpus: Clean, words: Folder, outside: Folder) -> TokensSummary:
    """The corpus's own training text and the common outside set as one folder of token shards."""
    from forescale.tokens.encode import encode_corpus

    sets = [made.name for made in Outside.model_validate(outside.summary["outside"]).sets]
    with meter.make(
        meter.root / "tokens" / name, "tokens", [corpus.recipe, words.recipe, outside.recipe], {}
    ) as folder:
        if not folder.already:
            view = folder.path / ".view"
            view.mkdir(exist_ok=True)
            for split, place in (("train", corpus.folder / "train"), ("validation", outside.path / "validation")):
                (view / split).unlink(missing_ok=True)
                (view / split).symlink_to(place.resolve())
            with _said_of(f"corpus {name}"):
                folder.summary = encode_corpus(
                    view, words.path, folder.path, meter.project.executor(), sets=sets if len(sets) > 1 else ()
                ).to_json()
            shutil.rmtree(view)  # the links, not what they point to
    return TokensSummary.model_validate(folder.summary)


def _enough(recipe: Recipe, tokens: int) -> list[str]:
    """Too little outside text for one score is refused; for a sharp one it is said."""
    seq_len, wanted = recipe.model.seq_len, recipe.train.validation_tokens
    if tokens < FEW_TOKENS * seq_len:
        raise InputError(
            f"the outside set has {tokens:,} tokens: too few to score a run on",
            why=f"{FEW_TOKENS} sequences of {seq_len} are the least",
            remedy="name more text with --validation, or set a larger corpus.validation_share",
            key="validation",
        )
    if tokens < wanted:
        return [f"the outside set has {tokens:,} tokens, fewer than the {wanted:,} of train.validation_tokens"]
    return []
