"""What a verb's result looks like to a person. Tables to standard output, warnings to standard error."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable

from rich.console import Console

from forescale.cli import ladder_tables, law_tables
from forescale.cli.grid import Data, anything, cell, console, table
from forescale.cli.words import duration, num, percent, size, span, unit

SAMPLE_CHARACTERS = 400


def show(name: str, data: Data) -> None:
    """Print a verb's result by its own layout, or key by key."""
    out = console(sys.stdout)
    LAYOUTS.get(name, anything)(data, out)
    warn([str(text) for text in data.get("warnings") or []])
    for name, plan in zip(data.get("names") or [], data.get("plans") or [], strict=False):
        warn(f"{name}: {text}" for text in plan["warnings"])
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
    out.print(f"corpus digest: {corpus['sha256']}")
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
    """One artifact in words, a comparison and what it was made of, or all of a workspace."""
    if data.get("kind") == "comparison":
        out.print(f"{data['path']}: comparison of {' and '.join(data['comparison']['corpora'])}\n")
        law_tables.compare(data["comparison"], out)
        warn(data["comparison"]["warnings"])
    if data.get("kind") == "laws" and "laws" in data:
        out.print(f"{data['path']}: laws fitted to {data['laws']['source']}\n")
        guesses = data["laws"].get("guesses") or {}
        if guesses:
            out.print("columns read: " + ", ".join(f"{ours} from {theirs}" for ours, theirs in guesses.items()))
        law_tables.fit(data["laws"], out)
        return warn(data["laws"]["warnings"])
    if data.get("kind") in ("plan", "run", "sft", "dpo") and "recipe" not in data:
        return plan_or_run(data, out)
    if "artifacts" in data:
        place = data.get("workspace") or data["path"]
        table(
            out, f"Artifacts of {place}", ("path", "kind", "made", "files", "size", "whole"),
            [(a["path"], a["kind"], a["made_at"], num(a["files"]), size(a["bytes"]), _whole(a))
             for a in data["artifacts"]],
        )  # fmt: skip
        if data.get("comparisons"):
            out.print(f"comparisons (`forescale show` one of them): {', '.join(data['comparisons'])}")
        _lineage(data, out)
        return
    made = data["made_by"]
    out.print(f"{data['path']}: {data['kind']}, {num(data['files'])} files, {size(data['bytes'])}")
    out.print(f"made by forescale {made.get('verb', '?')} (version {made.get('version', '?')}) at {data['made_at']}")
    out.print(f"recipe {data['recipe'][:16]}, seed {data['seed']}; files whole: {_whole(data)}")
    anything({key: data[key] for key in ("settings", "summary") if data[key]}, out)
    _lineage(data, out)


def plan_or_run(data: Data, out: Console) -> None:
    """A plan or a run, its lines of the ledger, and whether its files are what these say."""
    out.print(f"{data['path']}: {data['kind']} {data['name']}\n")
    if data["kind"] == "plan":
        law_tables.plan(data["plan"], out)
        warn(data["plan"]["warnings"])
    elif data["kind"] == "run":
        for record in data["records"]:
            pretrain(record, out)
        if data["status"] == "not ended":
            total = max(data["spec"]["branches"])
            out.print(f"not ended: {num(total)} tokens are to be trained (forescale watch {data['path']})")
    else:
        anything({key: value for key, value in data["record"].items() if key != "stages"}, out)
    if data.get("entries"):
        out.print()
        law_tables.ledger_lines(data["entries"], out)
    if "wrong" in data:
        known = "what the ledger says" if data.get("entries") else "not checked: no line of the ledger is about it"
        out.print(f"files: {'; '.join(data['wrong']) or known}")
    _lineage(data, out)


def _lineage(data: Data, out: Console) -> None:
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


def corpus(data: Data, out: Console) -> None:
    """What was kept, what was removed and why, how clean the validation split is."""
    train, held = data["train"], data["validation"]
    out.print(
        f"{num(data['read_documents'])} documents ({size(data['read_bytes'])}) read from {num(data['files'])} files, "
        f"{num(data['documents'])} ({size(data['bytes'])}) kept"
    )
    table(
        out, "Removed", ("reason", "documents", "size"),
        [(reason, num(n), size(data["removed_bytes"].get(reason, 0))) for reason, n in data["removed"].items()],
    )  # fmt: skip
    out.print(
        f"training {num(train['documents'])} ({size(train['bytes'])}), validation {num(held['documents'])} "
        f"({size(held['bytes'])}), split by {data['split_by']}"
    )
    contact = data["contact"]
    out.print(f"{percent(contact['rate'])} of the validation text's {contact['n']}-grams occur in training")
    _quarantine(data, out)
    out.print(f"corpus digest: {data['sha256']}")


def dedup(data: Data, out: Console) -> None:
    """What was removed, by level and by dump."""
    out.print(
        f"{num(data['removed_documents'])} of {num(data['documents'])} documents removed "
        f"({size(data['removed_bytes'])} of {size(data['bytes'])})"
    )
    levels = [(level, name, num(n)) for level, counts in data["by_level"].items() for name, n in counts.items()]
    table(out, "By level", ("level", "what", "removed"), levels)
    table(
        out, "By dump", ("dump", "documents", "removed"),
        [(name, num(row["documents"]), num(row["removed_documents"])) for name, row in data["by_dump"].items()],
    )  # fmt: skip
    _quarantine(data, out)


def _quarantine(data: Data, out: Console) -> None:
    rows = [(q["file"], "" if q["line"] is None else str(q["line"]), q["reason"]) for q in data["quarantine"][:10]]
    table(out, f"Could not be read: {num(data['quarantined'])}", ("file", "line", "reason"), rows)


def sample(data: Data, out: Console) -> None:
    """Documents one below the other."""
    for document in data["documents"]:
        rest = {key: value for key, value in document.items() if key not in ("id", "text")}
        out.print(f"{document['id']}  ({cell(rest)})", style="bold")
        out.print(document["text"][:SAMPLE_CHARACTERS] + "\n")


def pretrain(data: Data, out: Console) -> None:
    """How the run ended; a dry run is printed key by key."""
    if "validation" not in data:
        return anything(data, out)
    shape, loss = data["shape"], data["validation"]
    out.print(f"{data['run']}: {data['status']} {data['reason']}".rstrip())
    out.print(
        f"{shape['n_layer']} layers, width {num(shape['d_model'])}; {num(data['tokens'])} tokens, {num(data['steps'])} "
        f"steps, {duration(data['seconds'])}, {num(data['tokens_per_second'])} tokens/s"
    )
    if loss:
        per_token, bits = loss["nats"] / loss["tokens"], loss["nats"] / math.log(2) / loss["bytes"]
        out.print(f"validation: {num(bits)} bits/byte, {num(per_token)} nats/token, on {num(loss['tokens'])} tokens")
    out.print(f"weights: {data['weights']}")


def evaluate(data: Data, out: Console) -> None:
    """Scores with their intervals."""
    out.print(f"{data['model']} in {data['precision']}")
    table(
        out, "", ("task", "metric", "score", "interval", "items", "protocol"),
        [(name, task["metric"], num(task["score"]), span(task["interval"]), num(task["n"]), task["protocol"])
         for name, task in data["tasks"].items()],
    )  # fmt: skip


def example(data: Data, out: Console) -> None:
    """The text as it is, ready for a file; or where it was written."""
    if "text" in data:
        out.file.write(data["text"])
    else:
        anything(data, out)


LAYOUTS: dict[str, Callable[[Data, Console], None]] = {
    "fit": law_tables.fit,
    "forecast": law_tables.forecast,
    "plan": law_tables.plan,
    "compare": law_tables.compare,
    "ledger": law_tables.ledger,
    "ladder": ladder_tables.ladder,
    "ladder suggest": ladder_tables.suggest,
    "watch": law_tables.watch,
    "demo": demo,
    "check": check,
    "show": artifact,
    "example": example,
    "clean": corpus,
    "corpus stats": corpus,
    "corpus sample": sample,
    "dedup": dedup,
    "pretrain": pretrain,
    "evaluate": evaluate,
}
"""Verbs with a layout of their own; the others are printed key by key."""
