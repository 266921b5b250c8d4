"""Checkpoints: whole or not at all, whatever happens in between."""

from __future__ import annotations

import logging
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import BATCH, spec

from forescale.base.errors import SystemFailure
from forescale.base.runtime import child_environment
from forescale.train import loop
from forescale.train.checkpoint import Checkpointer, CheckpointMeta, read_latest
from forescale.train.log import read_log
from forescale.train.loop import run_trunk
from forescale.train.signals import Interrupted


def meta(step: int, **more) -> CheckpointMeta:
    return CheckpointMeta(fingerprint="f", branch=0, step=step, **more)


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((3, 5), value), "b": torch.tensor(value), "c": torch.full((4,), value).bfloat16()}


def save(folder: Path, *values: float, keep: int = 2) -> Checkpointer:
    saver = Checkpointer(folder, keep)
    for value in values:
        saver.save(tensors(value), meta(int(value)))
    saver.wait()
    return saver


def test_what_is_saved_is_read_and_is_safetensors(tmp_path):
    save(tmp_path, 1, 2, 3)
    found = read_latest(tmp_path, "f")
    assert found.meta.step == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "00000002.json", "00000002.safetensors", "00000003.json", "00000003.safetensors",
    ]  # fmt: skip
    for name, tensor in load_file(tmp_path / "00000003.safetensors").items():
        assert torch.equal(tensor, tensors(3.0)[name])
        assert torch.equal(found.tensors[name], tensor)


def test_training_may_change_tensors_while_they_are_written(tmp_path):
    saver, live = Checkpointer(tmp_path, 2), {"a": torch.zeros(2_000_000)}
    saver.save(live, meta(1))
    saver.staged()
    live["a"].fill_(7.0)
    saver.wait()
    assert read_latest(tmp_path, "f").tensors["a"].abs().max() == 0


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "json"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, harm):
    save(tmp_path, 1, 2)
    data = tmp_path / "00000002.safetensors"
    if harm == "flip":
        raw = bytearray(data.read_bytes())
        raw[-1] ^= 1
        data.write_bytes(raw)
    elif harm == "cut":
        data.write_bytes(data.read_bytes()[:-10])
    elif harm == "gone":
        data.unlink()
    else:
        data.with_suffix(".json").write_text("{")
    found = read_latest(tmp_path, "f")
    assert found.meta.step == 1
    assert "going back to the one before" in found.passed_over[0]


def test_pinned_ones_stay(tmp_path):
    saver = Checkpointer(tmp_path, 1)
    for step in range(1, 5):
        saver.save(tensors(step), meta(step, pinned=step == 2))
    saver.wait()
    assert sorted(p.stem for p in tmp_path.glob("*.json")) == ["00000002", "00000004"]
    saver.clear()
    assert read_latest(tmp_path, "f").meta.step == 2


def test_a_full_disk_is_exit_8_and_leaves_finished_ones(tmp_path):
    save(tmp_path, 1)
    code = f"""
import resource, torch
from pathlib import Path
from forescale.base.errors import ForescaleError
from forescale.train.checkpoint import Checkpointer, CheckpointMeta
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
saver = Checkpointer(Path({str(tmp_path)!r}), 2)
saver.save({{"a": torch.ones(1_000_000)}}, CheckpointMeta(fingerprint="f", branch=0, step=2))
try:
    saver.wait()
except ForescaleError as error:
    print(error)
    raise SystemExit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 8, done.stderr
    assert "00000002.safetensors" in done.stdout
    assert read_latest(tmp_path, "f").meta.step == 1
    assert len(list(tmp_path.iterdir())) == 2
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_a_run_that_cannot_write_stops_with_exit_8(root, monkeypatch):
    def full(path, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("forescale.train.checkpoint.write_tensors", full)
    with pytest.raises(SystemFailure, match="No space left"):
        run_trunk(spec(root, checkpoint_steps=5))


# --- stopping and going on ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tiny_root):
    return run_trunk(spec(tiny_root, "reference"))


def same(records, whole) -> bool:
    return [(r.steps, r.validation, r.train_loss) for r in records] == [
        (w.steps, w.validation, w.train_loss) for w in whole
    ]


@pytest.mark.parametrize("at", [3, 32, 36, 40, 50, 64, 70])
def test_stopped_anywhere_it_ends_with_the_same_numbers(root, whole, monkeypatch, at):
    asked = spec(root, checkpoint_steps=7)
    stop_at_call(monkeypatch, at)
    with pytest.raises(Interrupted) as stopped:
        run_trunk(asked)
    assert stopped.value.exit_code == 143
    assert same(run_trunk(asked), whole)
    lines = [(line["branch"], line["step"]) for line in read_log(root / "run" / "log.jsonl")]
    assert len(lines) == len(set(lines)) == 16 + 2
    assert not list((root / "run" / "checkpoints").glob("*"))


def stop_at_call(monkeypatch, at: int) -> None:
    """SIGTERM to ourselves during the step with this number."""
    taken, real = [0], loop.train_step

    def stepping(*args, **kwargs):
        taken[0] += 1
        if taken[0] == at:
            signal.raise_signal(signal.SIGTERM)
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "train_step", stepping)


def test_a_damaged_newest_checkpoint_costs_steps_not_the_run(root, whole, monkeypatch, caplog):
    asked = spec(root, checkpoint_steps=7)
    stop_at_call(monkeypatch, 60)
    with pytest.raises(Interrupted):
        run_trunk(asked)
    newest = max((root / "run" / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        assert same(run_trunk(asked), whole)
    assert "damaged; going back to the one before" in caplog.text


def worker(asked, root: Path) -> subprocess.Popen[bytes]:
    path = root / "asked.json"
    asked.write(path)
    return subprocess.Popen([sys.executable, "-m", "forescale.worker", str(path)], env=child_environment(1))


def wait_for_step(process: subprocess.Popen[bytes], log: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(line["step"] >= step for line in read_log(log)):
            return
        time.sleep(0.005)


def test_killed_with_signal_9_it_goes_on(root, whole):
    asked = spec(root, checkpoint_steps=3, log_steps=1)
    process = worker(asked, root)
    wait_for_step(process, root / "run" / "log.jsonl", 45)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert len(loop.read_records(asked)) >= 1
    assert worker(asked, root).wait() == 0
    assert same(loop.read_records(asked), whole)


@pytest.mark.slow
def test_killed_again_and_again(root):
    big = spec(root, branches=(BATCH * 300, BATCH * 600), checkpoint_steps=4, checkpoint_keep=1, log_steps=1)
    reference = run_trunk(big.model_copy(update={"out_dir": str(root / "reference"), "checkpoint_steps": 0}))
    kills = 0
    for step in range(20, 600, 40):
        process = worker(big, root)
        wait_for_step(process, root / "run" / "log.jsonl", step)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert worker(big, root).wait() == 0
    assert kills >= 10
    assert same(loop.read_records(big), reference)
