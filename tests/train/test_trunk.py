"""Trunks: branches equal runs of their own, logs and records say what happened."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console
from tiny_runs import BATCH, spec, write_tokens

from forescale.base.errors import ArtifactError, LayoutError
from forescale.base.records.tokens import TokensSummary
from forescale.model.weights import load
from forescale.tokens.tokenizer import train_tokenizer
from forescale.train import loop
from forescale.train.feed import Feed
from forescale.train.log import read_log
from forescale.train.loop import run_trunk
from forescale.train.parallel import Ranks
from forescale.train.progress import RunBar


def losses(records):
    return [record.validation.nats for record in records]


@pytest.fixture(scope="module")
def trunk(tiny_root):
    out = tiny_root / "whole"
    seen = []
    records = run_trunk(spec(tiny_root, "whole"), on_step=lambda *args: seen.append(args))
    return records, list(read_log(out / "log.jsonl")), seen, json.loads((out / "record.json").read_text())


def test_branches_equal_runs_from_scratch(root, trunk):
    for record, tokens in zip(trunk[0], (BATCH * 40, BATCH * 80), strict=True):
        (alone,) = run_trunk(spec(root, f"alone-{tokens}", branches=(tokens,), budgets=()))
        assert alone.validation == record.validation
        assert alone.train_loss == record.train_loss


def test_it_learns_the_chain(trunk):
    first, second = trunk[0]
    assert second.validation.nats_per_token < first.validation.nats_per_token < 3.9
    assert first.validation.tokens == 2048
    assert first.validation.bytes <= 2 * 2048


def test_records_are_rows(trunk):
    first, second = trunk[0]
    assert [first.run, second.run] == [f"whole-{BATCH * 40}", f"whole-{BATCH * 80}"]
    assert first.trunk == second.trunk == "whole"
    assert (first.budget, second.budget) == (1e9, 2e9)
    assert (first.steps, second.steps) == (40, 80)
    row = second.row()
    assert row["flops"] == second.shape.flops_per_token * BATCH * 80
    assert row["bigram_bpb"] == 1.4
    assert row["unique_tokens"] == BATCH * 80
    assert row["status"] == "finished"
    assert [r["run"] for r in trunk[3]] == [first.run, second.run]


def test_the_log_has_the_contracts_keys(trunk):
    lines = trunk[1]
    keys = {"step", "tokens", "loss", "bpb", "lr", "grad_norm", "tokens_per_second", "flops_utilisation", "seconds"}
    assert all(keys <= set(line) for line in lines)
    main = [line["step"] for line in lines if line["branch"] is None]
    assert main == sorted(set(main))
    assert main[-1] == 80
    side = [line for line in lines if line["branch"] == BATCH * 40]
    assert [line["step"] for line in side] == [35, 40]
    assert side[-1]["lr"] == pytest.approx(0.001)
    assert lines[0]["loss"] == pytest.approx(4.1, abs=0.3)  # ln 64, before anything is learnt


def test_progress_ends_at_its_end(trunk):
    steps = [args[0] for args in trunk[2]]
    assert steps == sorted(steps)
    assert trunk[2][-1][:2] == (88, 88)


def test_a_finished_run_gives_its_records_at_once(root, trunk, tiny_root):
    before = (tiny_root / "whole" / "log.jsonl").stat().st_mtime_ns
    assert run_trunk(spec(tiny_root, "whole")) == trunk[0]
    assert (tiny_root / "whole" / "log.jsonl").stat().st_mtime_ns == before


def test_a_diverging_run_is_a_record_not_an_error(root):
    records = run_trunk(spec(root, learning_rate=1e30, warmup_steps=0))
    assert [r.status for r in records] == ["diverged", "diverged"]
    assert records[0].validation is None
    assert "not" in records[0].reason or "gradient" in records[0].reason or "loss" in records[0].reason
    assert records[0].steps < 40
    assert run_trunk(spec(root, learning_rate=1e30, warmup_steps=0)) == records


def test_a_folder_of_another_run_is_refused(root):
    run_trunk(spec(root, branches=(BATCH * 5,)))
    with pytest.raises(ArtifactError, match="another run"):
        run_trunk(spec(root, branches=(BATCH * 5, BATCH * 10), learning_rate=0.02))


def test_a_run_can_be_extended(root):
    short = spec(root, branches=(BATCH * 40,), budgets=(), checkpoint_steps=7)
    run_trunk(short)
    longer = short.model_copy(update={"branches": (BATCH * 40, BATCH * 80)})
    extended = run_trunk(longer)
    whole = run_trunk(spec(root, "whole", budgets=()))
    assert losses(extended) == losses(whole)


def test_sets_of_the_validation_split_are_scored_each_and_add_up(root, tmp_path):
    (whole,) = run_trunk(spec(root, "whole", branches=(BATCH * 20,), budgets=()))
    folder = write_tokens(tmp_path / "parts")
    summary = TokensSummary.read(folder / "summary.json")
    summary.model_copy(update={"validation_sets": {"web": 1000, "books": 3000}}).write(folder / "summary.json")
    (parts,) = run_trunk(spec(root, "parts", branches=(BATCH * 20,), budgets=(), tokens_dir=str(folder)))
    assert list(parts.validation_sets) == ["web", "books"]
    assert whole.validation_sets == {}
    assert parts.validation.nats == pytest.approx(whole.validation.nats, rel=1e-6)
    web, books = parts.validation_sets.values()
    assert (web + books) == parts.validation
    assert web.tokens / books.tokens == pytest.approx(1 / 3, rel=0.15)
    assert web.nats_per_token != books.nats_per_token


def test_micro_batches_change_nothing(root):
    one = run_trunk(spec(root, "one", branches=(BATCH * 20,)))
    many = run_trunk(spec(root, "many", branches=(BATCH * 20,), micro_batch=3))
    assert losses(many) == pytest.approx(losses(one), rel=1e-5)


def test_documents_apart_is_another_run(root):
    together = run_trunk(spec(root, "together", branches=(BATCH * 10,)))
    apart = run_trunk(spec(root, "apart", branches=(BATCH * 10,), attend_across_documents=False))
    assert losses(apart) != losses(together)
    assert losses(apart) == pytest.approx(losses(together), rel=0.05)


def test_a_missing_tokenizer_is_told_before_the_first_step(root):
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is missing"):
        run_trunk(spec(root, save_weights=True))
    assert not (root / "run").exists()


@pytest.mark.parametrize("changes", [{"tensor": 2}, {"pipeline": 2}, {"processes": 2}])
def test_layouts_that_cannot_be(root, changes):
    with pytest.raises(LayoutError):
        run_trunk(spec(root, **changes))


def test_tokens_that_changed_are_another_run(root, tmp_path):
    run_trunk(spec(root, branches=(BATCH * 5,), tokens_dir=str(write_tokens(tmp_path / "t1", 20_000))))
    with pytest.raises(ArtifactError, match="another run"):
        run_trunk(spec(root, branches=(BATCH * 9,), tokens_dir=str(write_tokens(tmp_path / "t1", 30_000))))


def test_bf16_on_a_processor_trains_near_fp32(root):
    exact = run_trunk(spec(root, "exact", branches=(BATCH * 20,)))
    half = run_trunk(spec(root, "half", branches=(BATCH * 20,), precision="bf16"))
    assert half[0].precision == "bf16"
    assert losses(half) == pytest.approx(losses(exact), rel=0.02)
    assert losses(half) != losses(exact)
    assert torch.get_default_dtype() == torch.float32


def test_a_run_that_keeps_weights_can_be_extended_from_its_constant_rate(root, monkeypatch):
    train_tokenizer(["a few words to learn merges from"] * 3, 270, root / "tokenizer")
    short = spec(root, branches=(BATCH * 40,), budgets=(), save_weights=True)
    (record,) = run_trunk(short)
    assert record.weights == str(root / "run" / "weights")
    kept = load(record.weights)
    again = Feed(short, Ranks()).score(kept, bf16=False)
    assert again[""].nats == pytest.approx(record.validation.nats, rel=1e-6)
    assert [p.name for p in (root / "run" / "checkpoints").glob("*.json")] == ["00000001.json"]

    taken, real = [], loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *a, **k: taken.append(1) or real(*a, **k))
    extended = run_trunk(short.model_copy(update={"branches": (BATCH * 40, BATCH * 80)}))
    assert len(taken) == 80 - 32  # on from 80% of the short run
    assert losses(extended) == losses(run_trunk(spec(root, "whole", budgets=())))


def test_the_bar_shows_loss_speed_and_time_left():
    text = io.StringIO()
    with RunBar("pretrain", console=Console(file=text, width=120, force_terminal=False)) as bar:
        bar(5, 10, 2.5, 1234.0)
        bar(10, 10, 2.25, 5678.0)
    assert "10/10" in text.getvalue()
    assert "loss 2.250" in text.getvalue()
    assert "5,678 tokens/s" in text.getvalue()
