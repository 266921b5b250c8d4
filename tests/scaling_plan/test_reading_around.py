"""Doors around the laws: compare by an alias of `group`, watch a validation loss, a broken or emptied ledger."""

from __future__ import annotations

import math

import pytest

from forescale.scaling.compare import compare
from forescale.scaling.synthetic import make_ladder
from forescale.scaling.watch import watch

ROWS = make_ladder("well-specified", 0).rows


def test_compare_takes_an_alias_of_group():
    rows = [
        {**row, "train_set": name, "loss": row["loss"] * k} for name, k in (("a", 1.0), ("b", 1.03)) for row in ROWS
    ]
    assert list(compare([rows]).corpora) == ["a", "b"]
    assert list(compare([rows], columns=["group=train_set"]).corpora) == ["a", "b"]


@pytest.mark.parametrize("name", ["val_loss", "val/loss", "eval_loss", "eval/loss", "val_bpb", "RUN - eval/bpb"])
def test_watch_reads_a_validation_loss(name, tmp_path):
    path = tmp_path / "log.csv"
    lines = [f"{step},{1.5 + 8 * step**-0.4}" for step in range(50, 5001, 50)]
    path.write_text(f"step,{name}\n" + "\n".join(lines) + "\n")
    seen = watch(path, total_steps=10000)
    assert seen.unit == ("bpb" if name.endswith("bpb") else "nats_per_token")
    assert math.isclose(seen.final.median, 1.7, rel_tol=0.1)


def test_a_run_that_is_past_its_end_is_called_so(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "\n".join(f"{step},{3 - step / 5000}" for step in range(50, 5001, 50)) + "\n")
    seen = watch(path, total_steps=3000)
    assert seen.final is None
    assert "3,000 steps, and the log is at step 5,000" in str(seen.reason)
