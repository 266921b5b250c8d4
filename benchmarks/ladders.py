"""Our own ladders: three corpora, paired seeds, sealed targets at 1e13 FLOPs and beyond: `make bench-ladders`.

Four budgets up to 1e12 FLOPs on documentation, prose and Python code, each with two seeds that all corpora share;
targets at 1e13, for the documentation at 3e13 too. Beside each forecast stand a straight line through the last two
minima in log-log and Chinchilla's form with the Huber loss, as points and with the Winkler score of the interval.
Resumable, about two hours on two cores; results in docs/bench-ladders.md and benchmarks/results/ladders.jsonl.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.chains import Chain, append_result, climb, conclude, read_results
from benchmarks.corpora import prepare
from benchmarks.demo_table import error, inside, width
from forescale.launch.local import LocalExecutor

ROOT = Path(".bench/ladders")
RESULTS = Path("benchmarks/results/ladders.jsonl")
PAGE = Path("docs/bench-ladders.md")
BUDGETS = (1.8e11, 3.2e11, 5.6e11, 1e12)
TARGETS = {"documentation": (1e13, 3e13), "prose": (1e13,), "code": (1e13,)}
SEEDS = (0, 1)
LEVEL = 0.9


def main(arguments: list[str]) -> None:
    """All chains that have no result yet, then the table."""
    corpora = [c for c in arguments or TARGETS if not prepare(ROOT, c)]
    done = {(r["corpus"], r["seed"]) for r in read_results(RESULTS)}
    todo = [
        Chain(str(ROOT), corpus, seed, BUDGETS, TARGETS[corpus])
        for seed in SEEDS
        for corpus in corpora
        if (corpus, seed) not in done
    ]
    with LocalExecutor(2) as executor:
        for climbed in executor.map(climb, todo, label="ladders"):
            print(climbed.part.corpus, climbed.part.seed, climbed.error or "ladder done", flush=True)
        for ended in executor.map(conclude, todo, label="targets"):
            if ended.error is not None:
                print(f"{ended.part}: {ended.error}", file=sys.stderr)
            for row in ended.result or []:
                append_result(RESULTS, row)
    write_page(read_results(RESULTS))


def winkler(row: dict[str, Any]) -> float:
    """Winkler score of the 90% interval in percent of the outcome: its width, and 20 times what it misses by."""
    low, high = row["interval"]
    missed = max(low - row["outcome"], row["outcome"] - high, 0.0)
    return float(100 * (high - low + 2 / (1 - LEVEL) * missed) / row["outcome"])


def write_page(rows: list[dict[str, Any]]) -> None:
    """docs/bench-ladders.md."""
    lines = [
        "# Our own ladders\n",
        "Made by `make bench-ladders`; every figure is from `benchmarks/results/ladders.jsonl`, each forecast sealed",
        "before its run. Losses in bits per byte, errors and widths in percent of the loss.\n",
        "| corpus | seed | target | regime | forecast | outcome | error | inside | width | Winkler | line | Huber |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(rows, key=lambda r: (r["corpus"], r["target_flops"], r["seed"])):
        base = [f"{100 * (r[k] / r['outcome'] - 1):+.2f}" if r[k] else "none" for k in ("line", "huber")]
        lines.append(
            f"| {r['corpus']} | {r['seed']} | {r['target_flops']:.2g} | {r['regime']} | {r['forecast']:.4f} | "
            f"{r['outcome']:.4f} | {100 * error(r):+.2f} | {'yes' if inside(r) else '**no**'} | {100 * width(r):.1f} | "
            f"{winkler(r):.1f} | {' | '.join(base)} |"
        )
    if rows:
        lines.append(
            f"\nMedian error {100 * statistics.median(abs(error(r)) for r in rows):.2f}%, inside "
            f"{sum(map(inside, rows))} of {len(rows)}, mean Winkler score {statistics.mean(map(winkler, rows)):.1f}."
        )
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
