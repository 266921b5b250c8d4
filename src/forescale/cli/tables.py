"""What a verb's result looks like to a person. Tables to standard output, warnings to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from rich.console import Console

from forescale.cli import law_tables
from forescale.cli.grid import Data, anything, cell, console, table
from forescale.cli.words import duration, num, percent, size, span, unit


def show(name: str, data: Data) -> None:
    """Print a verb's result by its own layout, or key by key."""
    out = console(sys.stdout)
    LAYOUTS.get(name, anything)(data, out)
    warn([str(text) for text in data.get("warnings") or []])
    error = data.get("error")
    if isinstance(error, dict):
        lines = [f"error: {error['what']}", f"why: {error.get('why')}", f"try: {error.get('remedy')}"]
        print("\n".join(line for line in lines if not line.endswith((": ", ": None"))), file=sys.stderr)


def warn(texts: Iterable[str]) -> None:
    """Warnings, one a line, on standard error."""
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)


def demo(data: Data, out: Console) -> None:
    """Forecast, interval, outcome; where report and model lie; time by phase."""
    corpus, flops = data["corpus"], data["flops"]
    removed = ", ".join(f"{reason} {num(count)}" for reason, count in corpus["removed"].items()) or "nothing"
    out.print(f"corpus: {num(corpus['documents'])} documents, {size(corpus['bytes'])}; removed: {removed}")
    out.print(f"digest: {corpus['sha256']}")
    table(out, "Time", ("phase", "took"), [(name, duration(took)) for name, took in data["seconds"].items()])
    out.print(
        f"ladder: {data['ladder_runs']} runs, largest {num(flops['ladder'])} FLOPs, {num(flops['ladder_total'])} in "
        f"all; target {num(flops['target'])} ({num(flops['target'] / flops['ladder'], 3)} ×); regime {data['regime']}"
    )
    words = unit(data["unit"])
    out.print(f"forecast: {num(data['forecast'])} {words}, interval {span(data['interval'])}")
    if data["outcome"] is not None:
        error = percent(data["forecast"] / data["outcome"] - 1, sign=True)
        inside = not data["interval"] or data["interval"][0] <= data["outcome"] <= data["interval"][1]
        out.print(f"outcome:  {num(data['outcome'])} {words} (error {error}, {'inside' if inside else 'OUTSIDE'})")
    out.print(f"report: {data['report']}\nchat:   forescale chat {data['chat_model']}")


def check(data: Data, out: Console) -> None:
    """The recipe with origins, then inputs, machine, artifacts, price."""
    table(
        out, f"Recipe of {data['workspace']}", ("key", "value", "from", "range"),
        [(r["key"], cell(r["value"]), r["from"], r["range"]) for r in data["recipe"]],
    )  # fmt: skip
    table(
        out, "Inputs", ("source", "there", "files", "size", "kinds"),
        [(i["source"], num(i["exists"]), num(i["files"]), size(i["bytes"]), cell(i["kinds"])) for i in data["inputs"]],
    )  # fmt: skip
    devices, disk = data["devices"], data["disk"]
    out.print(f"machine: {devices['machine']}, {num(devices['memory_gib'])} GiB; GPUs: {cell(devices['gpus'])}")
    out.print(f"disk: {num(disk['free_gib'])} GiB free, the workspace takes {num(disk['workspace_gib'])} GiB")
    out.print(f"artifacts: {', '.join(data['artifacts']) or 'none yet'}\n")
    table(
        out, "Price of the plans", ("plan", "FLOPs", "device-hours", "money"),
        [(p["plan"], num(p["flops"]), num(p.get("device_hours")), num(p.get("money"))) for p in data["price"]],
    )  # fmt: skip


def artifact(data: Data, out: Console) -> None:
    """One artifact in words, or all of a workspace."""
    if "artifacts" in data:
        table(
            out, f"Artifacts of {data['workspace']}", ("path", "kind", "made", "files", "size", "whole"),
            [(a["path"], a["kind"], a["made_at"], num(a["files"]), size(a["bytes"]), _whole(a))
             for a in data["artifacts"]],
        )  # fmt: skip
        return
    made = data["made_by"]
    out.print(f"{data['path']}: {data['kind']}, {num(data['files'])} files, {size(data['bytes'])}")
    out.print(f"made by forescale {made.get('verb', '?')} (version {made.get('version', '?')}) at {data['made_at']}")
    out.print(f"recipe {data['recipe'][:16]}, seed {data['seed']}; files whole: {_whole(data)}")
    anything({key: data[key] for key in ("settings", "summary") if data[key]}, out)
    if "lineage" in data:
        out.print("lineage:")
        _branch(data["lineage"], out, "  ")


def _whole(entry: Data) -> str:
    if "wrong" not in entry:
        return "not checked"
    return "; ".join(entry["wrong"]) or "yes"


def _branch(node: Data, out: Console, indent: str) -> None:
    out.print(f"{indent}{node.get('kind', 'no longer here')} {node['recipe'][:8]} {node.get('path', '')}".rstrip())
    for parent in node.get("parents", []):
        _branch(parent, out, indent + "  ")


LAYOUTS: dict[str, Callable[[Data, Console], None]] = {
    "fit": law_tables.fit,
    "forecast": law_tables.forecast,
    "plan": law_tables.plan,
    "compare": law_tables.compare,
    "ledger": law_tables.ledger,
    "ladder suggest": law_tables.suggest,
    "demo": demo,
    "check": check,
    "show": artifact,
}
"""Verbs with a layout of their own; the others are printed key by key."""
