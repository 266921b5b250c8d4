"""`compare`: finished runs are read; corpora get the same small ladder first. What each argument is, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from forescale.base.artifact import read_manifest, stands
from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.project.workspace import RECIPE_FILE

if TYPE_CHECKING:
    from forescale.base.records.compare import Comparison
    from forescale.project.ladder import Progress
    from forescale.project.project import Project

Kind = Literal["runs", "text", "corpus", "workspace"]
TEXT_FILES = frozenset({".txt", ".md", ".rst", ".py", ".html", ".htm", ".gz", ".zst"})
LOSSES = frozenset({"loss", "bpb", "val_loss", "validation_loss", "eval_loss"})


@dataclass(frozen=True)
class CorpusInput:
    """One corpus as it was named."""

    name: str
    path: Path
    kind: Kind


def compare_verb(
    corpora: Sequence[Path | str],
    *,
    validation: Sequence[Path | str] = (),
    name: str | None = None,
    tokenizer: Path | str | None = None,
    scale: str | None = None,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    group: str | None = None,
    metric: str | None = None,
    project: Callable[[], Project] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare corpora: by tables of runs or ladders that are there, or by a ladder on each that is run now.

    `project` opens the workspace that new ladders go to; tables need none.
    """
    paths = [Path(path) for path in corpora]
    outside = [Path(path) for path in validation]
    for path in [*paths, *outside]:
        if not path.exists():
            raise InputError(
                f"{path} does not exist", remedy="name folders of text, tables of runs or ladders' folders", file=path
            )
    kinds = {path: kind_of(path) for path in paths}
    texts = [path for path in paths if kinds[path] != "runs"]
    reading: dict[str, Any] = {"scale": scale, "columns": columns, "where": where, "group": group, "metric": metric}
    if not texts:
        if outside or tokenizer is not None:
            raise _finished_runs("validation" if outside else "tokenizer")
        return compare_runs(paths, **reading)
    if len(texts) < len(paths):
        runs = [str(path) for path in paths if kinds[path] == "runs"]
        raise ConfigError(
            f"{', '.join(runs)}: finished runs; {', '.join(map(str, texts))}: text that has no runs yet",
            why="a comparison needs the same ladder, tokenizer and outside set for all",
            remedy="name tables of runs only, or corpora only",
        )
    if group is not None:
        raise ConfigError("--group goes with tables of runs: each corpus here is its own group", key="group")
    if project is None:
        raise ConfigError(
            "ladders on corpora need a workspace", remedy="forescale.Project(DIR).compare(...), or the command line"
        )
    from forescale.project.meter import run_meter

    named = named_corpora(paths, kinds)
    opened = project()
    refuse_overlap(named, outside)
    return run_meter(
        opened, named, outside, name=name, tokenizer=None if tokenizer is None else Path(tokenizer),
        progress=progress, scale=scale, columns=columns, where=where, metric=metric,
    )  # fmt: skip


def compare_runs(paths: Sequence[Path], **reading: Any) -> Comparison:
    """Tables of runs, ladders' folders, or one table with several groups; unchanged by what corpora need."""
    from forescale.scaling.compare import compare
    from forescale.scaling.paired import with_pairs

    if len(paths) == 1:  # one table, whose groups are the corpora
        return compare(paths[0], **reading)
    _refuse_twice(paths, "table")
    names = [path.stem if path.is_file() else path.name for path in paths]
    unique = len(set(names)) == len(names)
    sources = {name if unique else str(path): path for name, path in zip(names, paths, strict=True)}
    made = compare(sources, **reading)
    if reading["columns"] or reading["where"] or reading["group"]:
        return made
    return with_pairs(made, sources, reading["metric"])


def _finished_runs(key: str) -> ConfigError:
    return ConfigError(
        f"--{key} goes with corpora that ladders are run on; these are finished runs",
        why="finished runs were scored already: compare reads their losses and checks that the sets agree",
        remedy="name the folders of text instead, and the same small ladder is run on each",
        key=key,
    )


def kind_of(path: Path) -> Kind:
    """What an argument is: a workspace, a finished corpus, finished runs, or text."""
    if path.is_file():
        return "text" if _holds_text(path) else "runs"
    if (path / RECIPE_FILE).exists():
        return "workspace"
    if _is_corpus(path):
        return "corpus"
    if any((path / f"runs{ending}").exists() for ending in (".csv", ".jsonl", ".parquet")):
        return "runs"
    if next(path.rglob("record.json"), None) is not None:
        return "runs"
    tables = [p for p in path.iterdir() if p.suffix.lower() in (".csv", ".jsonl", ".parquet")]
    return "runs" if len(tables) == 1 and not _holds_text(tables[0]) else "text"


def _is_corpus(path: Path) -> bool:
    """Whether this is a finished Corpus; a folder of text may well hold somebody else's manifest."""
    try:
        return stands(path) and read_manifest(path).kind == "corpus"
    except ArtifactError:
        return False


def _holds_text(path: Path) -> bool:
    """Whether a file holds documents rather than runs: by its ending, or by a `text` column without a loss."""
    ending = path.suffix.lower()
    if ending in TEXT_FILES:
        return True
    if ending == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            columns = set(pyarrow.parquet.read_schema(path).names)
        except (pyarrow.ArrowInvalid, OSError):
            return False  # the table's reader says what is wrong with it
        return "text" in columns and not columns & LOSSES
    if ending in (".jsonl", ".ndjson"):
        with path.open("rb") as file:
            first = next((line for line in file if line.strip()), b"")
        row = _parsed(first)
        return isinstance(row.get("text"), str) and not row.keys() & LOSSES
    return False


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def named_corpora(paths: Sequence[Path], kinds: dict[Path, Kind]) -> list[CorpusInput]:
    """A short name of its own for each corpus; the same folder twice, or one alone, is exit 2."""
    if len(paths) < 2:
        raise ConfigError(
            f"there is only one corpus to compare: {paths[0]}",
            remedy="name two folders of text or more: forescale compare A B --validation C",
        )
    _refuse_twice(paths, "folder")
    places = [path.resolve() for path in paths]
    depth = 1
    while True:  # as many folders of the path as tell the names apart
        names = [re.sub(r"[^\w.-]+", "_", "-".join(place.parts[-depth:])).strip("._-") for place in places]
        names = [name or "corpus" for name in names]
        if len(set(names)) == len(names):
            break
        depth += 1
        if depth > max(len(place.parts) for place in places):
            names = [f"{name}-{i + 1}" for i, name in enumerate(names)]
            break
    return [CorpusInput(name, path.resolve(), kinds[path]) for name, path in zip(names, paths, strict=True)]


def _refuse_twice(paths: Sequence[Path], kind: str) -> None:
    """The same file or folder twice, however it is written, is exit 2."""
    places = [path.resolve() for path in paths]
    for i, place in enumerate(places):
        if place in places[:i]:
            first = paths[places.index(place)]
            raise ConfigError(
                f"{paths[i]} is named twice" + (f": it is the same as {first}" if first != paths[i] else ""),
                why="a corpus compared with itself says nothing",
                remedy=f"name each {kind} once",
                file=paths[i],
            )


def refuse_overlap(corpora: Sequence[CorpusInput], outside: Sequence[Path]) -> None:
    """An outside folder that is a corpus, or a part of one, is exit 2; so is one named twice."""
    from forescale.project.meter import texts_of

    seen: list[Path] = []
    for folder in outside:
        place = folder.resolve()
        if place in seen:
            raise ConfigError(f"--validation {folder} is named twice", file=folder, key="validation")
        seen.append(place)
        for corpus in corpora:
            for text in [corpus.path, *texts_of(corpus)] if corpus.kind != "workspace" else texts_of(corpus):
                if place == text or text in place.parents or place in text.parents:
                    raise ConfigError(
                        f"--validation {folder} overlaps the corpus {corpus.name} ({text})",
                        why="an outside set is text that no run has trained on",
                        remedy="move it out of the corpus, or leave --validation out: held-out sources are used then",
                        file=folder,
                        key="validation",
                    )
