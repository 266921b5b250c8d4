"""Our own ladders: three corpora, paired seeds, sealed targets at 1e13 FLOPs and beyond: `make bench-ladders`.

The ladders and the targets at 1e13 are those of benchmarks/demo.py (four budgets up to 1e12; documentation, prose and
Python code; seeds that all corpora share), made here where they are missing; then the documentation is asked for 3e13
too. Beside each forecast stand a straight line through the last two minima in log-log and Chinchilla's form with the
Huber loss, as points and with the Winkler score of the interval. Resumable, about two hours on two cores; results in
docs/bench-ladders.md and benchmarks/results/.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import demo
from benchmarks.chains import read_results
from benchmarks.demo_table import error, inside, width
from benchmarks.scores import winkler

FAR_RESULTS = Path("benchmarks/results/ladders.jsonl")
PAGE = Path("docs/bench-ladders.md")
CORPORA = ("documentation", "prose", "code")
FAR = {"documentation": (3e13,)}
"""Targets beyond ten times the ladder."""
SEEDS = range(2)
LEVEL = 0.9


def main() -> None:
    """All chains, then the table."""
    cases = demo.chains([c for c in CORPORA if demo.ready(c)], SEEDS)
    demo.run(cases)
    demo.run([replace(c, targets=FAR[c.corpus]) for c in cases if c.corpus in FAR], FAR_RESULTS)
    near = [r for r in read_results(demo.RESULTS) if r["corpus"] in CORPORA]
    write_page(near + read_results(FAR_RESULTS))


def points(row: dict[str, Any]) -> float:
    """Winkler score of the 90% interval in percent of the outcome."""
    return float(100 * winkler(*row["interval"], row["outcome"], LEVEL))


def _as_points(rows: list[dict[str, Any]], name: str) -> str:
    """Mean Winkler score of a baseline that gives no interval."""
    errors = [abs(r[name] / r["outcome"] - 1) for r in rows if r[name]]
    return f"{100 * 2 / (1 - LEVEL) * statistics.mean(errors):.0f}" if errors else "none"


def write_page(rows: list[dict[str, Any]]) -> None:
    """docs/bench-ladders.md."""
    lines = [
        "# Our own ladders\n",
        "Made by `make bench-ladders`; every figure is from `benchmarks/results/demo.jsonl` (targets at 1e13 FLOPs) and",
        "`benchmarks/results/ladders.jsonl` (beyond), each forecast sealed before its run; corpora, budgets and seeds are",
        "described in `benchmarks/demo.py`. Losses in bits per byte, errors and widths in percent of the loss. Line: a",
        "straight log-log line through the best runs of the two largest budgets. Huber: Chinchilla's form, Huber loss.\n",
        "| corpus | seed | target | regime | forecast | outcome | error | inside | width | Winkler | line | Huber |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(rows, key=lambda r: (r["corpus"], f"{r['target_flops']:.2g}", r["seed"])):
        base = [f"{100 * (r[k] / r['outcome'] - 1):+.2f}" if r[k] else "none" for k in ("line", "huber")]
        lines.append(
            f"| {r['corpus']} | {r['seed']} | {r['target_flops']:.2g} | {r['regime']} | {r['forecast']:.4f} | "
            f"{r['outcome']:.4f} | {100 * error(r):+.2f} | {'yes' if inside(r) else '**no**'} | {100 * width(r):.1f} | "
            f"{points(r):.1f} | {' | '.join(base)} |"
        )
    if rows:
        lines.append(
            f"\nMedian error {100 * statistics.median(abs(error(r)) for r in rows):.2f}%, inside "
            f"{sum(map(inside, rows))} of {len(rows)}, mean Winkler score {statistics.mean(map(points, rows)):.1f}; as points"
            f" (intervals of no width) the line scores {_as_points(rows, 'line')}, Huber {_as_points(rows, 'huber')}."
        )
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
