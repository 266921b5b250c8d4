"""docs/bench-demo.md from the results of benchmarks/demo.py."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

PAGE = Path("docs/bench-demo.md")
HEAD = """# Does the demo forecast?

Made by `make bench-demo` (`python -m benchmarks.demo`); every figure below is from `benchmarks/results/demo.jsonl`, and
the corpora, budgets and seeds are described at the top of `benchmarks/demo.py`. Each forecast was sealed in its
workspace's ledger before step 0 of the run that tests it. "Method" is the commit whose code sealed it: e18e2de was
fixed before the first target was sealed (ladders had been run and their forecasts looked at, no outcome was known);
8b41473 ([decision 0107](decisions/0107-belief-in-the-whole-ladder.md)) was made knowing the outcomes of seeds 0 to 4,
and seed 5, its ladders included, was run after it; 3c96200 ([decision 0108](decisions/0108-draws-keep-the-runs-scale.md))
was made knowing those of seeds 0 to 5, and fixed when two ladders of seed 6 had been looked at: all targets of seeds 6
and above were sealed and run after it. The texts of known entropy were asked again with it (51a52b7).
Losses are bits per byte on validation text of whole sources; error = forecast / outcome - 1, width = (high - low) /
forecast. "Line" is a straight log-log line through the best runs of the two largest budgets. What was seen before this
benchmark, and the method developed on, stands in [bench-demo-earlier.md](bench-demo-earlier.md).
"""


def write_table(rows: list[dict[str, Any]]) -> None:
    """All runs, then coverage clustered by corpus, width, error and every miss."""
    known = [r for r in rows if r["corpus"] not in ("random", "periodic")]
    parts = [HEAD]
    if known:
        parts += ["## Every run\n", _runs(known), "\n## By corpus\n", _by_corpus(known)]
    entropy = [r for r in rows if r["corpus"] in ("random", "periodic")]
    if entropy:
        parts += [
            "\n## Text of known entropy\n",
            "64 random letters hold 6 bits per byte; the periodic text nearly 0.\n",
        ]
        parts.append(_runs(entropy))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(parts) + "\n")


def error(row: dict[str, Any]) -> float:
    """forecast / outcome - 1."""
    return float(row["forecast"] / row["outcome"] - 1)


def width(row: dict[str, Any]) -> float:
    """Width of the interval as a fraction of the forecast."""
    return float((row["interval"][1] - row["interval"][0]) / row["forecast"])


def inside(row: dict[str, Any]) -> bool:
    """Whether the outcome lies in the interval."""
    return bool(row["interval"][0] <= row["outcome"] <= row["interval"][1])


def _runs(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| corpus | seed | regime | forecast | 90% interval | width | outcome | error | inside | line's error | beyond |"
        " method |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(rows, key=lambda r: (r["corpus"], r["seed"])):
        low, high = r["interval"]
        lines.append(
            f"| {r['corpus']} | {r['seed']} | {r['regime']} | {r['forecast']:.4f} | {low:.4f}-{high:.4f} | "
            f"{100 * width(r):.1f}% | {r['outcome']:.4f} | {100 * error(r):+.2f}% | {'yes' if inside(r) else '**no**'} | "
            f"{100 * (r['line'] / r['outcome'] - 1):+.2f}% | {r['target_flops'] / r['ladder_flops']:.1f}x |"
            f" {r['commit']} |"
        )
    return "\n".join(lines)


def _by_corpus(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| corpus | runs | inside | regime scaling | median width | median error | line's median error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for corpus in sorted({r["corpus"] for r in rows}):
        lines.append(_line(corpus, [r for r in rows if r["corpus"] == corpus]))
    lines.append(_line("all", rows))
    scaling = [r for r in rows if r["regime"] == "scaling"]
    if scaling:
        lines.append(_line("all with regime scaling", scaling))
    methods = sorted({r["commit"] for r in scaling})
    if len(methods) > 1:
        lines += [_line(f"... by {method}", [r for r in scaling if r["commit"] == method]) for method in methods]
    shares = [statistics.mean(inside(r) for r in rows if r["corpus"] == c) for c in sorted({r["corpus"] for r in rows})]
    spread = f", lowest corpus {min(shares):.2f}, highest {max(shares):.2f}" if len(shares) > 1 else ""
    lines.append(f"\nCoverage of the 90% interval clustered by corpus: mean {statistics.mean(shares):.2f}{spread}.")
    return "\n".join(lines)


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    return (
        f"| {name} | {len(rows)} | {sum(map(inside, rows))} | {sum(r['regime'] == 'scaling' for r in rows)} | "
        f"{100 * statistics.median(map(width, rows)):.1f}% | {100 * statistics.median(abs(error(r)) for r in rows):.2f}% | "
        f"{100 * statistics.median(abs(r['line'] / r['outcome'] - 1) for r in rows):.2f}% |"
    )
