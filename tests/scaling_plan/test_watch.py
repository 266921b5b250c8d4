"""A run in flight: every log format, intervals that narrow and hold, leaving the band."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forescale.base.errors import ConfigError, InputError
from forescale.scaling.logs import Curve, read_curve
from forescale.scaling.rates import possible
from forescale.scaling.watch import rising, watch


def simulated(gain: float = 0.03, seed: int = 0, steps: int = 4000, cosine: bool = False) -> tuple[Curve, float]:
    step = np.arange(10.0, steps + 1, 10.0)
    done = step / steps
    factor = np.where(done < 0.8, 1.0, np.where(done < 0.9, 0.1**0.5, 0.1))
    if cosine:
        factor = 0.55 + 0.45 * np.cos(np.pi * done)
    phi = (1 - np.sqrt(factor)) / (1 - 0.1**0.5)
    clean = (1.6 + 12 * step**-0.35) * (1 - gain * phi)
    noisy = clean * np.exp(0.02 * np.random.default_rng(seed).standard_normal(len(step)))
    nan = np.full(len(step), np.nan)
    return Curve(step, noisy, factor * 1e-3, nan, float(steps), "made up"), float(clean[-1])


@pytest.mark.parametrize("cosine", [False, True])
def test_the_distribution_narrows_and_holds_the_end(cosine: bool) -> None:
    inside, total = 0, 0
    for seed, gain in ((0, 0.02), (1, 0.04), (2, 0.05)):
        curve, truth = simulated(gain, seed, cosine=cosine)
        widths = []
        for share in (0.2, 0.6, 0.9, 1.0):
            final = watch(curve.until(share * 4000)).final
            assert final is not None
            inside += final.interval[0] <= truth <= final.interval[1]
            total += 1
            widths.append((final.interval[1] - final.interval[0]) / truth)
        assert widths[0] > widths[1] > widths[3]
        assert widths[-1] < 0.03
    assert inside >= total - 2


def test_a_run_that_leaves_its_band_says_since_when() -> None:
    curve, truth = simulated()
    held = watch(curve, interval=(0.97 * truth, 1.03 * truth))
    assert held.left_since is None
    broken = curve.loss * np.where(curve.step > 2000, 1.0 + 0.15 * (curve.step - 2000) / 2000, 1.0)
    worse = Curve(curve.step, broken, curve.lr, curve.tokens, 4000.0, "made up")
    left = watch(worse, interval=(0.97 * truth, 1.03 * truth))
    assert left.left_since is not None
    assert 1500 < left.left_since <= 4000


def test_a_rising_loss_leaves_its_band_where_it_rises() -> None:
    """The forecast from within the rise supposes that it comes back; the loss itself is what left."""
    curve, _ = simulated(steps=20_000)
    early = curve.until(12_000)
    grown = early.loss * np.where(early.step > 7800, 1.0 + 0.92 * (early.step - 7800) / 4200, 1.0)
    seen = watch(replace(early, loss=grown))
    assert seen.rising is not None
    assert 7500 < seen.rising.since < 8000
    assert seen.left_by == "loss"
    assert seen.rising.since <= seen.left_since < 8600
    soon = watch(replace(early, loss=grown).until(8600))  # its forecast alone is still inside
    assert soon.left_by == "loss"
    assert watch(early).left_since is None


def test_without_a_length_there_is_no_final_loss() -> None:
    curve, _ = simulated()
    unknown = Curve(curve.step, curve.loss, curve.lr, curve.tokens, None, "made up")
    view = watch(unknown)
    assert view.final is None
    assert "how many steps" in str(view.reason)
    assert watch(unknown, total_steps=4000).final is not None


MEGATRON = (
    " [2024-01-15 10:30:00] iteration {step:8d}/   40000 | consumed samples: 4096 | consumed tokens: {tokens} | elapsed "
    "time per iteration (ms): 769.9 | learning rate: 3.787E-04 | global batch size:  2048 | lm loss: {loss:E} | grad "
    "norm: 1.0 |\n"
)
TITAN = (
    "\x1b[31m[titan] 2025-02-04 - root - INFO - \x1b[32mstep: {step}  \x1b[33mloss: {loss:.4f}  \x1b[35mmemory: 1GiB\n"
)
OLMO = (
    "2026-08-08 12:01:00 INFO [console_logger:68] [step={step:,}/40,000,epoch=0,eta=5h]\n    train/CE loss={loss:.4f}\n"
    "    optim/LR (group 0)=0.0004\n    throughput/total tokens=1.5B\n"
)
NANOCHAT = "step {step:05d}/40000 (0.05%) | loss: {loss:.6f} | grad norm: 0.3 | lrm: 1.00 | dt: 12.3ms | mfu: 41.0\n"


@pytest.mark.parametrize(
    ("line", "kind", "total"),
    [(MEGATRON, "megatron", 40000), (TITAN, "torchtitan", None), (OLMO, "olmo", 40000), (NANOCHAT, "nanochat", 40000)],
)
def test_text_logs(tmp_path: Path, line: str, kind: str, total: float | None) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        "noise before\n" + "".join(line.format(step=s, loss=5 - s / 1e4, tokens=s) for s in (1, 1500, 3000))
    )
    curve = read_curve(path)
    assert curve.format == kind
    assert curve.total_steps == total
    assert list(curve.step) == [1, 1500, 3000]
    assert curve.loss == pytest.approx([4.9999, 4.85, 4.7], abs=1e-4)
    if kind == "megatron":
        assert curve.lr == pytest.approx([3.787e-4] * 3)
        assert curve.tokens == pytest.approx([1, 1500, 3000])
    if kind == "olmo":
        assert curve.tokens == pytest.approx([1.5e9] * 3)
        assert curve.lr == pytest.approx([4e-4] * 3)


PLAIN_TITAN = "[titan] 2025-02-04 10:11:12,345 - root - INFO - step: {step:2}  loss: {loss:7.4f}  memory: 1.23GiB\n"


@pytest.mark.parametrize("prefix", ["", "[rank0]:", "[default0]:"])
@pytest.mark.parametrize(("line", "kind"), [(PLAIN_TITAN, "torchtitan"), (MEGATRON, "megatron"), (OLMO, "olmo")])
def test_lines_that_begin_with_a_bracket(tmp_path: Path, prefix: str, line: str, kind: str) -> None:
    path = tmp_path / "train.log"
    text = "".join(line.format(step=s, loss=5 - s / 1e4, tokens=s) for s in (1, 1500, 3000))
    path.write_text("".join(prefix + part for part in text.splitlines(keepends=True)))
    curve = read_curve(path)
    assert (curve.format, list(curve.step)) == (kind, [1, 1500, 3000])
    assert curve.loss == pytest.approx([4.9999, 4.85, 4.7], abs=1e-4)
    assert not curve.warnings


def test_of_several_ranks_one_is_followed_and_said(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    lines = []
    for step in range(1, 10):
        lines.append(f"[rank0]:Training step {step} begins\n")  # as Megatron: the first rank logs no loss
        lines += [f"[rank{r}]:" + PLAIN_TITAN.format(step=step, loss=5.0 - step / 10 + r) for r in (3, 1)]
    path.write_text("".join(lines))
    curve = read_curve(path)
    assert list(curve.step) == list(range(1, 10))
    assert curve.loss == pytest.approx([6.0 - step / 10 for step in range(1, 10)])
    assert any("rank 1's is followed" in text for text in curve.warnings)


def test_tables(tmp_path: Path) -> None:
    wandb = tmp_path / "w.csv"
    wandb.write_text('"Step","fast-run - train/loss","fast-run - train/loss__MIN"\n1,5.0,5.0\n2,4.0,4.0\n')
    assert read_curve(wandb).format == "wandb"
    assert list(read_curve(wandb).loss) == [5.0, 4.0]
    board = tmp_path / "t.csv"
    board.write_text("Wall time,Step,Value\n1.7e9,1,5.0\n1.7e9,2,4.5\n")
    assert read_curve(board).format == "tensorboard"
    points = tmp_path / "t.json"
    points.write_text("[[1.7e9, 1, 5.0], [1.7e9, 2, 4.5]]")
    assert list(read_curve(points).loss) == [5.0, 4.5]


def test_each_reason_for_no_forecast_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    def reason(rows: list[tuple[int, object]], **options: object) -> str:
        path.write_text("step,loss\n" + "".join(f"{s},{v}\n" for s, v in rows))
        seen = watch(path, **options)  # type: ignore[arg-type]
        assert seen.final is None
        return str(seen.reason)

    curve = [(10 * k, 5 - k / 100) for k in range(1, 31)]
    assert "how many steps" in reason(curve)
    assert "at step 300 already" in reason(curve, total_steps=200)
    assert "only 3 logged points" in reason(curve[:3], total_steps=2000)
    assert "since step 310: the run has diverged" in reason([*curve, (310, "nan"), (320, "nan")], total_steps=2000)


def test_which_loss_is_followed_is_said_and_chosen(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,train/loss,val/loss\n" + "".join(f"{k},{5 - k / 100},{6 - k / 50}\n" for k in range(1, 30)))
    seen = watch(path, total_steps=100)
    assert seen.columns["loss"] == "train/loss"
    assert seen.other_losses == ["val/loss"]
    held = watch(path, total_steps=100, columns=["loss=val/loss"])
    assert held.columns["loss"] == "val/loss"
    assert held.other_losses == ["train/loss"]
    assert held.loss > seen.loss
    with pytest.raises(ConfigError, match="no column `eval/loss`"):
        read_curve(path, columns=["loss=eval/loss"])
    with pytest.raises(ConfigError, match="`losses` is no name"):
        read_curve(path, columns=["losses=val/loss"])


def test_losses_of_several_runs_are_not_chosen_among(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text('"Step","a - train/loss","b - train/loss"\n1,5.0,6.0\n2,4.0,5.5\n')
    with pytest.raises(ConfigError, match="of 2 runs: a - train/loss, b - train/loss"):
        read_curve(path)
    assert list(read_curve(path, columns=["loss=b - train/loss"]).loss) == [6.0, 5.5]


def test_a_validation_row_does_not_take_the_place_of_its_steps_training_loss(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    rows = [{"_step": 1, "train_loss": 5.0}, {"_step": 1, "val_loss": 6.0}, {"_step": 2, "train_loss": 4.0}]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + "not json\n" + json.dumps({"_step": 3}) + "\n")
    curve = read_curve(path)
    assert list(curve.loss) == [5.0, 4.0]
    assert curve.others == ("val_loss",)
    assert curve.warnings == ("1 lines are no JSON objects and are left out (the first is line 4)",)


def test_validation_losses_of_text_logs_are_curves_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(
        "".join(f"step: {s}  loss: {5 - s / 100}  lr: 1e-3\n" for s in range(1, 9)) + "validate step: 8  loss: 6.5\n"
    )
    assert read_curve(path).loss.max() < 5
    assert list(read_curve(path, columns=["loss=validation loss"]).loss) == [6.5]
    with pytest.raises(ConfigError, match="`val`"):
        read_curve(path, columns=["loss=val"])


def test_steps_of_an_abandoned_attempt_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    steps = [*range(10, 410, 10), *range(310, 360, 10)]  # resumed at 310, now at 350
    path.write_text("step,loss\n" + "".join(f"{s},{9.0 if k < 40 and s > 300 else 4.0}\n" for k, s in enumerate(steps)))
    curve = read_curve(path)
    assert curve.step[-1] == 350
    assert set(curve.loss) == {4.0}
    assert any("goes back 1 times (first to step 310)" in w for w in curve.warnings)


@pytest.mark.parametrize(("rate", "points"), [(0.02, 8), (0.005, 20)])
def test_a_divergence_is_named_soon_and_a_healed_spike_is_not(rate: float, points: int) -> None:
    curve, _ = simulated()
    at = np.arange(len(curve.step))
    turn = int(0.6 * len(at))
    worse = replace(curve, loss=curve.loss * np.exp(rate * np.maximum(0, at - turn)))
    assert rising(worse.until(float(curve.step[turn]))) is None
    rise = rising(worse.until(float(curve.step[turn + points])))
    assert rise is not None
    assert abs(np.searchsorted(curve.step, rise.since) - turn) < 30
    assert any("risen" in w for w in watch(worse.until(float(curve.step[turn + points]))).warnings)
    spike = replace(curve, loss=curve.loss * np.where(abs(at - turn) < 3, 1.5, 1.0))
    assert rising(spike.until(float(curve.step[turn + 20]))) is None


def test_schedules_are_told_by_the_logged_rates() -> None:
    curve, _ = simulated(cosine=True)
    names = {way.name for way in possible(curve.until(1500), 4000.0, None)}
    assert any(name.startswith("cosine:0.1") for name in names)
    assert "multi_step" not in names
    flat, _ = simulated()
    assert {way.name for way in possible(flat.until(1500), 4000.0, None)} == {"multi_step", "wsd", "constant"}
    assert {way.name for way in possible(flat.until(1500), 4000.0, "constant")} == {"constant"}
    with pytest.raises(ConfigError, match="--schedule cosin"):
        possible(flat, 4000.0, "cosin")


def test_our_own_run(tmp_path: Path) -> None:
    rows = [{"step": s, "tokens": 100 * s, "loss": 5.0 - s / 100, "bpb": 2.0, "lr": 1e-3} for s in (10, 20, 30)]
    branch = rows[1] | {"loss": 9.0, "branch": 2000}
    lines = [json.dumps(r) for r in [rows[0], branch, rows[1], branch, rows[2]]] + [
        json.dumps(rows[1] | {"loss": 4.7}),
        '{"step": 40, "lo',
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    (tmp_path / "spec.json").write_text(json.dumps({"branches": [3000, 6000], "batch_tokens": 100}))
    curve = read_curve(tmp_path)
    assert curve.format == "forescale"
    assert curve.total_steps == 60
    assert list(curve.loss) == [4.9, 4.7]  # resumed at 20: the 30 before it was abandoned
    assert read_curve(tmp_path, metric="bpb").unit == "bpb"


def test_bad_logs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no log at"):
        read_curve(tmp_path / "none.log")
    (tmp_path / "x.log").write_text("nothing to see\n")
    with pytest.raises(InputError, match="no loss curve"):
        read_curve(tmp_path / "x.log")
    path = tmp_path / "d.csv"
    path.write_text("step,loss\n1,5\n2,nan\n3,4\n")
    assert read_curve(path).warnings == ("1 logged steps have no positive finite loss and are left out: step 2",)
    path.write_text("step,loss\n1,nan\n")
    with pytest.raises(InputError, match="no usable loss"):
        read_curve(path)
