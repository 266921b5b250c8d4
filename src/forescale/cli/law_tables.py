"""Fit, forecast, plan, comparison and ledger for people; units always said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from forescale.cli.grid import Data, anything, cell, table
from forescale.cli.left_out import left_out
from forescale.cli.plan_columns import plans
from forescale.cli.words import duration, num, percent, probability, span, unit

BORROWED = ("allocation of compute", "learning-rate law", "batch law")
"""Laws that a plan may have from others, as it names them."""
SHARDED = {
    "full": "weights, gradients and optimizer are sharded over the copies (ZeRO-3; --sharding zero1: only the last)",
    "zero1": "the optimizer is sharded over the copies, each holds weights and gradients whole (ZeRO-1)",
}
LEDGER_COLUMNS = (
    "plan", "run", "kind", "at", "FLOPs", "× ladder", "forecast", "interval", "outcome", "error", "inside", "counts",
)  # fmt: skip


def fit(data: Data, out: Console) -> None:
    """The laws, each with its intervals."""
    if "surface" not in data:
        return reading(data, out)
    runs, per = data["runs"], probability(data["level"])
    varied = {"lr", "batch_tokens"} & (data.get("conditions") or {}).keys()
    beaten = (
        "only for the laws of rate and batch" if varied or not runs["tuning"] else "beaten at their own size and tokens"
    )
    out.print(
        f"{runs['used']} runs used, {runs['tuning']} {beaten}, {len(runs['left_out'])} left out"
        f" · size {data['scale']} · {unit(data['unit'])}"
    )
    smallest = f"{num(data['smallest_rung'])} FLOPs" if data["smallest_rung"] else "none"
    rest = ", but all finished runs are used" if data["regime"] == "pre-scaling" else ""
    out.print(f"regime: {data['regime']} · smallest rung on the curve: {smallest}{rest}")
    out.print()
    left_out(runs["left_out"], out)
    table(out, f"Laws, with {per} intervals", ("law", "parameter", "value", "interval"), _law_rows(data))
    if data["surface"] and data["compute"]:
        out.print(
            f"two floors: E of the loss surface ({num(data['surface']['E'])}) is fitted to all runs, and forecasts rest"
            f" on it; E of the {_best(data)} ({num(data['compute']['E'])}) to the best loss of each budget alone\n"
        )
    if _is_flat(data["surface"]):
        said = next((text for text in data["warnings"] if text.startswith("flat: ")), "flat: the loss does not fall")
        why = said.removeprefix("flat: ").partition(". No allocation")[0]
        out.print(f"a flat ladder has a floor E and no slopes: {why}\n")
    table(
        out, "Seed noise", ("FLOPs", "sd of the loss", "replicates"),
        [(num(n["flops"]), percent(n["seed_sd"], 3), num(n["replicates"])) for n in data["noise"]],
    )  # fmt: skip
    _self_check(data.get("self_check"), out)
    if len(data.get("scales") or {}) > 1:
        errors = ", ".join(f"{scale} {percent(error)}" for scale, error in data["scales"].items())
        out.print(
            "which unit of size to choose, by a check of its own (the generalised form alone, whatever --form says,"
            f" forecasting the runs beyond each of several budgets): median error {errors}"
        )


def reading(data: Data, out: Console) -> None:
    """How a table would be read (`--dry-run`): nothing is fitted."""
    runs = data["runs"]
    rest = {key: value for key, value in data.items() if key != "runs" and value not in ({}, [])}
    anything({"runs used": runs["used"], "left out": len(runs["left_out"]), **rest}, out)
    out.print()
    left_out(runs["left_out"], out)


def _law_rows(data: Data) -> list[tuple[str, str, str, str]]:
    rows = []
    surface = data["surface"]
    if surface:
        names = [key for key in ("E", "A", "alpha", "B", "beta", "gamma") if key in surface]
        names = ["E"] if _is_flat(surface) else names
        rows += _parameters(f"loss ({surface['form']})", surface, names)
    if data["allocation"]:
        names = ["model_exponent", "data_exponent", "model_coefficient", "data_coefficient"]
        origin = {"isoflop": "best split (IsoFLOP minima)", "surface": "best split (surface)"}
        rows += _parameters(origin.get(data["allocation"].get("method", ""), "best split"), data["allocation"], names)
    if data["compute"]:
        rows += _parameters(_best(data), data["compute"], ["E", "k", "alpha"])
    for key, words in (("learning_rate", "learning rate"), ("batch", "batch (tokens)")):
        law = data[key]
        if law:
            flat = {"coefficient": law["coefficient"], **law["exponents"], "intervals": law["intervals"]}
            rows += _parameters(words, flat, ["coefficient", *law["exponents"]])
    return rows


def _best(data: Data) -> str:
    """What the compute law is of: without an allocation nobody knows the best split, only the best run tried."""
    return "loss at best split" if data["allocation"] else "lowest loss tried, by compute"


def _is_flat(surface: Any) -> bool:
    return bool(surface) and surface["form"] == "flat"


def _parameters(law: str, values: Data, names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    intervals = values.get("intervals") or {}
    return [
        (law if index == 0 else "", name, num(values[name]), span(intervals.get(name)))
        for index, name in enumerate(names)
    ]


def _self_check(check: Any, out: Console) -> None:
    if check:
        out.print(
            f"self-check: with runs above {num(check['held_out_above'])} FLOPs hidden, their median error was "
            f"{percent(check['median_error'])}, {percent(check['coverage'], 0)} of {check['n']} inside their interval"
        )


def forecast(data: Data, out: Console) -> None:
    """The loss, its interval, and what it rests on."""
    if "loss" not in data:
        return anything(data, out)
    _forecast(data, out)
    if data["scale"] != "M":
        out.print(
            f"compute here is {compute_of(data['scale'])}, as these laws count it; `plan --flops` means M x tokens, "
            "which counts attention and no embeddings: the same number there is another run"
        )


def compute_of(scale: str) -> str:
    """What laws of a unit of size mean by compute.

    >>> compute_of("M"), compute_of("N2")
    ('M x tokens', '6 x N2 x tokens')
    """
    return "M x tokens" if scale == "M" else f"6 x {scale} x tokens"


def _forecast(data: Data, out: Console, how: str = "best there:") -> None:
    """`how`: what learning rate and batch are: the laws' best ones, or the plan's own."""
    loss = f"{num(data['loss'], 5)} {unit(data['unit'])}"
    if data["interval"]:
        low, high = data["interval"]
        width = percent((high - low) / data["loss"], 1)
        out.print(f"loss {loss}, {probability(data['level'])} interval {span(data['interval'], 5)} (width {width})")
    else:
        out.print(f"loss {loss}, no interval")
    where = f"{num(data['flops'])} FLOPs ({compute_of(data['scale'])}), {data['scale']} = {num(data['model_scale'])}"
    out.print(f"for one new run of {where}, {num(data['tokens'])} tokens")
    if data["learning_rate"] is not None:
        out.print(f"{how} learning rate {num(data['learning_rate'])}, batch {num(data['batch_tokens'])} tokens")
    ratio = data["extrapolation"]  # three runs, it may be: none need have both the largest size and the most tokens
    out.print(f"extrapolation: {_times(ratio['flops'])} the largest compute of any run, {_times(ratio['size'])} the "
              f"largest size, {_times(ratio['tokens'])} the most tokens")  # fmt: skip
    out.print(f"laws: {data['source']} · regime: {data['regime']}\n")
    _assumptions(data, out)
    _self_check(data["self_check"], out)


def _assumptions(data: Data, out: Console) -> None:
    """What the forecast takes for granted; columns that nothing is in are left out."""
    found = data["assumptions"]
    raised, why = any(a["raised"] >= 5e-5 for a in found), any(a["why"] for a in found)
    columns = ("what", "ladder", "target", "charged", *(["raised"] if raised else []), *(["why"] if why else []))
    table(
        out, "Assumptions", columns,
        [(a["what"], cell(a["ladder"]), cell(a["target"]), percent(a["charged"]),
          *([percent(a["raised"])] if raised else []), *([a["why"]] if why else [])) for a in found],
    )  # fmt: skip
    if raised:
        best = data["loss"] / math.prod(1 + a["raised"] for a in found)
        down = data["interval"] and data["interval"][0] <= best * (1 + 1e-9)
        reach = "; the interval still reaches down to the best setting's" if down else ""
        out.print(f"raised: the forecast itself is higher by so much{reach}\n")


def _times(value: Any) -> str:
    return "unknown ×" if value is None else f"{num(value, 3)} ×"


def plan(data: Data, out: Console) -> None:
    """Shape, training, cost; what the laws alone would say beside it. Several: a column each."""
    if "plans" in data:
        return plans(data, out)
    model, say = data["model"], data["laws_say"]
    whose = {key: f" ({data['borrowed'][key]})" if key in (data.get("borrowed") or {}) else "" for key in BORROWED}
    rows = [
        ("FLOPs (M x tokens)", num(data["flops"]), num(data["flops_asked"]) + " asked"),
        (
            "FLOPs a token, M",
            num(data["flops_per_token"]),
            num(say["flops_per_token"]) + whose["allocation of compute"],
        ),
        ("tokens", num(data["tokens"]), num(say["tokens"]) + whose["allocation of compute"]),
        ("batch (tokens)", num(data["batch_tokens"]), num(say["batch_tokens"]) + whose["batch law"]),
        ("learning rate", num(data["learning_rate"]), num(say["learning_rate"]) + whose["learning-rate law"]),
        ("steps, warm-up", f"{num(data['steps'])}, {num(data['warmup_steps'])}", ""),
        ("epochs", num(data["epochs"], 3), ""),
    ]
    table(out, f"Plan by {data['laws']}", ("", "plan", "laws say"), rows)
    out.print(
        f"model: {model['n_layer']} layers, width {num(model['d_model'])}, {model['n_head']} heads "
        f"({model['n_kv_head']} key/value), feed-forward {num(model['d_ffn'])}, vocabulary {num(model['vocab_size'])}, "
        f"{num(model['seq_len'])} positions: {num(model['params'])} parameters "
        f"({num(model['params_non_embedding'])} without embeddings)"
    )
    layout, cost = data["layout"], data["cost"]
    if layout:
        out.print(
            f"layout: data {layout['data']} x tensor {layout['tensor']} x pipeline {layout['pipeline']}, "
            f"{layout['micro_batch']} sequences a micro-batch, {num(layout['memory_gib_per_device'], 3)} GiB a device, "
            f"{num(layout['days'], 3)} days" + _device(data)
        )
        if layout.get("sharding"):
            out.print(f"memory: {SHARDED[layout['sharding']]}")
    if data.get("seconds") is not None:
        out.print(f"time: {duration(data['seconds'])} on this machine, by the speed measured now")
    alone = f" of {data.get('device')} that never wait, at {percent(data.get('utilisation'), 0)} of peak"
    of = alone if data.get("device") and not layout else ""
    out.print(
        f"cost: {num(cost['device_hours'])} device-hours{of}, money {num(cost['money'])}, "
        f"ladder's share {percent(cost['ladder_share'])}, checkpoint {num(data['checkpoint_gib'], 3)} GiB"
    )
    if data["forecast"]:
        out.print("\nForecast")
        _forecast(data["forecast"], out, "with")
        scale = data["forecast"]["scale"]
        if scale != "M":
            out.print(
                f"these laws count compute as {compute_of(scale)}, the plan as M x tokens: the run is the same; "
                f"`forecast --flops` means the former"
            )
    table(
        out, "Batch against time", ("batch (tokens)", "tokens", "hours", "money"),
        [(num(p["batch_tokens"]), num(p["tokens"]), num(p["hours"]), num(p["money"])) for p in data["pareto"] or []],
    )  # fmt: skip


def _device(data: Data) -> str:
    if not data.get("device"):
        return ""
    layout, gpus = data["layout"], data.get("gpus")
    used = layout["data"] * layout["tensor"] * layout["pipeline"]
    which = f"{num(used)} of {num(gpus)}" if used != gpus else num(gpus)
    said = f" on {which} {data['device']} at {percent(data.get('utilisation'), 0)} of peak while they work"
    return said if layout.get("busy") is None else f"{said}, which is {percent(layout['busy'], 0)} of the time"


def compare(data: Data, out: Console) -> None:
    """Corpora side by side."""
    table(
        out, "Corpora", ("corpus", "runs", "model exponent", "interval", "data exponent", "regime"),
        [(name, num(laws["runs"]["used"]), num(data["exponents"][name]["model_exponent"]),
          span(data["exponents"][name]["interval"]), num((laws["allocation"] or {}).get("data_exponent")),
          laws["regime"]) for name, laws in data["corpora"].items()],
    )  # fmt: skip
    _better("Better", (), [((), b) for b in data["better"]], out)
    for crossing in data["crossings"]:
        chance = crossing.get("probability")
        likely = f" (probability {percent(chance, 0)})" if chance is not None else ""
        out.print(f"{' and '.join(crossing['pair'])} change places at {num(crossing['flops'])} FLOPs{likely}\n")
    if data["sets"]:
        _better("Set by set", ("set",), [((s,), b) for s, order in data["sets"].items() for b in order["better"]], out)
    table(
        out, "Like runs side by side (loss of the first over the second)",
        ("FLOPs", "pair", "pairs of runs", "difference", "90% interval", "first better"),
        [(num(p["flops"]), ", ".join(p["pair"]), num(p["runs"]), percent(p["difference"], sign=True),
          f"{percent(p['interval'][0], sign=True)} to {percent(p['interval'][1], sign=True)}" if p["interval"] else "",
          num(p["first_better"])) for p in data["paired"]],
    )  # fmt: skip
    for line in data["trends"]:
        low, high = (percent(edge, sign=True) for edge in line["interval"])
        where = f"crossing at {num(line['crossing'])} FLOPs" if line["crossing"] else "no crossing near"
        out.print(
            f"trend of {line['pair'][0]} against {line['pair'][1]}: {percent(line['slope'], sign=True)} for ten times "
            f"the compute (90%: {low} to {high}), {where}"
        )
    if data["outside"]:
        used = ", ".join(f"{s['name']} {num(s['used_documents'])} documents" for s in data["outside"]["sets"])
        touch = ", ".join(f"{name} {num(100 * rate, 2)}%" for name, rate in data["outside"]["contact"].items())
        out.print(f"scored on {num(data['outside']['scored_tokens'])} tokens of: {used}; word n-grams shared: {touch}")
    if data["report"]:
        out.print(f"report: {data['report']}")


def _better(title: str, head: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], Data]], out: Console) -> None:
    """Orders by compute; where a corpus is too small for its best split there, how often it would be repeated."""
    repeated = any(b.get("repeats") for _, b in rows)
    body = []
    for before, b in rows:
        times = ", ".join(f"{name} {num(n, 3)} ×" for name, n in (b.get("repeats") or {}).items())
        row = (*before, num(b["flops"]), ", ".join(b["order"]), percent(b["probability"], 0))
        body.append((*row, times) if repeated else row)
    table(out, title, (*head, "FLOPs", "best first", "probability", *(["tokens repeated"] if repeated else [])), body)


def ledger_lines(entries: Sequence[Data], out: Console) -> None:
    """Plans and seals, each with its outcome."""
    table(
        out, "", LEDGER_COLUMNS,
        [(e["plan"], num(e["run"]), e["kind"], e["sealed_at"], num(e["target_flops"]), num(e["extrapolation"], 3),
          num(e["predicted"]), span(e["interval"]), num(e["outcome"]), percent(e["error"], sign=True),
          num(e["inside"]), num(e["counts"])) for e in entries],
    )  # fmt: skip


def ledger(data: Data, out: Console) -> None:
    """Forecast against outcome, line by line."""
    ledger_lines(data["entries"], out)
    cover = data["coverage"]
    if cover["of"]:
        out.print(
            f"inside: {cover['inside']} of {cover['of']} (90% interval of the share {span(cover['interval'], 2)}); "
            f"median error {percent(data['median_error'])}"
        )
    broken = f" at line {data['broken_line']}" if data.get("broken_line") else ": it lacks the published digest"
    intact = "chain intact" if data["entries"] else "the ledger is empty"
    out.print(intact if data["chain_ok"] else f"CHAIN BROKEN{broken}")
    for changed in data.get("changed") or []:
        out.print(f"CHANGED: {changed['what']}")
    if data.get("digest") and data["chain_ok"] and data["entries"]:
        out.print(f"digest to publish: {data['digest']}")


def watch(data: Data, out: Console) -> None:
    """Where a run will end, as seen now and as seen before."""
    words, final = unit(data["unit"]), data["final"]
    of = f" of {num(data['total_steps'])} ({percent(data['progress'], 0)})" if data["total_steps"] else ""
    out.print(f"{data['source']} (read as {data['format']}): step {num(data['step'])}{of}")
    others = data["other_losses"]
    beside = f"; also there: {', '.join(others)} (--column loss=NAME follows one)" if others else ""
    out.print(f"following {data['columns'].get('loss', 'loss')}{beside}")
    out.print(f"loss now {num(data['loss'])} {words}")
    if final:
        out.print(
            f"final loss {num(final['median'])} {words}, {probability(data['level'])} interval"
            f" {span(final['interval'])}"
        )
    else:
        out.print(f"final loss: cannot be told: {data['reason']}")
    if data["rising"]:
        out.print(f"RISING since step {num(data['rising']['since'])}, by {percent(data['rising']['by'])} so far")
    if data["left_since"] is not None:
        how = {"loss": ": the loss there, less all the fall that was to come, ends above it",
               "forecast": ", by the final loss expected from there on"}.get(data["left_by"] or "", "")  # fmt: skip
        out.print(f"OUTSIDE its band {span(data['band'])} since step {num(data['left_since'])}{how}")
    elif data["band"] and final:
        out.print(f"{'if it comes back, ' if data['rising'] else ''}inside its band {span(data['band'])}")
    out.print()
    table(
        out, "As seen from earlier steps", ("step", "final loss", "interval"),
        [(num(look["step"]), num(look["median"]), span(look["interval"])) for look in data["history"]],
    )  # fmt: skip
