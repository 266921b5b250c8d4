"""Does the demo forecast? Ladder, sealed forecast and outcome on three corpora and five seeds: `make bench-demo`.

Every chain is what the demo does, with fixed budgets instead of minutes, so that all fifteen ask the same question:
four budgets up to 1.2e12 FLOPs, a target at 10 times the largest run. Two chains run at once, one core each. Started
again it goes on where it stopped; results are written to docs/bench-demo.md and benchmarks/results/demo.jsonl.

Corpora: `documentation` (what the set-up installed, the demo's default), `prose` (the English documentation of the
Debian 12 packages python3.11-doc, rust-doc, postgresql-doc-15, perl-doc, debian-handbook, libreoffice-help-en-us and
of Django's source archive, read from FORESCALE_TEST_DATA/text/base.parquet), `code` (Python sources of the standard
library and of installed packages). Two texts of known entropy are asked too: 64 random letters, and a periodic text.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from forescale.base.files import write_atomic
from forescale.base.records.ladder import LadderSummary
from forescale.base.records.run import RunRecord
from forescale.base.runtime import machine, test_data
from forescale.launch.local import LocalExecutor
from forescale.project.demo import APART, TARGET, TARGET_SEED
from forescale.project.project import Project

ROOT = Path(".bench/demo")
RESULTS = Path("benchmarks/results/demo.jsonl")
BUDGETS = (2e11, 3.6e11, 6.6e11, 1.2e12)
SMALL_BUDGETS = (1.5e10, 3e10, 6e10, 1.2e11)
SEEDS = range(5)
CODE = ("sympy", "scipy", "numpy", "networkx", "matplotlib", "plotly", "fontTools", "pydantic")
CODE_BYTES = 60_000_000


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
        lines = [json.dumps({"text": sentence * 70}) for _ in range(180)]
        write_atomic(out / f"part{source}" / "documents.jsonl", ("\n".join(lines) + "\n").encode())


def prepare(corpus: str) -> str | None:
    """Text, clean corpus, tokenizer and shards of one corpus; gives why not."""
    folder = ROOT / corpus / "base"
    recipe = (files("forescale.project") / "demo.toml").read_text()
    if corpus in ("random", "periodic"):
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


def workspace(case: tuple[str, int]) -> Project:
    """The workspace of one chain: its corpus is shared, everything from the ladder on is its own."""
    corpus, seed = case
    base, folder = ROOT / corpus / "base", ROOT / corpus / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("forescale.toml", "corpus", "tokenizer", "tokens"):
        link = folder / name
        if not link.exists():
            link.symlink_to((base / name).resolve())
    return Project(folder, ["ladder.cores=1"])


def climb(case: tuple[str, int]) -> LadderSummary:
    """One ladder."""
    corpus, seed = case
    budgets = SMALL_BUDGETS if corpus in ("random", "periodic") else BUDGETS
    return workspace(case).ladder("ladder", budgets=budgets, seed=seed)


def chain(case: tuple[str, int]) -> dict[str, Any]:
    """One ladder's forecast, sealed, and the run that tests it."""
    corpus, seed = case
    project, ladder = workspace(case), climb(case)
    start = time.monotonic()
    laws = project.fit("ladder")
    if not (project.workspace.run(TARGET) / "spec.json").exists():
        project.plan(TARGET, flops=APART * ladder.largest_flops)
    record = project.pretrain(TARGET, seed=seed + TARGET_SEED, processes=1)
    assert isinstance(record, RunRecord)
    assert record.validation is not None
    from forescale.project.pretrain import read_plan
    from forescale.scaling.ledger import Ledger

    plan = read_plan(project, TARGET)[1]
    entry = next(e for e in Ledger(project.workspace.ledger).view().entries if e.kind == "sealed")
    assert plan.forecast is not None
    return {
        "corpus": corpus, "seed": seed, "regime": laws.regime, "forecast": plan.forecast.loss,
        "interval": plan.forecast.interval, "outcome": record.validation.bits_per_byte, "runs": ladder.runs,
        "ladder_flops": ladder.largest_flops, "target_flops": record.flops, "line": straight_line(project),
        "shape": [plan.model.n_layer, plan.model.d_model], "tokens": record.tokens, "lr": plan.learning_rate,
        "batch_tokens": plan.batch_tokens, "digest": entry.digest, "sealed_at": entry.sealed_at,
        "commit": commit(), "seconds": round(time.monotonic() - start), "machine": machine(),
    }  # fmt: skip


def straight_line(project: Project) -> float:
    """The simple baseline: a straight log-log line through the best runs of the two largest budgets."""
    import math

    from forescale.project.ladder import read_rows

    best: dict[float, float] = {}
    for row in read_rows(project.workspace.ladder("ladder") / "runs.csv"):
        if row["bpb"]:
            budget = float(row["budget"])
            best[budget] = min(float(row["bpb"]), best.get(budget, math.inf))
    (c0, l0), (c1, l1) = sorted(best.items())[-2:]
    slope = math.log(l1 / l0) / math.log(c1 / c0)
    return l1 * (APART * c1 / c1) ** slope


def commit() -> str:
    """The commit that made a result."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main(arguments: list[str]) -> None:
    """All cases that have no result yet, then the table. `--ladders`: the ladders only, no forecast yet."""
    from benchmarks.demo_table import write_table

    ladders_only = "--ladders" in arguments
    corpora = [a for a in arguments if not a.startswith("--")] or [
        "documentation",
        "prose",
        "code",
        "random",
        "periodic",
    ]
    done = {(r["corpus"], r["seed"]) for r in results()}
    for corpus in corpora:
        why = prepare(corpus)
        if why:
            print(f"{corpus}: left out: {why}", file=sys.stderr)
            corpora = [c for c in corpora if c != corpus]
    cases = [
        (corpus, seed) for seed in SEEDS for corpus in corpora if seed == 0 or corpus not in ("random", "periodic")
    ]
    todo = [case for case in cases if case not in done]
    executor = LocalExecutor(2)
    for climbed in executor.map(climb, todo, label="ladders"):
        print(climbed.part, climbed.error or f"ladder in {climbed.result and climbed.result.seconds:.0f} s", flush=True)
    if ladders_only:
        return
    for outcome in executor.map(chain, todo, label="chains"):
        if outcome.error is not None:
            print(f"{outcome.part}: {outcome.error}", file=sys.stderr)
            continue
        assert outcome.result is not None
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with RESULTS.open("a") as file:
            file.write(json.dumps(outcome.result) + "\n")
        print(json.dumps(outcome.result), flush=True)
        write_table(results())


def results() -> list[dict[str, Any]]:
    """Results so far."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


if __name__ == "__main__":
    from benchmarks import demo  # by its importable name: the functions travel to other processes

    demo.main(sys.argv[1:])
