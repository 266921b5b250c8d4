"""Reading what people write, and writing what people read."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from forescale.cli.arguments import spread
from forescale.cli.options import count, fraction, number, pairs, values
from forescale.cli.words import num, span


@pytest.mark.parametrize("name", ["options", "arguments", "words", "law_tables"])
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"forescale.cli.{name}")).failed == 0


@given(st.integers(min_value=1, max_value=10**15))
def test_counts_survive_every_way_of_writing(n: int) -> None:
    assert count(str(n)) == count(f"{n:_}") == n
    assert count(f"{n}e3") == 1000 * n


@pytest.mark.parametrize("text", ["", "abc", "-1", "0", "nan", "inf", "1e-3x"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        number(text)
    with pytest.raises(typer.BadParameter):
        count(text)


def test_a_count_is_whole() -> None:
    with pytest.raises(typer.BadParameter, match="whole"):
        count("1.5")


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), (" 2.5 %", 0.025), ("0.9", 0.9), ("25e-4", 0.0025)])
def test_shares(text: str, value: float) -> None:
    assert fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "1", "100%", "-1%", "x", "nan"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        fraction(text)


def test_pairs() -> None:
    assert pairs(["lr=2**log2_lr", "loss=val loss"], "--column") == {"lr": "2**log2_lr", "loss": "val loss"}
    with pytest.raises(typer.BadParameter, match="twice"):
        pairs(["a=1", "a=2"], "--where")
    with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
        pairs(["a"], "--where")


def test_values_are_read_as_numbers_where_they_are() -> None:
    read = values(["d_model=128,n_layer=4", "schedule=wsd", "lr=1e-3"], "--shape")
    assert read == {"d_model": 128, "n_layer": 4, "schedule": "wsd", "lr": 0.001}
    assert isinstance(read["d_model"], int)


def test_a_path_is_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tag=v2.csv").touch()
    assert spread(["fit", "--where", "a=1", "b=2", "tag=v2.csv"]) == [
        "fit",
        "--where",
        "a=1",
        "--where",
        "b=2",
        "tag=v2.csv",
    ]
    assert spread(["fit", "--where", "a=1", "runs.csv"]) == ["fit", "--where", "a=1", "runs.csv"]
    assert spread(["compare", "--validation", "v", "a.csv", "b.csv"]) == [
        "compare",
        "--validation",
        "v",
        "a.csv",
        "b.csv",
    ]
    assert spread(["fit", "--", "--where", "a=1", "b=2"]) == ["fit", "--", "--where", "a=1", "b=2"]


@given(st.floats(min_value=-1e300, max_value=1e300))
def test_numbers_for_people_stay_near(value: float) -> None:
    assert float(num(value).replace(",", "")) == pytest.approx(value, rel=1e-3, abs=1e-300)


def test_nothing_is_a_dash() -> None:
    assert num(None) == span(None) == "–"
