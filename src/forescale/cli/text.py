"""Verbs from raw text to token shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forescale.cli.options import Common, ExecutorKind, ExecutorOption, RayAddress, number
from forescale.cli.verb import verb

PANEL = "Text"


def register(app: typer.Typer) -> None:
    """Add these verbs."""
    verb(app, "clean", panel=PANEL)(clean)
    verb(app, "dedup", panel=PANEL)(dedup)
    corpus = typer.Typer(help="Look into the cleaned corpus.", no_args_is_help=True)
    verb(corpus, "corpus stats")(corpus_stats)
    verb(corpus, "corpus sample")(corpus_sample)
    verb(corpus, "corpus why")(corpus_why)
    verb(corpus, "corpus diff")(corpus_diff)
    app.add_typer(corpus, name="corpus", rich_help_panel=PANEL)
    verb(app, "vocab", panel=PANEL)(vocab)
    verb(app, "tokenize", panel=PANEL)(tokenize)


def clean(
    common: Common,
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="[INPUT]...", help="Folders or files; default: the recipe's sources.")
    ] = None,
    executor: ExecutorOption = ExecutorKind.local,
    ray_address: RayAddress = None,
) -> Any:
    """Read documents, remove duplicates and poor text, set the validation split aside."""
    return common.project(executor, ray_address).clean(inputs or [])


def dedup(
    common: Common,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Parquet or JSONL with a `text` column.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Gets kept/, removed/ and summary.json.")],
    index: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Signatures of earlier dumps, read and added to.")
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", parser=number, metavar="SHARE", help="Exact Jaccard similarity, at most 1.")
    ] = 0.8,
    level: Annotated[str, typer.Option("--level", metavar="LEVELS", help="document, line, or both.")] = "document",
    executor: ExecutorOption = ExecutorKind.local,
    ray_address: RayAddress = None,
) -> Any:
    """Remove near duplicates by exact Jaccard similarity of word 5-grams; needs no workspace."""
    from forescale.project import texts

    return texts.dedup_verb(
        inputs, out=out, index=index, threshold=threshold, level=level, executor=executor.value,
        ray_address=ray_address, force=common.force,
    )  # fmt: skip


def corpus_stats(common: Common) -> Any:
    """Documents, bytes, and what was removed and why."""
    return common.project().corpus_stats()


def corpus_sample(
    common: Common,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="How many documents.")] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of everything drawn at random.")] = 0,
) -> Any:
    """Some documents, drawn by seed."""
    return common.project().corpus_sample(n=n, seed=seed)


def corpus_why(common: Common, document: Annotated[str, typer.Argument(metavar="ID", help="A document's id.")]) -> Any:
    """What became of a document: kept, removed and why, or whose duplicate it is."""
    return common.project().corpus_why(document)


def corpus_diff(
    common: Common,
    a: Annotated[Path, typer.Argument(metavar="A")],
    b: Annotated[Path, typer.Argument(metavar="B")],
) -> Any:
    """How two corpora differ in documents and reasons."""
    from forescale.project import texts

    return texts.diff(a, b)


def vocab(common: Common) -> Any:
    """Train the tokenizer on the corpus."""
    return common.project().vocab()


def tokenize(common: Common, executor: ExecutorOption = ExecutorKind.local, ray_address: RayAddress = None) -> Any:
    """Corpus and tokenizer to memory-mapped token shards."""
    return common.project(executor, ray_address).tokenize()
