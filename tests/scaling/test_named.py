"""Columns of other people's tables: derived tokens, nested settings, evaluation losses, and what was not understood."""

from __future__ import annotations

import math

import pytest

from forescale.base.errors import ConfigError, InputError
from forescale.scaling.table import read_runs

SIZES = (1e7, 2e7, 4e7, 8e7)
BATCH, SEQ = 128, 2048


def rows(**columns):
    return [{name: value(n) if callable(value) else value for name, value in columns.items()} for n in SIZES]


def steps(n):
    return round(20 * n / (BATCH * SEQ))


@pytest.mark.parametrize(
    "columns",
    [
        {"steps": steps, "batch_tokens": BATCH * SEQ},
        {"train_iters": steps, "global_batch_size": BATCH, "seq_length": SEQ},
        {"consumed-train-samples": lambda n: steps(n) * BATCH, "seq-length": SEQ},
    ],
)
def test_tokens_come_from_steps_and_batch(columns):
    table = read_runs(rows(params=lambda n: n, loss=lambda n: 4 - n / 1e8, **columns))
    assert table.tokens.tolist() == [steps(n) * BATCH * SEQ for n in SIZES]
    assert " x " in table.guesses["tokens"]


def test_a_refusal_says_how_columns_were_understood():
    with pytest.raises(InputError, match="no usable run") as error:
        read_runs(rows(params=lambda n: n, loss=3.0, mystery=1))
    assert "params from params" in error.value.why
    assert "ignored: mystery" in error.value.why


@pytest.mark.parametrize("name", ["config.model.n_params", "parameter_count", "number-of-parameters"])
def test_names_of_trackers_are_known(name):
    table = read_runs(rows(**{name: lambda n: n}, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8))
    assert table.size.tolist() == list(SIZES)


def test_an_evaluation_loss_stands_before_a_training_loss():
    train, c4 = {"train/CE loss": 3.0}, {"eval/lm/c4_en-validation/CE loss": lambda n: 4 - n / 1e8}
    table = read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, **train, **c4))
    assert table.guesses["loss"] == "eval/lm/c4_en-validation/CE loss"
    assert table.ignored == ("train/CE loss",)
    pile = {"eval/lm/pile-validation/CE loss": 3.0}
    several = read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, **train, **c4, **pile))
    assert any("c4_en" in warning and "pile" in warning for warning in several.warnings)
    with pytest.raises(InputError, match="no column gives the loss") as error:
        read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, **c4, **pile))
    assert "pile-validation" in error.value.why


def test_the_size_that_is_not_used_is_not_shown_as_used():
    table = read_runs(rows(total_params=lambda n: 8 * n, active_params=lambda n: n, tokens=2e9, loss=3.0, note="x"))
    assert table.understood == {"active_params": "active_params", "tokens": "tokens", "loss": "loss"}
    assert table.ignored == ("note", "total_params (active_params is the size)")


def test_marks_and_choices_are_said():
    marked = rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8, epoch_outlier="0")
    marked[0]["epoch_outlier"] = "1"
    for k, row in enumerate(marked):
        row |= {"optimizer": "adamw" if k % 2 else "muon", "decay": "cosine" if k % 2 else "wsd"}
    said = " ".join(read_runs(marked).warnings)
    assert "1 row is marked in `epoch_outlier`" in said
    assert "--where epoch_outlier=0" in said
    assert all(f"differ in `{name}`" in said for name in ("optimizer", "decay"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("loss_kind", ("train", "val")), ("split", ("test", "validation")), ("eval", ("Train", "heldout")),
     ("loss_type", ("c4", "pile"))],
)  # fmt: skip
def test_losses_of_two_texts_never_share_a_fit(name, words):
    mixed = rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8)
    for k, row in enumerate(mixed):
        row[name] = words[k % 2]
    with pytest.raises(ConfigError, match=rf"`{name}` is .*{words[1]}") as error:
        read_runs(mixed)
    assert f"--where {name}=" in error.value.remedy
    assert len(read_runs(mixed, where=[f"{name}={words[0]}"])) == (len(mixed) + 1) // 2


def test_a_split_of_another_kind_is_no_other_text():
    mixed = rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8)
    for k, row in enumerate(mixed):
        row["split"] = "narrow" if k % 2 else "wide"
    assert len(read_runs(mixed)) == len(mixed)


@pytest.mark.parametrize("name", ["style", "param_count"])
def test_two_counts_of_the_same_runs_never_share_a_fit(name):
    plain = rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8)
    twice = [
        {**row, name: word, "params": row["params"] * factor, "loss": row["loss"] * slip}
        for row in plain
        for word, factor, slip in (("all", 1.4, 1.001), ("projections", 1.0, 1.0))
    ]
    with pytest.raises(ConfigError, match=f"how their size is counted: `{name}` is all, projections"):
        read_runs(twice)
    assert len(read_runs(twice, where=[f"{name}=all"])) == len(plain)


def test_another_optimizer_at_other_losses_is_no_other_count():
    plain = rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8)
    twice = [
        {**row, "style": word, "params": row["params"] * factor, "loss": row["loss"] * slip}
        for row in plain
        for word, factor, slip in (("adamw", 1.4, 1.01), ("muon", 1.0, 1.0))
    ]
    assert any("differ in `style`" in text for text in read_runs(twice).warnings)


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("EFLOPs", 1e18), ("compute (PFLOP-days)", 8.64e19), ("PF-days", 8.64e19), ("petaflop/s-days", 8.64e19),
        ("train_zflops", 1e21), ("compute (TFLOPs)", 1e12), ("FLOPs (1e18)", 1e18),
    ],
)  # fmt: skip
def test_compute_in_the_headers_unit_is_read_as_flops(header, factor):
    table = read_runs(
        rows(**{"N (M)": lambda n: n / 1e6, header: lambda n: 120 * n * n / factor}, loss=lambda n: 4 - n / 1e8)
    )
    assert table.flops.tolist() == pytest.approx([120 * n * n for n in SIZES])
    assert table.guesses["flops"] == f"{header} x {factor:.4g} (to FLOPs)".replace("e+", "e")


@pytest.mark.parametrize("header", ["TFLOPS", "tflops_per_gpu", "TFLOPs/s", "eflops_per_second", "peak PFLOPs"])
def test_speeds_are_no_compute(header):
    table = read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=3.0, **{header: 400.0}))
    assert table.ignored == (header,)


@pytest.mark.parametrize(
    ("header", "factor", "unit"),
    [
        ("loss (bits/token)", math.log(2), "nats_per_token"),
        ("val_loss_bits_per_token", math.log(2), "nats_per_token"),
        ("final loss (nats)", 1.0, "nats_per_token"),
        ("val bpb", 1.0, "bpb"),
        ("loss_bits_per_byte", 1.0, "bpb"),
        ("eval loss (nats/byte)", 1 / math.log(2), "bpb"),
    ],
)
def test_losses_in_the_headers_unit(header, factor, unit):
    table = read_runs(
        rows(params=lambda n: n, tokens=lambda n: 20 * n, train_loss=1.0, **{header: lambda n: 4 - n / 1e8})
    )
    assert table.unit == unit
    assert table.loss.tolist() == pytest.approx([factor * (4 - n / 1e8) for n in SIZES])
    mapped = f"{'bpb' if unit == 'bpb' else 'loss'}={header}"
    again = read_runs(
        rows(params=lambda n: n, tokens=lambda n: 20 * n, **{header: lambda n: 4 - n / 1e8}), columns=[mapped]
    )
    assert again.loss.tolist() == table.loss.tolist()


def test_bits_of_nothing_said_are_asked_about():
    with pytest.raises(InputError, match="per token or per byte") as error:
        read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, **{"val loss (bits)": 4.0}))
    assert "--column loss='0.693147*val loss (bits)'" in error.value.remedy


def test_a_unit_column_may_say_bits_per_token():
    table = read_runs(rows(params=lambda n: n, tokens=lambda n: 20 * n, loss=lambda n: 4 - n / 1e8, unit="bits/token"))
    assert table.unit == "nats_per_token"
    assert table.loss[0] == pytest.approx(math.log(2) * 3.9)


def test_steps_and_sequences_without_their_length_say_what_is_missing():
    lacking = rows(params=lambda n: n, train_iters=steps, global_batch_size=BATCH, loss=lambda n: 4 - n / 1e8)
    with pytest.raises(InputError, match="`seq_len` is missing") as error:
        read_runs(lacking)
    assert "train_iters x global_batch_size x seq_len" in error.value.what
    factor = BATCH * SEQ
    assert "--column tokens='N*train_iters'" in error.value.remedy
    assert read_runs(lacking, columns=[f"tokens={factor}*train_iters"]).tokens[0] == steps(SIZES[0]) * factor


def test_a_training_mix_is_a_corpus_and_chosen_by_group():
    mixed = rows(
        params=lambda n: n, tokens=lambda n: 20 * n, loss=3.0, **{"Training Mix": lambda n: "a" if n > 3e7 else "b"}
    )
    with pytest.raises(ConfigError, match="differ in group: a, b") as error:
        read_runs(mixed)
    assert "--group NAME" in error.value.remedy
    assert len(read_runs(mixed, group="a")) == 2
    other = [{("Data Version" if k == "Training Mix" else k): v for k, v in row.items()} for row in mixed]
    assert any("--where 'Data Version=VALUE'" in warning for warning in read_runs(other).warnings)
