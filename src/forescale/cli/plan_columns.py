"""Several plans for people: one table, a plan a column, so that what differs is read across."""

from __future__ import annotations

from rich.console import Console

from forescale.cli.grid import Data, table
from forescale.cli.words import duration, num, percent, span, unit


def plans(data: Data, out: Console) -> None:
    """What each plan trains, needs, costs and will reach."""
    columns = [_column(plan) for plan in data["plans"]]
    filled = [label for label in columns[0] if any(column[label] not in ("", "–") for column in columns)]
    table(
        out, "Plans side by side", ("", *data["names"]),
        [(label, *(column[label] for column in columns)) for label in filled],
    )  # fmt: skip
    by = {(plan["forecast"]["source"], plan["forecast"]["unit"]) for plan in data["plans"] if plan["forecast"]}
    if len(by) > 1:
        out.print(
            "The forecasts come from different laws: losses on other text and by other tokenizers, which cannot be "
            "compared with one another. What each plan trains, needs and costs can be."
        )


def _column(plan: Data) -> dict[str, str]:
    """Label -> words; a row that says nothing for any plan is left out of the table."""
    model, layout, cost, forecast = plan["model"], plan["layout"], plan["cost"], plan["forecast"]
    return {
        "FLOPs (M x tokens)": num(plan["flops"]),
        "layers x width": f"{model['n_layer']} x {num(model['d_model'])}",
        "heads (key/value)": f"{model['n_head']} ({model['n_kv_head']})",
        "feed-forward": num(model["d_ffn"]),
        "parameters": num(model["params"]),
        "without embeddings": num(model["params_non_embedding"]),
        "FLOPs a token, M": num(plan["flops_per_token"]),
        "tokens, D": num(plan["tokens"]),
        "tokens a parameter": num(plan["tokens"] / model["params"], 3),
        "epochs": num(plan["epochs"], 3) if plan["epochs"] > 1 else "",
        "batch (tokens)": num(plan["batch_tokens"]),
        "learning rate": num(plan["learning_rate"]),
        "steps": num(plan["steps"]),
        "warm-up steps": num(plan["warmup_steps"]),
        "devices": f"{num(plan['gpus'])} x {plan['device']}" if plan["device"] and plan["gpus"] else "",
        "data x tensor x pipeline": f"{layout['data']} x {layout['tensor']} x {layout['pipeline']}" if layout else "",
        "sharded over copies": layout.get("sharding") or "" if layout else "",
        "GiB a device": num(layout["memory_gib_per_device"], 3) if layout else "",
        "utilisation at work": percent(plan["utilisation"], 0) if plan["utilisation"] and plan["gpus"] else "",
        "time at work": percent(layout["busy"], 0) if layout and layout["busy"] is not None else "",
        "days": num(layout["days"], 3) if layout else "",
        "measured time": duration(plan["seconds"]) if plan["seconds"] is not None else "",
        "device-hours": num(cost["device_hours"]),
        "money": num(cost["money"]),
        "ladder's share": percent(cost["ladder_share"]),
        "checkpoint (GiB)": num(plan["checkpoint_gib"], 3),
        "forecast": f"{num(forecast['loss'])} {unit(forecast['unit'])}" if forecast else "",
        "interval": span(forecast["interval"]) if forecast else "",
        "level": percent(forecast["level"], 0) if forecast and forecast["interval"] else "",
        "x measured compute": num(forecast["extrapolation"]["flops"], 3) if forecast else "",
        "laws": plan["laws"],
        "not of these laws": "; ".join(f"{what}: {whose}" for what, whose in (plan.get("borrowed") or {}).items()),
        "warnings": num(len(plan["warnings"])),
    }
