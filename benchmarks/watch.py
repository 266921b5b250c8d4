"""How far off is `watch`, and do its intervals hold? Curves with known ends, and the curves of real ladders.

    python -m benchmarks.watch [--write] [WORKSPACE ...]

Every known curve is written as a log (a third of them with a restart, a gap, a lost point and a changed interval of
logging), cut at a share of the run, read again and forecast. Real curves are every branch of the ladders and runs of
finished workspaces; their end is the mean of the last twentieth. Alarms: the same curves, made to rise from 60% on.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.curves import SCHEDULES, Known, make_curve, rows
from benchmarks.page import write
from benchmarks.scores import score
from forescale.scaling.logs import Curve, read_curve
from forescale.scaling.watch import in_flight, rising

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
SEEDS = range(1000, 1060)
"""Curves that had no say in the constants of `watch`: those were chosen on seeds 0 to 59."""
LEVEL = 0.9
TOLD = dict(zip(SCHEDULES, ("multi_step", "cosine:0.1", "cosine", "linear", "wsd", "constant"), strict=True))
RATES = (0.02, 0.005)
"""Growth of a diverging loss from one logged point to the next."""
FEWEST = 40
"""Logged points that a real curve needs: with fewer, a tenth of it says nothing."""

Scored = list[tuple[float, float, bool]]
"""Relative error, relative width, inside; one a share."""


def as_logged(known: Known, share: float, *, rates: bool, dirt: int | None) -> Curve:
    """The curve as `watch` reads it from a file that ends at this share of the run."""
    table = rows(known, share, rates=rates, dirt=dirt)
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
        file.flush()
        return read_curve(file.name)


def look(curve: Curve, total: float, end: float, schedule: str | None) -> tuple[float, float, bool]:
    seen = in_flight(curve, total, schedule, LEVEL)
    scored = score(seen.median, seen.interval, end, LEVEL)
    return scored.error, scored.width, scored.inside


def known_curves(schedule: str, *, rates: bool, told: str | None) -> list[Scored]:
    scored = []
    for seed in SEEDS:
        known = make_curve(schedule, seed)
        dirt = seed if seed % 3 == 0 else None
        scored.append(
            [
                look(as_logged(known, share, rates=rates, dirt=dirt), known.steps, known.end, told)
                for share in SHARES
            ]
        )  # fmt: skip
    return scored


def real_curves(workspaces: list[Path]) -> Iterator[tuple[Curve, float]]:
    """Every branch of every trunk, as far as it was logged often enough, with its end."""
    logs = [p for w in workspaces for p in sorted([*w.glob("ladders/*/runs/*/log.jsonl"), *w.glob("runs/*/log.jsonl")])]
    for path in logs:
        spec = json.loads((path.parent / "spec.json").read_text()) if (path.parent / "spec.json").exists() else {}
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for tokens in spec.get("branches", ()):
            last = tokens == max(spec["branches"])
            side = {line["step"] for line in lines if line["branch"] == tokens}
            own = [
                line
                for line in lines
                if line["branch"] == tokens
                or (line["branch"] is None and (last or line["step"] < min(side, default=0)))
            ]
            own.sort(key=lambda line: line["step"])
            total = tokens / spec["batch_tokens"]
            if len(own) >= FEWEST and own[-1]["step"] >= 0.99 * total:
                step, loss, rate = (np.array([line[k] for line in own], dtype=float) for k in ("step", "loss", "lr"))
                curve = Curve(step, loss, rate, np.full(len(step), np.nan), total, "forescale")
                yield curve, float(loss[step > 0.95 * total].mean())


def scored_real(workspaces: list[Path], *, rates: bool, told: str | None) -> list[Scored]:
    scored = []
    for curve, end in real_curves(workspaces):
        total = curve.total_steps or 0.0
        bare = curve if rates else replace(curve, lr=np.full(len(curve), np.nan))
        scored.append([look(bare.until(share * total), total, end, told) for share in SHARES])
    return scored


def row(name: str, scored: list[Scored]) -> str:
    values = np.array(scored, dtype=float)
    cells = [
        f"{100 * np.median(np.abs(values[:, k, 0])):.1f} · {100 * np.median(values[:, k, 1]):.1f} ·"
        f" {values[:, k, 2].mean():.2f}"
        for k in range(len(SHARES))
    ]
    narrows = np.mean(np.diff(values[:, :, 1], axis=1) < 0)
    return f"| {name} | {len(scored)} | {' | '.join(cells)} | {narrows:.2f} |"


def alarms() -> list[str]:
    """How soon a rise is named, and how often a healthy run is said to rise."""
    false = []
    late: dict[float, list[float]] = {rate: [] for rate in RATES}
    off: dict[float, list[float]] = {rate: [] for rate in RATES}
    for schedule in SCHEDULES:
        for seed in SEEDS:
            curve = as_logged(make_curve(schedule, seed), 1.0, rates=True, dirt=None)
            false += [rising(curve.until(share * curve.step[-1])) is not None for share in SHARES]
            turn = int(0.6 * len(curve))
            for rate in RATES:
                growth = np.exp(rate * np.maximum(0, np.arange(len(curve)) - turn))
                worse = replace(curve, loss=curve.loss * growth)
                for after in range(1, len(curve) - turn):
                    rise = rising(worse.until(curve.step[turn + after]))
                    if rise is not None:
                        late[rate].append(after)
                        off[rate].append(abs(np.searchsorted(curve.step, rise.since) - turn))
                        break
                else:
                    late[rate].append(np.inf)
    said = [
        f"a loss that grows by {100 * rate:g}% a logged point is named after {np.median(late[rate]):.0f} points (90% of"
        f" the curves: {np.quantile(late[rate], 0.9, method='higher'):.0f}), and the step given is"
        f" {np.median(off[rate]):.0f} points off"
        for rate in RATES
    ]
    return [f"Rises: {'; '.join(said)}. Healthy curves said to rise: {100 * np.mean(false):.1f}% of the looks."]


def main() -> None:
    workspaces = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
    heads = " | ".join(f"at {100 * share:.0f}%" for share in SHARES)
    lines = [f"| curves | n | {heads} | narrower than the look before |", "| --- | --- |" + " --- |" * 6]
    everything = []
    for schedule in SCHEDULES:
        for name, rates, told in (
            ("rates logged", True, None), ("no rates, schedule told", False, TOLD[schedule]), ("no rates", False, None),
        ):  # fmt: skip
            scored = known_curves(schedule, rates=rates, told=told)
            everything += scored
            lines.append(row(f"{schedule}, {name}", scored))
            print(lines[-1], flush=True)
    lines.append(row("all of these", everything))
    if workspaces:
        lines.append(row("real, schedule told", scored_real(workspaces, rates=True, told="multi_step")))
        lines.append(row("real, rates logged", scored_real(workspaces, rates=True, told=None)))
        lines.append(row("real, no rates", scored_real(workspaces, rates=False, told=None)))
    lines += ["", *alarms()]
    print("\n".join(lines))
    if "--write" in sys.argv:
        write("watch", lines)


if __name__ == "__main__":
    main()
