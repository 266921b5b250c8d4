"""Tables as people export them: each gives the clean table's runs, or says which rows or columns it could not take."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from forescale.base.errors import InputError
from forescale.scaling.columns import number
from forescale.scaling.table import read_runs

ROWS = [
    {"params": n, "tokens": c // 6 // n, "loss": round(1.8 + 480 / n**0.35 + 2100 / (c / 6 / n) ** 0.37, 6)}
    for c in (10**18, 4 * 10**18, 16 * 10**18)
    for n in (51_200_000, 103_400_000, 207_800_000, 417_600_000)
]


def text(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def each(**columns):
    return [{name: cell(row) for name, cell in columns.items()} for row in ROWS]


def spaced(sign):
    return text(each(**{k: lambda r, k=k: f"{r[k]:,}".replace(",", sign) for k in ("params", "tokens")},
                     loss=lambda r: r["loss"]), "\t")  # fmt: skip


def european(row, name):
    return f"{row[name]:,}".replace(",", ".") if name != "loss" else str(row[name]).replace(".", ",")


NESTED = [{"config": {"model": {"n_params": r["params"]}}, "summary": {"eval": {"loss": r["loss"]},
           "tokens": r["tokens"]}} for r in ROWS]  # fmt: skip
TABLES = {
    "bom.csv": "\ufeff" + text(ROWS),
    "comments.csv": "# exported, by me\n# twice\n" + text(ROWS),
    "pipes.csv": text(ROWS, "|"),
    "tabs.tsv": text(ROWS, "\t"),
    "european.csv": text(each(**{k: lambda r, k=k: european(r, k) for k in ROWS[0]}), ";"),
    "commas.csv": text(each(**{k: (lambda r, k=k: f"{r[k]:,}") for k in ("params", "tokens")}, loss=lambda r: r["loss"])),
    "spaces.tsv": spaced(" "),
    "thin.tsv": spaced("\u202f"),
    "underscores.tsv": spaced("_"),
    "words.csv": text(each(params=lambda r: f"{r['params'] / 1e6} million", tokens=lambda r: f"{r['tokens'] / 1e9:.9f}b",
                           loss=lambda r: r["loss"])),
    "logs.csv": text(each(log10_params=lambda r: np.log10(r["params"]), log2_tokens=lambda r: np.log2(r["tokens"]),
                          loss=lambda r: r["loss"])),
    "percent.csv": text([{**row, "accuracy": "31%"} for row in ROWS]),
    "nested.jsonl": "\n".join(json.dumps(row) for row in NESTED),
    "columns.json": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "frame.json": json.dumps({name: {str(k): row[name] for k, row in enumerate(ROWS)} for name in ROWS[0]}),
    "wrapped.json": json.dumps({"made": "today", "runs": ROWS}, indent=1),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_messy_table_is_read_as_the_clean_one(name, tmp_path):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    table = read_runs(tmp_path / name)
    assert table.size.tolist() == pytest.approx([row["params"] for row in ROWS])
    assert table.tokens.tolist() == pytest.approx([row["tokens"] for row in ROWS], rel=1e-6)
    assert table.loss.tolist() == [row["loss"] for row in ROWS]
    assert not table.left_out
    assert any("decimal commas" in w for w in table.warnings) == (name == "european.csv")


def test_lines_are_counted_in_the_file_comments_too(tmp_path):
    (tmp_path / "runs.csv").write_text("# a\n# b\n" + text([*ROWS, {**ROWS[0], "loss": "oops"}]))
    (out,) = read_runs(tmp_path / "runs.csv").left_out
    assert out.line == 3 + len(ROWS) + 1


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ({"run": "TOTAL", "params": 1e9, "tokens": 1e11, "loss": 3.0}, "a summary of the other rows"),
        ({"run": "mean", "params": 1e8, "tokens": 1e10, "loss": 3.0}, "a summary of the other rows"),
        ({name: sum(row[name] for row in ROWS) for name in ROWS[0]}, "the sums of all other rows"),
        ({name: float(np.mean([row[name] for row in ROWS])) for name in ROWS[0]}, "the means of all other rows"),
        ({**ROWS[0], "loss": f"{ROWS[0]['loss']:.4f}"}, "duplicate of row 1"),
        ({**ROWS[0], "loss": 1e4}, "more than guessing costs"),
    ],
)
def test_a_row_that_is_no_run_is_left_out_with_its_reason(last, reason):
    named = [{"run": f"r{k}", **row} for k, row in enumerate(ROWS)] if "run" in last else ROWS
    table = read_runs([*named, last])
    assert len(table) == len(ROWS)
    (out,) = table.left_out
    assert out.row == len(ROWS) + 1
    assert reason in out.reason


def test_runs_of_one_place_are_no_summary_and_seeds_no_duplicates():
    same = [{"params": 1e8, "tokens": 2e9, "lr": 1e-4 * k, "loss": 3 + 0.01 * k} for k in range(1, 6)]
    assert len(read_runs(same)) == 5
    seeds = [{"params": 1e8, "tokens": 2e9, "seed": k, "loss": loss} for k, loss in enumerate(("3.14159", "3.1416"))]
    assert len(read_runs(seeds)) == 2


def test_a_plain_loss_beside_a_held_out_one_is_asked_about():
    rows = [{**row, "val_loss": row["loss"] + 0.2} for row in ROWS]
    assert any("--column loss=val_loss" in warning for warning in read_runs(rows).warnings)
    equal = [{**row, "val_loss": row["loss"]} for row in ROWS]
    assert not any("val_loss" in warning for warning in read_runs(equal).warnings)


def test_perplexities_are_refused_as_such():
    with pytest.raises(InputError) as error:
        read_runs([{"params": r["params"], "tokens": r["tokens"], "val_ppl": np.exp(r["loss"])} for r in ROWS])
    assert "ln(val_ppl)" in error.value.remedy


def test_decimal_commas_that_may_be_thousands_are_not_guessed_at():
    assert number("0,914") is None
    assert number("1 500 000") == number("1_500_000") == number("1'500'000") == number("1.5M") == 1.5e6
    assert number("1_5") is None
    assert number("2 50") is None


def test_a_logarithm_to_an_unknown_base_is_not_guessed():
    rows = each(params=lambda r: r["params"], log_tokens=lambda r: np.log(r["tokens"]), loss=lambda r: r["loss"])
    with pytest.raises(InputError, match="unknown base"):
        read_runs(rows)
    named = read_runs(rows, columns=["tokens=e**log_tokens"])
    assert named.tokens.tolist() == pytest.approx([row["tokens"] for row in ROWS])


def test_a_smoothed_loss_beside_the_last_steps_is_named():
    rows = [{**row, "smooth_loss": row["loss"] + 0.01} for row in ROWS]
    assert any("--column loss=smooth_loss" in text for text in read_runs(rows).warnings)
    assert not any("smooth_loss" in text for text in read_runs(rows, columns=["loss=smooth_loss"]).warnings)
