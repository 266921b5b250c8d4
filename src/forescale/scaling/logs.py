"""Training curves from anyone's logs: ours, W&B and TensorBoard tables, Megatron, torchtitan, OLMo, nanochat."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ConfigError, InputError
from forescale.scaling.columns import apply_mapping, evaluations, normal, text_of
from forescale.scaling.log_ranks import one_rank

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
_VALUE = rf"{_NUMBER}|[-+]?nan|[-+]?inf(?:inity)?|NaN|Inf"
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
    schedule: str | None = None
    """Of our own runs, by the spec beside the log; None: to be told from the rates."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Ours -> the log's own name: `loss` is the curve that was followed."""
    others: tuple[str, ...] = ()
    """Losses that the log has too."""
    lost_since: float | None = None
    """First step of the log's end at which the loss is no positive finite number; None: it ends with one."""

    def __len__(self) -> int:
        return len(self.step)

    def until(self, step: float) -> Curve:
        """What was known at a step."""
        seen = self.step <= step
        kept = {name: getattr(self, name)[seen] for name in ("step", "loss", "lr", "tokens")}
        return replace(self, **kept)


@dataclass
class _Points:
    """Rows in the order of the log: step, loss, rate, tokens. A row without a loss is none; `nan` is one."""

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)
    total: float | None = None
    unit: str = "nats_per_token"
    columns: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def add(self, step: Any, loss: Any, lr: Any = None, tokens: Any = None) -> None:
        values = [_number(v) for v in (step, loss, lr, tokens)]
        if math.isfinite(values[0]) and text_of(loss):
            self.rows.append((values[0], values[1], values[2], values[3]))


def read_curve(path: str | Path, *, metric: str | None = None, columns: Sequence[str] = ()) -> Curve:
    """The curve of a run's folder (its log.jsonl and spec.json) or of a log file of any known format.

    `columns`: `loss=NAME` and the like, as `--column` has them. Without one the training loss is followed where there
    is one. InputError (3): no log, or none that is understood; ConfigError (2): a name that it does not have, or losses
    of several runs in one file.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = path / "log.jsonl"
    if not path.exists():
        raise InputError(f"there is no log at {path}", remedy="give a run's folder or a log file", file=path)
    try:
        text, said = one_rank(_ANSI.sub("", path.read_text(encoding="utf-8-sig", errors="replace")))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", file=path) from None
    points, kind = _read(text, path, metric, columns)
    points.warnings += said
    if not points.rows:
        raise InputError(
            f"{path} holds no loss curve that is understood",
            why="known: our log.jsonl, CSV and JSONL with a step and a loss, W&B and TensorBoard exports, text logs of "
            "Megatron, torchtitan, OLMo-core and nanochat",
            remedy="export step and loss as CSV, or name the columns: --column loss=COLUMN --column step=COLUMN",
            file=path,
        )
    own = path.name == "log.jsonl"
    return _curve(points, kind, str(path), *(_of_spec(folder / "spec.json") if own else (None, None)))


def _read(text: str, path: Path, metric: str | None, columns: Sequence[str]) -> tuple[_Points, str]:
    start = text.lstrip()[:1]
    if path.suffix.lower() == ".csv":
        return _from_table(list(csv.DictReader(io.StringIO(text))), "csv", metric, columns)
    if start == "[" and (listed := _json_list(text)) is not None:  # lines of text logs begin with [ too
        return _from_json_list(listed, metric, columns)
    if start == "{":
        rows, warnings = _json_lines(text)
        points, kind = _from_table(rows, "jsonl", metric, columns)
        points.warnings += warnings
        return points, kind
    for kind, parse in (("megatron", _megatron), ("olmo", _olmo), ("nanochat", _nanochat), ("torchtitan", _torchtitan)):
        curves = {name: points for name, points in parse(text).items() if points.rows}
        if curves:
            return _chosen(curves, metric, columns), kind
    if "," in text.split("\n", 1)[0]:
        return _from_table(list(csv.DictReader(io.StringIO(text))), "csv", metric, columns)
    return _Points(), ""


def _chosen(curves: dict[str, _Points], metric: str | None, columns: Sequence[str]) -> _Points:
    """One of a text log's curves: the named one, or its first, which is the training loss."""
    wanted = {text.partition("=")[0].strip(): text.partition("=")[2].strip() for text in columns}
    name = wanted.get(
        "loss", next((n for n, p in curves.items() if metric is None or (p.unit == "bpb") == (metric == "bpb")), None)
    )
    if wanted.keys() - {"loss"} or name not in curves:
        raise ConfigError(
            f"this log has no {f'`{name}`' if name else metric}",
            why="of a text log only the loss can be chosen",
            remedy=f"it has: {', '.join(curves)} (--column loss=NAME)",
            key="loss",
        )
    points = curves[name]
    points.columns["loss"] = name
    points.others = tuple(other for other in curves if other != name)
    return points


def _json_lines(text: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Objects, one a line; what is none is counted. A last line that was cut off in mid-write is nobody's fault."""
    rows: list[Mapping[str, Any]] = []
    odd: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            odd.append(number)
    if odd and not text.endswith("\n") and odd[-1] == len(text.splitlines()):
        odd.pop()
    said = f"{len(odd)} lines are no JSON objects and are left out (the first is line {odd[0]})" if odd else ""
    return rows, [said] if said else []


def _json_list(text: str) -> list[Any] | None:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        return None
    return rows if isinstance(rows, list) else None


def _from_json_list(rows: list[Any], metric: str | None, columns: Sequence[str]) -> tuple[_Points, str]:
    """A list of rows, or TensorBoard's [[wall time, step, value], ...]."""
    if rows and isinstance(rows[0], list):
        points = _Points(columns={"loss": "value", "step": "step"})
        for row in rows:
            if isinstance(row, list) and len(row) == 3:
                points.add(row[1], row[2])
        return points, "tensorboard"
    return _from_table([row for row in rows if isinstance(row, dict)], "json", metric, columns)


def _from_table(rows: list[Any], kind: str, metric: str | None, columns: Sequence[str]) -> tuple[_Points, str]:
    """Columns by name; W&B's export writes `RUN - METRIC` with __MIN and __MAX beside it."""
    mapped, rows = apply_mapping(rows, columns, known=("step", "loss", "bpb", "lr", "tokens"))
    own = [name for name in dict.fromkeys(n for row in rows for n in row if n) if not name.startswith("\0")]
    own = [name for name in own if not name.endswith(("__MIN", "__MAX"))]
    names: dict[str, str] = {}
    for name in own:
        names.setdefault(_metric_of(name), name)
    points = _Points()
    losses = _losses(own, metric)
    found = {"step": _find(names, STEP_NAMES), "tokens": _find(names, TOKEN_NAMES), "lr": _find(names, RATE_NAMES)}
    loss = mapped.get("loss") or mapped.get("bpb")
    if loss is None:
        loss = losses[0] if losses else None
        if loss is not None:
            _one_run(loss, losses)
    axis = mapped.get("step") or found["step"] or mapped.get("tokens") or found["tokens"]
    if loss is None or axis is None:
        return points, kind
    if {"wall time", "step", "value"} <= names.keys():
        kind = "tensorboard"
    elif any(" - " in name for name in names.values()):
        kind = "wandb"
    points.unit = (
        "bpb"
        if "bpb" in mapped or ("loss" not in mapped and normal(_metric_of(loss)).endswith("bpb"))
        else "nats_per_token"
    )
    key = {name: f"\0{name}" if name in mapped else found.get(name) or "" for name in ("step", "lr", "tokens")}
    read = next((f"\0{name}" for name in ("loss", "bpb") if name in mapped), loss)
    for row in rows:
        if kind == "jsonl" and row.get("branch") is not None:
            continue  # our trunks log the decay of a shorter branch beside their own steps
        step = row.get(key["step"] or key["tokens"])
        points.add(step, row.get(read), row.get(key["lr"]), row.get(key["tokens"]))
    named = {"loss": loss, "step": axis, "lr": mapped.get("lr") or found["lr"]}
    points.columns = {ours: theirs for ours, theirs in named.items() if theirs}
    points.others = tuple(name for name in _losses(own, None) if name != loss)
    if axis in (mapped.get("tokens"), found["tokens"]):
        points.warnings.append(f"the log has no steps: they are counted in tokens ({axis}), and so is --total-steps")
    return points, kind


def _metric_of(name: str) -> str:
    """The metric that a column holds, without the run before it."""
    return name.rsplit(" - ", 1)[-1].strip().lower()


def _losses(names: Iterable[str], metric: str | None) -> list[str]:
    """Columns that hold a loss, best first: in training, bits per byte, on held-out text; of one metric if asked."""
    names = list(names)
    trained = [n for wanted in LOSS_NAMES for n in names if _metric_of(n) == wanted]
    bits = [n for n in names if _metric_of(n) == "bpb"]
    held = {kind: evaluations(names, kind) for kind in ("loss", "bpb")}
    if metric == "bpb":
        order = [*bits, *held["bpb"]]
    else:
        order = [*trained, *held["loss"]] if metric else [*trained, *bits, *held["loss"], *held["bpb"]]
    return list(dict.fromkeys(order))


def _one_run(loss: str, losses: Sequence[str]) -> None:
    """Refuse to choose among the runs of one export."""
    same = [name for name in losses if _metric_of(name) == _metric_of(loss)]
    if len(same) > 1:
        raise ConfigError(
            f"the log holds {_metric_of(loss)} of {len(same)} runs: {', '.join(same)}",
            remedy=f'choose one: --column "loss={same[0]}"',
            key="loss",
        )


def _find(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _megatron(text: str) -> dict[str, _Points]:
    train, held = _Points(), _Points()
    for match in re.finditer(rf"iteration\s+(\d+)\s*/\s*(\d+)\s*\|(.*?lm loss:\s*({_VALUE}).*)", text):
        train.total = held.total = float(match[2])
        rest = match[3]
        rate, tokens = _after("learning rate:", rest), _after("consumed tokens:", rest)
        train.add(match[1], match[4], rate, tokens)
    pattern = rf"validation loss at iteration (\d+)[^\n|]*\|\s*lm loss value:\s*({_VALUE})"
    for match in re.finditer(pattern, text):
        held.add(match[1], match[2])
    return {"lm loss": train, "validation lm loss": held}


def _olmo(text: str) -> dict[str, _Points]:
    """`[step=100/2000,epoch=..]`, then one indented metric a line."""
    curves: dict[str, _Points] = {"train/CE loss": _Points()}
    total = None
    for block in re.split(r"(?=\[step=)", text)[1:]:
        head = re.match(r"\[step=([\d,]+)(?:/([\d,]+))?", block)
        if head is None:
            continue
        total = _number(head[2]) if head[2] else total
        rate = re.search(rf"optim/(?:LR|learning_rate)[^=\n]*=({_NUMBER})", block)
        tokens = re.search(rf"throughput/total tokens=({_NUMBER})\s*([KMBT]?)", block)
        scale = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[tokens[2]] if tokens else 1.0
        seen = _number(tokens[1]) * scale if tokens else None
        for loss in re.finditer(
            rf"^\s+(\S[^=\n]*?/(?:CE loss|CrossEntropyLoss|CELoss))=({_VALUE})", block, re.MULTILINE
        ):
            name = "train/CE loss" if loss[1].startswith("train/") else loss[1]
            curves.setdefault(name, _Points()).add(head[1], loss[2], rate[1] if rate else None, seen)
    for points in curves.values():
        points.total = total
    return curves


def _nanochat(text: str) -> dict[str, _Points]:
    train, held = _Points(), _Points(unit="bpb")
    for match in re.finditer(rf"step\s+(\d+)/(\d+)[^|\n]*\|[^\n]*?loss:\s*({_VALUE})([^\n]*)", text):
        train.total = held.total = float(match[2])
        train.add(match[1], match[3], _after("lrm:", match[4]))
    for match in re.finditer(rf"[Ss]tep\s+(\d+)\s*\|\s*[Vv]alidation bpb:\s*({_VALUE})", text):
        held.add(match[1], match[2])
    return {"loss": train, "validation bpb": held}


def _torchtitan(text: str) -> dict[str, _Points]:
    total = re.search(r"total steps:?\s*(\d+)", text)
    train, held = (_Points(total=float(total[1]) if total else None) for _ in range(2))
    for match in re.finditer(
        rf"(validate )?\bstep:?[\s=]+(\d+)[^\n]*?\b(?:global_avg_)?loss[:=]\s*({_VALUE})([^\n]*)", text
    ):
        (held if match[1] else train).add(match[2], match[3], _after("lr:", match[4]))
    return {"loss": train, "validation loss": held}


def _after(label: str, text: str) -> str | None:
    match = re.search(rf"{re.escape(label)}\s*({_NUMBER})", text)
    return match[1] if match else None


def _number(value: Any) -> float:
    try:
        return float(str(value).replace(",", ""))
    except ValueError:
        return math.nan


def _of_spec(path: Path) -> tuple[float | None, str | None]:
    """The total steps that a run's own spec.json plans, and its schedule."""
    try:
        spec = json.loads(path.read_text())
        return float(max(spec["branches"]) / spec["batch_tokens"]), spec.get("schedule", {}).get("kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, None


def _curve(points: _Points, kind: str, source: str, planned: float | None, schedule: str | None) -> Curve:
    """Sorted by step; what a resumed run logged anew replaces what it had logged after that step; bad losses go."""
    rows, warnings = _without_abandoned(points.rows)
    table = np.array(rows, dtype=float)
    usable = np.isfinite(table[:, 1]) & (table[:, 1] > 0)
    if not usable.all():
        bad = table[~usable, 0]
        warnings.append(
            f"{len(bad)} logged steps have no positive finite loss and are left out: "
            + (f"step {bad[0]:,.0f}" if len(bad) == 1 else f"from step {bad[0]:,.0f} to {bad[-1]:,.0f}")
        )
    if not usable.any():
        raise InputError(f"{source} has steps but no usable loss", remedy="the run may have diverged at once")
    last = int(np.flatnonzero(usable)[-1])
    lost = float(table[last + 1, 0]) if last + 1 < len(table) else None
    table = table[usable]
    return Curve(
        table[:, 0], table[:, 1], table[:, 2], table[:, 3], planned or points.total,
        "forescale" if planned is not None else kind, points.unit, source, (*points.warnings, *warnings), schedule,
        points.columns, points.others, lost,
    )  # fmt: skip


Row = tuple[float, float, float, float]


def _without_abandoned(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows by step. Where the log goes back, the run was resumed there: what it had logged after that is abandoned.

    A log that is in no order of time at all (sorted downwards, shuffled) is only sorted.
    """
    back = [k for k in range(1, len(rows)) if rows[k][0] < rows[k - 1][0]]
    if len(back) > max(3, len(rows) // 10):
        by_step = {row[0]: row for row in rows}
        return [by_step[step] for step in sorted(by_step)], ["the log is not in the order of its steps: it was sorted"]
    kept: list[Row] = []
    gone = 0
    for row in rows:
        while kept and kept[-1][0] >= row[0]:
            gone += kept.pop()[0] > row[0]
        kept.append(row)
    told = f"the log goes back {len(back)} times (first to step {rows[back[0]][0]:,.0f}): " if back else ""
    return kept, [f"{told}{gone} points after it, logged before, are left out"] if back and gone else []
