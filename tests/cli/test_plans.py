"""Several plans side by side: each as it would be alone, none kept, one table with a column each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import forescale
from forescale.base.errors import ArtifactError, ConfigError


@pytest.fixture
def space(run: Any, tmp_path: Path) -> Path:
    """A workspace of small shapes."""
    small = ["tokenizer.vocab_size=512", "model.seq_len=128", "model.ffn_multiple=8"]
    assert run("init", tmp_path / "space", *(word for one in small for word in ("--set", one))).code == 0
    return tmp_path / "space"


def test_each_is_the_plan_it_would_be_alone(run: Any, empty_home: Path) -> None:
    ended = run("plan", "--flops", "1e20", "1e21", "--laws", "deepseek", "--laws", "chinchilla", "--json")
    assert ended.code == 0
    assert ended.json["names"] == [
        f"{c} FLOPs, {laws}" for c in ("1e20", "1e21") for laws in ("deepseek", "chinchilla")
    ]
    for words, plan in zip(ended.json["names"], ended.json["plans"], strict=True):
        flops, laws = words.split(" FLOPs, ")
        assert run("plan", "--flops", flops, "--laws", laws, "--json").json == plan


def test_in_python_too() -> None:
    made = forescale.plans("epoch", days=[10, 30], gpus=64, device=["h100", "a100"])
    assert made.names == ["10 days, h100", "10 days, a100", "30 days, h100", "30 days, a100"]
    assert made.plans[3] == forescale.plan("epoch", days=30, gpus=64, device="a100")
    assert made.plans[0].flops > made.plans[1].flops, "the faster device reaches further in the same days"


def test_none_is_kept_and_kept_ones_stand_beside(run: Any, space: Path, tmp_path: Path) -> None:
    here = ["--workspace", space, "--laws", "deepseek"]
    kept = run("plan", "--flops", "1e13", *here, "--json").json
    ended = run("plan", "--flops", "2e13", "3e13", *here, "--beside", space / "plans", "--out", tmp_path / "all.json",
                "--json")  # fmt: skip
    assert ended.json["names"] == ["2e13 FLOPs", "3e13 FLOPs", "1.00e13"]
    assert ended.json["plans"][2] == kept
    assert json.loads((tmp_path / "all.json").read_text()) == ended.json
    assert len(list(space.glob("plans/*/plan.json"))) == 1
    assert len(run("ledger", "--workspace", space, "--json").json["entries"]) == 1
    only = run("plan", "--beside", "1.00e13", "--workspace", space, "--json")
    assert only.json == {"plans": [kept], "names": ["1.00e13"]}, "without a dial only the kept ones"
    project = forescale.Project(space)
    assert project.plans(["1.00e13"], flops=[2e13, 3e13], laws="deepseek").to_json() == {
        "names": ["2e13 FLOPs", "3e13 FLOPs", "1.00e13"],
        "plans": ended.json["plans"],
    }


def test_one_value_is_one_plan_as_ever(run: Any, space: Path) -> None:
    ended = run("plan", "--flops", "1e13", "--workspace", space, "--set", "model.seq_len=256", "--json")
    assert ended.json["model"]["seq_len"] == 256
    assert len(list(space.glob("plans/*/plan.json"))) == 1


def test_the_table_has_a_column_a_plan(run: Any, empty_home: Path) -> None:
    ended = run("plan", "--flops", "1e20", "--laws", "chinchilla", "kaplan", "--device", "h100", "--gpus", "8")
    lines = {line.split("  ")[0]: line for line in ended.out.splitlines() if line}
    assert "chinchilla" in ended.out.splitlines()[1]
    assert "kaplan" in ended.out.splitlines()[1]
    for label in (
        "layers x width",
        "tokens a parameter",
        "learning rate",
        "GiB a device",
        "days",
        "forecast",
        "warnings",
    ):
        assert label in lines
    assert lines["forecast"].count("nats/token") == 2
    assert "ladder's share" not in lines, "a row without a value for any plan is left out"
    assert "warning: kaplan: " in ended.err


@pytest.mark.parametrize(("laws", "said"), [("chinchilla kaplan", True), ("chinchilla deepseek", False)])
def test_forecasts_of_different_laws_are_not_compared(run: Any, empty_home: Path, laws: str, said: bool) -> None:
    """`deepseek` forecasts no loss: beside it there is nothing to confuse."""
    ended = run("plan", "--flops", "1e20", "--laws", *laws.split())
    assert ("The forecasts come from different laws" in ended.out) == said
    same = run("plan", "--flops", "1e20", "1e21", "--laws", laws.split()[0])
    assert "different laws" not in same.out


def test_bad_asking(run: Any, empty_home: Path) -> None:
    assert run("plan", "--flops", "1e20", "1e21", "--tokens", "1e9", "--json").json["error"]["code"] == 2
    assert run("plan", "--flops", "1e20", "x", "--json").json["error"]["code"] == 2
    assert run("plan", "--beside", "none", "--json").json["error"]["code"] == 4
    (empty_home / "bad.json").write_text("{}")
    assert run("plan", "--beside", "bad.json", "--json").json["error"]["file"] == "bad.json"
    with pytest.raises(ConfigError, match="one dial"):
        forescale.plans(flops=[1e20, 1e21], tokens=1e9)


def test_a_missing_plan_names_those_that_are_there(run: Any, space: Path) -> None:
    run("plan", "--flops", "1e13", "--laws", "deepseek", "--workspace", space)
    with pytest.raises(ArtifactError) as caught:
        forescale.Project(space).plans(["other"])
    assert "1.00e13" in caught.value.remedy


def test_waiting_and_borrowed_laws_are_read_in_both_forms(run: Any, empty_home: Path) -> None:
    """What devices wait for, and what is not of the laws asked for: in words, in a column, and as JSON."""
    asked = (
        "plan",
        "--flops",
        "1e21",
        "--laws",
        "llama3",
        "--unique-tokens",
        "1e9",
        "--gpus",
        "1000",
        "--device",
        "h100",
    )
    alone = run(*asked)
    assert alone.code == 0
    said = " ".join(alone.out.split())
    assert "while they work, which is" in said
    assert "(deepseek)" in said
    data = run(*asked, "--json").json
    assert f"which is {100 * data['layout']['busy']:.0f}% of the time" in said
    assert data["borrowed"]["batch law"] == "deepseek"
    assert "Fig. 5" in data["borrowed"]["size against tokens"]
    both = " ".join(run(*asked, "--laws", "deepseek").out.split())
    assert "not of these laws" in both
    assert "time at work" in both
