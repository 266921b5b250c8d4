"""Columns of other people's tables: derived tokens, nested settings, evaluation losses, and what was not understood."""

from __future__ import annotations

import pytest

from forescale.base.errors import InputError
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
        row |= {"loss_kind": "train" if k % 2 else "val"}
    said = " ".join(read_runs(marked).warnings)
    assert "1 row is marked in `epoch_outlier`" in said
    assert "--where epoch_outlier=0" in said
    assert all(f"differ in `{name}`" in said for name in ("optimizer", "decay", "loss_kind"))
