"""The corpora that the ladder benchmarks ask: text, clean corpus, tokenizer and shards of each, made once.

`documentation` is what the set-up installed, the demo's default; `prose` the English documentation of the Debian 12
packages python3.11-doc, rust-doc, postgresql-doc-15, perl-doc, debian-handbook, libreoffice-help-en-us and of Django's
source archive, read from FORESCALE_TEST_DATA/text/base.parquet; `code` Python sources of the standard library and of
installed packages; `random` 64 random letters (6 bits per byte); `periodic` one sentence again and again (nearly 0).
"""

from __future__ import annotations

import json
import sysconfig
from importlib.resources import files
from pathlib import Path

from forescale.base.files import write_atomic
from forescale.base.runtime import test_data
from forescale.project.project import Project

CODE = ("sympy", "scipy", "numpy", "networkx", "matplotlib", "plotly", "fontTools", "pydantic")
CODE_BYTES = 60_000_000
KNOWN_ENTROPY = ("random", "periodic")


def write_prose(out: Path) -> str | None:
    """One folder of JSONL a source; gives why not, where the data is absent."""
    import pyarrow.parquet

    data = test_data()
    if data is None:
        return "FORESCALE_TEST_DATA names no folder"
    table = pyarrow.parquet.read_table(data / "text" / "base.parquet", columns=["source", "lang", "text"])
    by_source: dict[str, list[str]] = {}
    for row in table.to_pylist():
        if row["lang"] == "en":
            by_source.setdefault(row["source"], []).append(json.dumps({"text": row["text"]}))
    for source, lines in by_source.items():
        write_atomic(out / source / "documents.jsonl", ("\n".join(lines) + "\n").encode())
    return None


def write_code(out: Path) -> str | None:
    """Python sources as they are, a folder a package, up to CODE_BYTES; tests left out."""
    paths = sysconfig.get_paths()
    roots = [("python", Path(paths["stdlib"])), *((name, Path(paths["purelib"]) / name) for name in CODE)]
    total = 0
    for name, root in roots:
        lines = []
        for file in sorted(root.rglob("*.py")):
            parts = set(file.relative_to(root).parts)
            if parts & {"site-packages", "test", "tests", "__pycache__"} or total > CODE_BYTES:
                continue
            text = file.read_bytes().decode("utf-8", errors="ignore")
            total += len(text)
            lines.append(json.dumps({"text": text}))
        write_atomic(out / name / "sources.jsonl", ("\n".join(lines) + "\n").encode())
    return None


def write_random(out: Path) -> None:
    """Documents of random letters of a 64-symbol alphabet: 6 bits per byte, nothing to learn."""
    import numpy as np

    letters = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+,-.", dtype=np.uint8)
    rng = np.random.default_rng(1)
    for source in range(8):
        lines = [json.dumps({"text": letters[rng.integers(0, 64, 4000)].tobytes().decode()}) for _ in range(150)]
        write_atomic(out / f"part{source}" / "documents.jsonl", ("\n".join(lines) + "\n").encode())


def write_periodic(out: Path) -> None:
    """Documents of one sentence said again and again: nearly 0 bits per byte."""
    sentence = "the quick brown fox jumps over the lazy dog and runs away; "
    for source in range(8):
        lines = [json.dumps({"text": sentence * 70}) for _ in range(1000)]
        write_atomic(out / f"part{source}" / "documents.jsonl", ("\n".join(lines) + "\n").encode())


def prepare(root: Path, corpus: str) -> str | None:
    """Text, clean corpus, tokenizer and shards of one corpus under `root/CORPUS/base`; gives why not."""
    folder = root / corpus / "base"
    recipe = (files("forescale.project") / "demo.toml").read_text()
    if corpus in KNOWN_ENTROPY:
        recipe = recipe.replace("[corpus]\n", "[corpus]\ndedup = false\nquality = false\n")
    write_atomic(folder / "forescale.toml", recipe.encode())
    project = Project(folder)
    if not (folder / "text").exists():
        if corpus == "documentation":
            from forescale.corpus.demo_text import collect

            collect(folder, project.executor())
        else:
            writers = {"prose": write_prose, "code": write_code, "random": write_random, "periodic": write_periodic}
            why = writers[corpus](folder / "text")
            if why:
                return why
    project.clean()
    project.vocab()
    project.tokenize()
    return None


def workspace(root: Path, corpus: str, name: str) -> Project:
    """A workspace `root/CORPUS/NAME` that shares the corpus's artifacts; all from the ladder on is its own."""
    base, folder = root / corpus / "base", root / corpus / name
    folder.mkdir(parents=True, exist_ok=True)
    for shared in ("forescale.toml", "corpus", "tokenizer", "tokens"):
        link = folder / shared
        if not link.exists():
            link.symlink_to((base / shared).resolve())
    return Project(folder, ["ladder.cores=1"])
