"""The run table: what is read, guessed, refused, left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from forescale.base.errors import ConfigError, InputError
from forescale.base.shape import ModelShape
from forescale.scaling.columns import guess
from forescale.scaling.derive import trained_flops
from forescale.scaling.table import read_runs

ROWS = [
    {"params": 1e7 * k, "tokens": 2e8 * k, "loss": 4.0 - 0.1 * k, "run": f"r{k}"} for k in range(1, 6)
]  # fmt: skip


def write_csv(path: Path, rows: list[dict]) -> Path:
    names = list(dict.fromkeys(n for r in rows for n in r))
    lines = [",".join(names)] + [",".join("" if r.get(n) is None else str(r[n]) for n in names) for r in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_source_reads_the_same(tmp_path):
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    jsonl = tmp_path / "runs.jsonl"
    jsonl.write_text("\n".join(json.dumps(row) for row in ROWS))
    parquet = tmp_path / "runs.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), parquet)
    ladder = tmp_path / "ladder"
    ladder.mkdir()
    write_csv(ladder / "runs.csv", ROWS)
    sources = [
        write_csv(tmp_path / "runs.csv", ROWS), jsonl, parquet, ladder, ROWS, columns, pandas.DataFrame(columns),
        polars.DataFrame(columns), pyarrow.table(columns),
    ]  # fmt: skip
    for source in sources:
        table = read_runs(source)
        assert table.loss.tolist() == pytest.approx([r["loss"] for r in ROWS])
        assert table.scale == "N2"
        assert table.flops.tolist() == pytest.approx([6 * r["params"] * r["tokens"] for r in ROWS])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Name", "config.learning_rate", "summary.val/loss", "config.n_params", "total_tokens"],
         {"run": "Name", "lr": "config.learning_rate", "loss": "summary.val/loss", "params": "config.n_params",
          "tokens": "total_tokens"}),
        (["throughput/total tokens", "eval/CE loss", "optim/LR"],
         {"tokens": "throughput/total tokens", "loss": "eval/CE loss", "lr": "optim/LR"}),
        (["loss_metrics/global_avg_loss", "n_tokens_seen"],
         {"loss": "loss_metrics/global_avg_loss", "tokens": "n_tokens_seen"}),
        (["val_bpb", "depth", "total_batch_size", "total_training_flops", "matrix_lr"],
         {"bpb": "val_bpb", "n_layer": "depth", "batch_tokens": "total_batch_size", "flops": "total_training_flops",
          "lr": "matrix_lr"}),
        (["consumed-train-tokens", "lm loss validation", "num-layers", "hidden-size", "global-batch-size"],
         {"tokens": "consumed-train-tokens", "loss": "lm loss validation", "n_layer": "num-layers",
          "d_model": "hidden-size", "batch_seqs": "global-batch-size"}),
    ],
)  # fmt: skip
def test_column_names_of_other_tools_are_guessed(names, found):
    assert guess(names) == found


def test_column_option_takes_a_power_of_a_column(tmp_path):
    rows = [{**row, "log2_lr": -9.0 - k} for k, row in enumerate(ROWS)]
    table = read_runs(rows, columns=["lr=2**log2_lr"])
    assert table.lr.tolist() == pytest.approx([2.0 ** (-9 - k) for k in range(5)])
    assert table.guesses["lr"] == "2**log2_lr"
    with pytest.raises(ConfigError) as error:
        read_runs(rows, columns=["lr=log2_lrr"])
    assert "log2_lr" in error.value.remedy


def test_where_chooses_and_names_what_there_is():
    rows = [{**row, "hparams": "tuned" if k % 2 else "base"} for k, row in enumerate(ROWS)]
    assert len(read_runs(rows, where=["hparams=tuned"])) == 2
    with pytest.raises(ConfigError) as error:
        read_runs(rows, where=["hparams=best"])
    assert "base, tuned" in error.value.remedy
    assert any("hparams" in w for w in read_runs(rows).warnings)


@pytest.mark.parametrize("name", ["tokenizer", "validation", "seq_len", "group"])
def test_rows_that_never_share_a_fit_are_refused(name):
    rows = [{**row, name: 512 * (1 + k % 2)} for k, row in enumerate(ROWS)]
    with pytest.raises(ConfigError) as error:
        read_runs(rows)
    assert "512" in error.value.what
    assert "1024" in error.value.what
    assert len(read_runs(rows, where=[f"{name}=512"])) == 3


def test_left_out_rows_say_row_line_and_reason(tmp_path):
    rows = [
        *ROWS, {**ROWS[0], "loss": "nan", "run": "a"}, {**ROWS[1], "loss": -1, "run": "b"},
        {**ROWS[2], "loss": None, "run": "c"}, {**ROWS[3], "tokens": 0, "run": "d"}, {**ROWS[0], "run": "again"},
        {**ROWS[4], "status": "diverged", "run": "e"},
    ]  # fmt: skip
    table = read_runs(write_csv(tmp_path / "runs.csv", rows))
    assert [(o.row, o.line) for o in table.left_out] == [(6, 7), (7, 8), (8, 9), (9, 10), (10, 11), (11, 12)]
    reasons = [o.reason for o in table.left_out]
    assert reasons[0] == "the loss is nan"
    assert reasons[1] == "the loss is -1, not positive"
    assert reasons[2] == "no loss"
    assert reasons[3] == "tokens is 0, not a positive number"
    assert reasons[4] == "duplicate of row 1"
    assert reasons[5] == "the run is diverged, not finished"


@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
def test_a_cell_that_is_no_number_is_not_called_missing(column):
    rows = [{"params": 1e6 * k, "tokens": 1e9, "loss": 4.0 - 0.1 * k, "status": ""} for k in (1, 2, 3)]
    rows[1][column] = "abc"
    rows[2] |= {column: "n/a"}
    spoilt, missing = read_runs(rows).left_out
    assert (spoilt.row, spoilt.reason) == (2, f"{column} is `abc`, not a number")
    assert missing.reason.startswith("no ")


def test_a_cell_that_is_no_number_but_can_be_derived_is_said():
    rows = [{"flops_per_token": 1e6 * k, "tokens": 1e9, "flops": 1e15 * k, "loss": 4.0 - k / 10} for k in (1, 2)]
    rows[1]["flops_per_token"] = "abc"
    table = read_runs(rows)
    assert table.size[1] == 2e6
    assert any("row 2, flops_per_token is `abc`, not a number" in text for text in table.warnings)


def test_replicates_are_kept_and_same_seeds_warned():
    rows = [{**ROWS[0], "seed": 1}, {**ROWS[0], "seed": 2, "loss": 3.91}, {**ROWS[0], "seed": 2, "loss": 3.92}]
    table = read_runs(rows)
    assert len(set(table.setting.tolist())) == 1
    assert any("repeat a setting and its seed" in w for w in table.warnings)


def test_shape_gives_m_and_needs_seq_len():
    shape = {"n_layer": 8, "d_model": 512, "n_head": 8, "d_ffn": 8 / 3 * 512}
    row = {**shape, "seq_len": 4096, "tokens": 1e9, "loss": 3.0}
    table = read_runs([row])
    expected = ModelShape(8, 512, 8, 8, 8 / 3 * 512, 1, 4096).flops_per_token
    assert table.size[0] == pytest.approx(expected) == pytest.approx(352e6, rel=0.003)
    with pytest.raises(ConfigError, match="seq_len"):
        read_runs([{**shape, "tokens": 1e9, "loss": 3.0}])


def test_compute_that_disagrees_is_warned_or_left_out():
    rows = [{"flops_per_token": 1e8, "tokens": 1e9 * (1 + k), "flops": 1e17 * (1 + k) * off, "loss": 3.0 - 0.1 * k}
            for k, off in enumerate((1.0, 1.05, 1.3))]  # fmt: skip
    table = read_runs(rows)
    assert len(table) == 2
    assert "30" not in table.left_out[0].reason or "apart" in table.left_out[0].reason
    assert any("more than 1% off" in w for w in table.warnings)


def test_any_two_of_size_tokens_flops_give_the_third():
    a = read_runs([{"flops_per_token": 1e8, "flops": 1e17, "loss": 3.0}])
    b = read_runs([{"tokens": 1e9, "flops": 1e17, "loss": 3.0}])
    assert (a.size[0], a.tokens[0]) == (b.size[0], b.tokens[0]) == (1e8, 1e9)


def test_huge_products_do_not_overflow():
    table = read_runs([{"params": 70_000_000_000, "tokens": 15_000_000_000_000, "loss": 2.0}])
    assert table.flops[0] == pytest.approx(6 * 7e10 * 1.5e13)


def test_mixed_units_are_refused_and_metric_chooses():
    rows = [{**ROWS[0]}, {**{k: v for k, v in ROWS[1].items() if k != "loss"}, "bpb": 1.2}]
    with pytest.raises(InputError, match="unit of the loss changes"):
        read_runs(rows)
    both = [{**row, "bpb": row["loss"] / 3} for row in ROWS]
    assert read_runs(both).unit == "bpb"
    assert read_runs(both, metric="loss").unit == "nats_per_token"
    with pytest.raises(InputError, match="changes from row to row"):
        read_runs([{**ROWS[0], "unit": "bpb"}, {**ROWS[1], "unit": "nats"}])


def test_a_tensorboard_curve_is_no_table():
    with pytest.raises(InputError, match="one curve"):
        read_runs([{"Wall time": 1.0, "Step": 1, "Value": 3.0}])


def test_missing_file_and_empty_table(tmp_path):
    with pytest.raises(InputError, match="there is no table"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError):
        read_runs(tmp_path / "empty.csv")


def test_budgets_within_ten_percent_are_one():
    rows = [{"flops_per_token": 1e8 * (1 + 0.3 * k), "flops": 1e17 * (1 + 0.02 * k), "loss": 3.0 + 0.01 * k}
            for k in range(4)] + [{"flops_per_token": 1e8, "flops": 1e18, "loss": 2.7}]  # fmt: skip
    assert len(set(read_runs(rows).budget.tolist())) == 2


def test_units_that_are_counted_from_one_shape_are_no_choice_to_warn_of():
    """A ladder of ours writes M, parameters and shape: they agree. Where one does not, or no shape is there, it is said."""
    shapes = [
        ModelShape(n_layer=n, d_model=64 * n, n_head=n, n_kv_head=n, d_ffn=192 * n, vocab_size=512, seq_len=128)
        for n in (2, 3, 4)
    ]
    ours = [{"flops_per_token": s.flops_per_token, "params": round(s.params), "n_layer": s.n_layer, "d_model": s.d_model,
             "n_head": s.n_head, "n_kv_head": s.n_kv_head, "d_ffn": s.d_ffn, "vocab_size": 512, "seq_len": 128,
             "tokens": 1e6 * s.n_layer, "loss": 3.0 - 0.1 * s.n_layer} for s in shapes]  # fmt: skip
    said = "sizes in several units"
    assert not any(said in w for w in read_runs(ours).warnings)
    assert set(read_runs(ours).sizes) == {"M", "N1", "N2"}
    other = [{**row, "params": 1.05 * row["params"]} for row in ours]
    assert any(said in w for w in read_runs(other).warnings)
    bare = [{key: row[key] for key in ("flops_per_token", "params", "tokens", "loss")} for row in ours]
    assert any(said in w for w in read_runs(bare).warnings)
    assert not any(said in w for w in read_runs(bare, scale="N2").warnings)


def test_branches_of_a_trunk_paid_for_it_once() -> None:
    """The longest branch is whole; another adds its own decay, the last fifth of its tokens."""
    total = trained_flops(np.array([10.0, 4.0, 7.0]), np.array([0, 0, 1]))
    assert total == pytest.approx(10.0 + 0.2 * 4.0 + 7.0)
