"""What a model of this size can and cannot do, in plain words, from its own records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forescale.base.shape import ModelShape


def about(weights_dir: Path, shape: ModelShape) -> str:
    """A few sentences: size, training, loss, what to expect. Says so where nothing is recorded."""
    run, stages = lineage(weights_dir)
    tokens = None if run is None else int(run.get("tokens", 0)) or None
    parts = [f"A transformer of {_count(shape.params)} parameters that sees {shape.seq_len:,} tokens at once."]
    if tokens is None:
        parts.append("Nothing is recorded here of how it was trained.")
    else:
        parts.append(f"It was pretrained on {_count(tokens)} tokens{_loss(run or {})}.")
    parts.append(f"Tuned by {' and '.join(stages)}." if stages else "It was not tuned to chat: it only continues text.")
    parts.append(_expect(shape.params, tokens))
    return " ".join(parts)


def lineage(weights_dir: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The run record of the pretrained model behind these weights, and the tuning stages since."""
    stages: list[str] = []
    folder = weights_dir
    for _ in range(8):  # a chain of records is short; a damaged one must not go round in a circle
        record = _read(folder.parent / "record.json")
        if isinstance(record, dict) and record.get("kind") in ("sft", "dpo"):
            if record.get("status") == "finished":
                stages.insert(0, str(record["kind"]).upper())
            folder = _parent(folder, Path(str(record.get("parent"))))
            continue
        if isinstance(record, list) and record:
            own = [r for r in record if r.get("weights") and Path(str(r["weights"])).name == folder.name]
            return (own or record)[-1], stages
        return (record if isinstance(record, dict) and "tokens" in record else None), stages
    return None, stages


def _parent(folder: Path, named: Path) -> Path:
    """The weights that a stage started from; in a workspace that was moved, the run of that name beside it."""
    return named if named.exists() else folder.parent.parent / named.parent.name / named.name


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _loss(run: dict[str, Any]) -> str:
    loss = run.get("validation") or {}
    if not loss.get("bytes"):
        return ""
    import math

    return f", to {loss['nats'] / (math.log(2) * loss['bytes']):.2f} bits per byte on text it had not seen"


def _expect(params: float, tokens: int | None) -> str:
    """By the smaller of size and reading: a large model that has read little knows little (our rough steps)."""
    power = min(params, (tokens or params * 20) / 20)
    if power < 2e7:
        return (
            "Expect the look of its training text: words, spelling, the form of an answer. It knows no facts, cannot"
            " calculate or follow a conversation, and what it says is mostly made up."
        )
    if power < 5e8:
        return "Expect fluent sentences on familiar topics; facts, numbers and reasoning are often wrong."
    if power < 5e9:
        return "Expect useful short answers; check every fact and every calculation."
    return "Expect useful answers; it can still be wrong while sounding sure."


def _count(n: float) -> str:
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if n >= size:
            return f"{n / size:.3g} {name}"
    return f"{n:,.0f}"
