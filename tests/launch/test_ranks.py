"""Runs in processes of their own: one, or torchrun's ranks; same numbers, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tiny_runs import BATCH, spec

from forescale.base.errors import ArtifactError, ConfigError
from forescale.launch.local import LocalExecutor
from forescale.launch.ranks import run_spec
from forescale.train.signals import Interrupted
from forescale.worker import run_trunk

SMALL = {"branches": (BATCH * 10, BATCH * 20), "budgets": ()}


LONG = {"branches": (BATCH * 100, BATCH * 300), "budgets": ()}
"""Long enough to be met alive."""


@pytest.fixture
def one(root):
    return run_trunk(spec(root, "one", **SMALL))


@pytest.fixture
def long_one(root):
    return run_trunk(spec(root, "one", **LONG))


def losses(records):
    return [r.validation.nats_per_token for r in records]


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_two_ranks_give_the_losses_of_one(root, one, sharding):
    seen = []
    two = run_spec(spec(root, "two", processes=2, sharding=sharding, **SMALL), lambda *a: seen.append(a))
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert [r.train_loss for r in two] == pytest.approx([r.train_loss for r in one], rel=1e-5)
    assert seen[-1][:2] == (22, 22)
    assert [r.validation.tokens for r in two] == [2048, 2048]


def test_a_ladder_of_trunks_in_a_pool(root, one):
    specs = [spec(root, f"run{i}", seed=i, **SMALL) for i in range(3)]
    with LocalExecutor(2) as pool:
        ended = sorted(pool.map(run_trunk, specs), key=lambda o: o.index)
    assert losses(ended[0].result) == losses(one)
    assert len({losses(o.result)[1] for o in ended}) == 3


def test_an_error_in_a_rank_keeps_its_kind(root):
    with pytest.raises(ArtifactError) as caught:
        run_spec(spec(root, tokens_dir=str(root / "nowhere")))
    assert "nowhere" in str(caught.value)
    with pytest.raises(ConfigError):
        run_spec(spec(root, branches=(100,)))


def test_a_killed_rank_is_started_again(root, long_one):
    asked = spec(root, "killed", checkpoint_steps=20, log_steps=1, **LONG)
    threading.Thread(target=kill_when, args=(Path(asked.out_dir), 12), daemon=True).start()
    assert losses(run_spec(asked)) == losses(long_one)
    assert (Path(asked.out_dir) / "was_killed").exists()


def kill_when(out: Path, step: int) -> None:
    """Kill the worker of the run at `out` once its log has this many lines."""
    log = out / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < step:
        time.sleep(0.002)
    found = subprocess.run(["pgrep", "-f", str(out / "asked.json")], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    (out / "was_killed").touch()


def test_sigterm_is_passed_on_and_the_run_goes_on_later(root, long_one):
    asked = spec(root, "stopped", log_steps=1, **LONG)

    def stop(step, *_):
        if step >= 5:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        run_spec(asked, stop)
    assert stopped.value.exit_code == 143
    assert list((Path(asked.out_dir) / "checkpoints").glob("*.json"))
    assert losses(run_spec(asked)) == losses(long_one)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_a_stopped_run_goes_on_under_another_layout(root, long_one, sharding):
    asked = spec(root, "moved", processes=2, sharding=sharding, log_steps=1, **LONG)

    def stop(step, *_):
        if step >= 5:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run_spec(asked, stop)
    records = run_spec(asked.model_copy(update={"processes": 1, "sharding": "replicate"}))
    assert losses(records) == pytest.approx(losses(long_one), rel=1e-5)
    assert json.loads((Path(asked.out_dir) / "log.jsonl").read_text().splitlines()[-1])["step"] == 300
