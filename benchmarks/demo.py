"""Does the demo forecast? Ladder, sealed forecast and outcome on three corpora and five seeds: `make bench-demo`.

Every chain is what the demo does, with fixed budgets instead of minutes, so that all fifteen ask the same question:
four budgets up to 1e12 FLOPs, a target at 10 times the largest run. Two chains run at once, one core each; all
ladders come first, then all forecasts, so that the method is frozen when the first target is sealed. Started again it
goes on where it stopped, and repeats nothing that this checkout has finished; results go to docs/bench-demo.md and
benchmarks/results/demo.jsonl, where a chain made anew takes the place of one that another checkout made.

The corpora are described in benchmarks/corpora.py. Two texts of known entropy are asked too: random letters, and a
periodic text, each with one seed and a smaller ladder. `--seeds=0-2` asks other seeds than the method was last judged
on, `--ladders` stops before any forecast, and names of corpora choose among them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chains import Chain, climb, conclude, keep_result, read_results
from benchmarks.corpora import KNOWN_ENTROPY, prepare
from benchmarks.demo_table import write_table
from forescale.launch.local import LocalExecutor

ROOT = Path(".bench/demo")
RESULTS = Path("benchmarks/results/demo.jsonl")
BUDGETS = (2e11, 3.4e11, 5.8e11, 1e12)
SMALL_BUDGETS = (1.5e10, 3e10, 6e10, 1.2e11)
CORPORA = ("documentation", "prose", "code", *KNOWN_ENTROPY)
SEEDS = range(6, 11)


def chains(corpora: list[str], seeds: Sequence[int]) -> list[Chain]:
    """All cases, seed by seed, so that a cut benchmark has whole seeds."""
    return [
        Chain(str(ROOT), corpus, seed, SMALL_BUDGETS if corpus in KNOWN_ENTROPY else BUDGETS)
        for seed in seeds
        for corpus in corpora
        if seed == seeds[0] or corpus not in KNOWN_ENTROPY
    ]


def main(arguments: list[str]) -> None:
    """All cases, then the table."""
    named = [word for word in arguments if not word.startswith("--")] or list(CORPORA)
    seeds = next((seeds_named(word.partition("=")[2]) for word in arguments if word.startswith("--seeds=")), SEEDS)
    found = [corpus for corpus in named if ready(corpus)]
    run(chains(found, seeds), ladders_only="--ladders" in arguments)
    write_table(read_results(RESULTS))


def seeds_named(text: str) -> Sequence[int]:
    """`3` or `0-2`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def ready(corpus: str) -> bool:
    """Its text, tokenizer and shards are made; says why not."""
    why = prepare(ROOT, corpus)
    if why:
        print(f"{corpus}: left out: {why}", file=sys.stderr)
    return not why


def run(cases: list[Chain], results: Path = RESULTS, *, ladders_only: bool = False) -> None:
    """All ladders first, then all forecasts: the method is frozen when the first target is sealed."""
    with LocalExecutor(2) as executor:
        for climbed in executor.map(climb, cases, label="ladders"):
            print(climbed.part.corpus, climbed.part.seed, climbed.error or "ladder done", flush=True)
        if ladders_only:
            return
        for ended in executor.map(conclude, cases, label="targets"):
            if ended.error is not None:
                print(f"{ended.part}: {ended.error}", file=sys.stderr)
            for row in ended.result or []:
                keep_result(results, row)


if __name__ == "__main__":
    main(sys.argv[1:])
