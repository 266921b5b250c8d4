"""The public ladders that forecasts are scored on: loaders from the folder of facts, one suite a list of runs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Suite:
    """One family's runs: sizes in parameters (6 N D = C)."""

    name: str
    family: str
    kind: str
    size: Array
    tokens: Array
    loss: Array

    @property
    def flops(self) -> Array:
        return 6.0 * self.size * self.tokens

    def rows(self) -> list[dict[str, float]]:
        return [
            {"params": float(n), "tokens": float(d), "loss": float(v)}
            for n, d, v in zip(self.size, self.tokens, self.loss, strict=True)
        ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _suite(name: str, family: str, kind: str, rows: list[tuple[float, float, float]]) -> Suite:
    n, d, v = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return Suite(name, family, kind, n, d, v)


def chinchilla(folder: Path) -> Suite:
    rows = [r for r in read(folder / "chinchilla_points.csv") if r["epoch_outlier"] == "0"]
    return _suite(
        "chinchilla", "chinchilla", "isoflop",
        [(float(r["params"]), float(r["tokens"]), float(r["loss"])) for r in rows],
    )  # fmt: skip


def gadre(folder: Path, train_set: str, name: str) -> Suite:
    rows = [r for r in read(folder / "gadre_overtrain_c4_rpj.csv") if r["train_set"].startswith(train_set)]
    return _suite(
        name, "gadre", "over-trained",
        [(float(r["params"]), float(r["tokens"]), float(r["loss_c4_val"])) for r in rows if r["loss_c4_val"]],
    )  # fmt: skip


def marin(folder: Path) -> Suite:
    rows = [r for r in read(folder / "marin_isoflop_comma.csv") if r["outlier"] != "True"]
    return _suite(
        "marin comma", "marin", "isoflop", [(float(r["params"]), float(r["tokens"]), float(r["loss"])) for r in rows]
    )


def porian(folder: Path, hparams: str, decay: str, name: str, count: str = "standard") -> Suite:
    rows = [
        r
        for r in read(folder / "porian_isoflop_refinedweb.csv")
        if r["hparams"] == hparams and r["decay"] == decay and r["param_count"] == count and r["loss_kind"] == "val"
        and r["warmup"] == "short"
    ]  # fmt: skip
    points = [
        (n, float(r["tokens"]) if r["tokens"] else float(r["budget_flops"]) / (6 * n), float(r["loss"]))
        for r in rows
        for n in [float(r["params"])]
    ]
    return _suite(name, "porian", "isoflop", points)


def misfitting(folder: Path) -> Suite:
    best: dict[tuple[str, str], tuple[float, float, float]] = {}
    for r in read(folder / "misfitting_lr_sweeps.csv"):
        point = (float(r["params"]), float(r["tokens"]), float(r["loss"]))
        key = (r["params"], r["tokens"])
        if key not in best or point[2] < best[key][2]:
            best[key] = point
    return _suite("misfitting best LR", "misfitting", "grid", list(best.values()))


SUITES: dict[str, Callable[[Path], Suite]] = {
    "chinchilla": chinchilla,
    "gadre C4": lambda f: gadre(f, "c4", "gadre C4"),
    "gadre RPJ": lambda f: gadre(f, "rpj", "gadre RPJ"),
    "marin comma": marin,
    "porian tuned": lambda f: porian(f, "tuned", "const", "porian tuned"),
    "porian cosine": lambda f: porian(f, "base", "chinchilla", "porian cosine"),
    "misfitting": misfitting,
}


def load_all(folder: Path) -> list[Suite]:
    """All suites that are in this folder."""
    return [load(folder) for load in SUITES.values()]
