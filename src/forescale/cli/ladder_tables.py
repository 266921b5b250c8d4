"""A ladder and the runs to make next, for people."""

from __future__ import annotations

from rich.console import Console

from forescale.cli.grid import Data, anything, table
from forescale.cli.words import num, percent


def suggest(data: Data, out: Console) -> None:
    """The next runs and what they buy; shape and steps where they can be trained as they stand."""
    built = any(run.get("n_layer") for run in data["runs"])
    rows = [
        (num(run.get("flops_per_token") or run.get("params")),
         *((f"{num(run['n_layer'])} x {num(run['d_model'])}", num(run["steps"])) if built else ()),
         num(run["tokens"]), num(run["flops"]), num(run["lr"]), num(run["batch_tokens"]), num(run["seed"]))
        for run in data["runs"]
    ]  # fmt: skip
    columns = ("size", *(("layers x width", "steps") if built else ()), "tokens", "FLOPs", "learning rate",
               "batch (tokens)", "seed")  # fmt: skip
    table(out, "Run next", columns, rows)
    if not data["runs"]:
        out.print(f"width at {num(data['target_flops'])} FLOPs: {percent(data['width_now'])} now; no run is suggested")
        return
    out.print(f"width at {num(data['target_flops'])} FLOPs: {percent(data['width_now'])} now, "
              f"{percent(data['width_after'])} after {num(data['flops'])} FLOPs")  # fmt: skip


def ladder(data: Data, out: Console) -> None:
    """How it ended; of rounds of suggested runs, what each promised beside what came."""
    anything({key: value for key, value in data.items() if key != "rounds"}, out)
    table(
        out, "Rounds: width of the target's interval",
        ("round", "target (FLOPs)", "runs", "FLOPs", "before", "by the laws", "promised", "came"),
        [(num(k), num(r["target_flops"]), num(len(r["runs"])), num(r["flops"]), percent(r["width_before"]),
          percent(r["expected"]), percent(r["promised"]), percent(r["width_after"]) if r["ended"] else "not ended")
         for k, r in enumerate(data["rounds"], 1)],
    )  # fmt: skip
