"""Training curves from anyone's logs: ours, W&B and TensorBoard tables, Megatron, torchtitan, OLMo, nanochat."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import InputError
from forescale.scaling.columns import evaluations

Array = npt.NDArray[np.float64]

STEP_NAMES = ("step", "_step", "iteration", "iter", "global_step", "trainer/global_step", "steps")
TOKEN_NAMES = ("tokens", "tokens_seen", "n_tokens_seen", "throughput/total tokens", "consumed_tokens", "total_tokens")
LOSS_NAMES = (
    "loss", "train/loss", "train_loss", "train/ce loss", "train/ce_loss", "train/celoss", "lm loss", "lm_loss",
    "lm-loss-training/lm loss", "loss_metrics/global_avg_loss", "global_avg_loss", "training_loss", "train/lm_loss",
    "value",
)  # fmt: skip
RATE_NAMES = (
    "lr", "learning_rate", "learning rate", "train/lr", "train/learning_rate", "optim/lr (group 0)", "optim/lr",
    "learning-rate", "lr/lr", "lrm",
)  # fmt: skip
_NUMBER = r"[-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Curve:
    """A loss curve by step. nan where a log has no learning rate or tokens."""

    step: Array
    loss: Array
    lr: Array
    tokens: Array
    total_steps: float | None
    format: str
    unit: str = "nats_per_token"
    source: str = ""
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.step)

    def until(self, step: float) -> Curve:
        """What was known at a step."""
        seen = self.step <= step
        return Curve(
            self.step[seen], self.loss[seen], self.lr[seen], self.tokens[seen], self.total_steps, self.format,
            self.unit, self.source, self.warnings,
        )  # fmt: skip


@dataclass
class _Points:
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    total: float | None = None

    def add(self, step: Any, loss: Any, lr: Any = None, tokens: Any = None) -> None:
        values = [_number(v) for v in (step, loss, lr, tokens)]
        if math.isfinite(values[0]):
            self.rows.append((values[0], values[1], values[2], values[3]))


def read_curve(path: str | Path, *, metric: str | None = None) -> Curve:
    """The curve of a run's folder (its log.jsonl and spec.json) or of a log file of any known format."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = path / "log.jsonl"
    if not path.exists():
        raise InputError(f"there is no log at {path}", remedy="give a run's folder or a log file", file=path)
    try:
        text = _ANSI.sub("", path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", file=path) from None
    points, kind, unit = _read(text, path, metric)
    if not points.rows:
        raise InputError(
            f"{path} holds no loss curve that is understood",
            why="known: our log.jsonl, CSV and JSONL with a step and a loss, W&B and TensorBoard exports, text logs of "
            "Megatron, torchtitan, OLMo-core and nanochat",
            remedy="export step and loss as CSV",
            file=path,
        )
    return _curve(points, kind, unit, str(path), _steps_of_spec(folder / "spec.json"))


def _read(text: str, path: Path, metric: str | None) -> tuple[_Points, str, str]:
    start = text.lstrip()[:1]
    if path.suffix.lower() == ".csv":
        return _from_table(csv.DictReader(io.StringIO(text)), "csv", metric)
    if start == "[" and not re.match(r"\[[^\[\]{}]*\w=|\[\d{4}-", text.lstrip()):
        return _from_json_list(text, metric)
    if start == "{":
        return _from_table(_json_lines(text), "jsonl", metric)
    for kind, parse in (("megatron", _megatron), ("olmo", _olmo), ("nanochat", _nanochat), ("torchtitan", _torchtitan)):
        points = parse(text)
        if points.rows:
            return points, kind, "nats_per_token"
    if "," in text.split("\n", 1)[0]:
        return _from_table(csv.DictReader(io.StringIO(text)), "csv", metric)
    return _Points(), "", ""


def _json_lines(text: str) -> Iterable[Mapping[str, Any]]:
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line cut off in mid-write, or a remark between the lines
        if isinstance(row, dict):
            yield row


def _from_json_list(text: str, metric: str | None) -> tuple[_Points, str, str]:
    """A list of rows, or TensorBoard's [[wall time, step, value], ...]."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        return _Points(), "", ""
    if rows and isinstance(rows[0], list):
        points = _Points()
        for row in rows:
            if len(row) == 3:
                points.add(row[1], row[2])
        return points, "tensorboard", "nats_per_token"
    return _from_table([row for row in rows if isinstance(row, dict)], "json", metric)


def _from_table(rows: Iterable[Mapping[str, Any]], kind: str, metric: str | None) -> tuple[_Points, str, str]:
    """Columns by name; W&B's export writes `RUN - METRIC` with __MIN and __MAX beside it."""
    rows = list(rows)
    names: dict[str, str] = {}
    for row in rows[:50]:
        for name in row:
            if name and not name.endswith(("__MIN", "__MAX")):
                names.setdefault(name.rsplit(" - ", 1)[-1].strip().lower(), name)
    wanted = ("bpb",) if metric == "bpb" else LOSS_NAMES
    step, tokens = _find(names, STEP_NAMES), _find(names, TOKEN_NAMES)
    loss, rate = _find(names, wanted) or _find(names, ("bpb",)), _find(names, RATE_NAMES)
    loss = loss or _validation(names, ("loss", "bpb") if metric is None else (metric,))
    points = _Points()
    if loss is None or (step is None and tokens is None):
        return points, kind, ""
    if {"wall time", "step", "value"} <= names.keys():
        kind = "tensorboard"
    elif any(" - " in name for name in names.values()):
        kind = "wandb"
    for row in rows:
        if kind == "jsonl" and row.get("branch") is not None:
            continue  # our trunks log the decay of a shorter branch beside their own steps
        points.add(row.get(step or tokens or ""), row.get(loss), row.get(rate or ""), row.get(tokens or ""))
    return points, kind, "bpb" if loss.lower().endswith("bpb") else "nats_per_token"


def _validation(names: Mapping[str, str], kinds: Iterable[str]) -> str | None:
    """A loss on held-out text, by the names that `fit` knows: where a log has no other."""
    return next((name for kind in kinds for name in evaluations(names.values(), kind)), None)


def _find(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _megatron(text: str) -> _Points:
    points = _Points()
    for match in re.finditer(rf"iteration\s+(\d+)\s*/\s*(\d+)\s*\|(.*?lm loss:\s*({_NUMBER}|nan|inf).*)", text):
        points.total = float(match[2])
        rest = match[3]
        rate, tokens = _after("learning rate:", rest), _after("consumed tokens:", rest)
        points.add(match[1], match[4], rate, tokens)
    return points


def _olmo(text: str) -> _Points:
    """`[step=100/2000,epoch=..]`, then one indented metric a line."""
    points = _Points()
    for block in re.split(r"(?=\[step=)", text)[1:]:
        head = re.match(r"\[step=([\d,]+)(?:/([\d,]+))?", block)
        loss = re.search(rf"train/(?:CE loss|CrossEntropyLoss|CELoss)=({_NUMBER}|nan|inf)", block)
        if head is None or loss is None:
            continue
        if head[2]:
            points.total = _number(head[2])
        rate = re.search(rf"optim/(?:LR|learning_rate)[^=\n]*=({_NUMBER})", block)
        tokens = re.search(rf"throughput/total tokens=({_NUMBER})\s*([KMBT]?)", block)
        scale = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[tokens[2]] if tokens else 1.0
        points.add(head[1], loss[1], rate[1] if rate else None, _number(tokens[1]) * scale if tokens else None)
    return points


def _nanochat(text: str) -> _Points:
    points = _Points()
    for match in re.finditer(rf"step\s+(\d+)/(\d+)[^|\n]*\|[^\n]*?loss:\s*({_NUMBER}|nan|inf)([^\n]*)", text):
        points.total = float(match[2])
        points.add(match[1], match[3], _after("lrm:", match[4]))
    return points


def _torchtitan(text: str) -> _Points:
    points = _Points()
    total = re.search(r"total steps:?\s*(\d+)", text)
    points.total = float(total[1]) if total else None
    for match in re.finditer(
        rf"\bstep:?[\s=]+(\d+)[^\n]*?\b(?:global_avg_)?loss[:=]\s*({_NUMBER}|nan|inf)([^\n]*)", text
    ):
        points.add(match[1], match[2], _after("lr:", match[3]))
    return points


def _after(label: str, text: str) -> str | None:
    match = re.search(rf"{re.escape(label)}\s*({_NUMBER})", text)
    return match[1] if match else None


def _number(value: Any) -> float:
    try:
        return float(str(value).replace(",", ""))
    except ValueError:
        return math.nan


def _steps_of_spec(path: Path) -> float | None:
    """The total steps that a run's own spec.json plans."""
    try:
        spec = json.loads(path.read_text())
        return float(max(spec["branches"]) / spec["batch_tokens"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _curve(points: _Points, kind: str, unit: str, source: str, planned: float | None) -> Curve:
    """Sorted by step; a step logged twice (a resumed run) counts as it was logged last; unusable losses go."""
    by_step = {row[0]: row for row in points.rows}
    rows = np.array([by_step[s] for s in sorted(by_step)], dtype=float)
    usable = np.isfinite(rows[:, 1]) & (rows[:, 1] > 0)
    warnings = []
    if not usable.all():
        warnings.append(f"{int((~usable).sum())} logged steps have no positive finite loss and are left out")
    rows = rows[usable]
    if not len(rows):
        raise InputError(f"{source} has steps but no usable loss", remedy="the run may have diverged at once")
    if planned is not None:
        kind = "forescale"
    return Curve(
        rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], planned or points.total, kind, unit, source, tuple(warnings)
    )
