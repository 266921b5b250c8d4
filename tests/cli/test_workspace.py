"""A workspace from its first file on: init, check, show."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from forescale.base import artifact
from forescale.base.config import Recipe, load_recipe
from forescale.project.recipe_text import commented_recipe, keys


def test_a_fresh_recipe_sets_nothing_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "forescale.toml"
    path.write_text(commented_recipe())
    recipe, origin = load_recipe(path)
    assert recipe == Recipe()
    assert not origin


def test_every_default_can_be_uncommented(tmp_path: Path) -> None:
    """Taking the `#` away from each key that has a default gives the same recipe."""
    names = {key.name for key in keys() if key.default is not None}
    lines = []
    for line in commented_recipe().splitlines():
        name = line.removeprefix("# ").partition(" = ")[0]
        lines.append(line.removeprefix("# ") if line.startswith("# ") and " = " in line and name in names else line)
    path = tmp_path / "forescale.toml"
    path.write_text("\n".join(lines))
    recipe, origin = load_recipe(path)
    assert recipe == Recipe()
    assert len(origin) == sum(key.default is not None for key in keys())


def test_init_writes_what_was_set(run: Any, tmp_path: Path) -> None:
    ended = run(
        "init", tmp_path / "a", "--set", "tokenizer.vocab_size=512", "--set", 'corpus.sources=["text"]', "--json"
    )
    assert ended.code == 0
    assert ended.json["set"] == ["corpus.sources", "tokenizer.vocab_size"]
    written = tomllib.loads((tmp_path / "a" / "forescale.toml").read_text())
    assert {k: v for k, v in written.items() if v} == {
        "corpus": {"sources": ["text"]},
        "tokenizer": {"vocab_size": 512},
    }


def test_init_never_overwrites_unasked(run: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "forescale.toml"
    recipe.write_text("# mine\n")
    ended = run("init", tmp_path, "--json")
    assert ended.code == 2
    assert ended.json["error"]["file"] == str(recipe)
    assert recipe.read_text() == "# mine\n"
    assert run("init", tmp_path, "--force").code == 0
    assert recipe.read_text() != "# mine\n"


def test_init_refuses_a_wrong_key(run: Any, tmp_path: Path) -> None:
    ended = run("init", tmp_path / "a", "--set", "tokenizer.vocab=512", "--json")
    assert ended.code == 2
    assert "vocab_size" in ended.json["error"]["remedy"]
    assert not (tmp_path / "a").exists()


def test_check_says_where_values_come_from(run: Any, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("words")
    run("init", tmp_path, "--set", 'corpus.sources=["text"]')
    ended = run("check", "--workspace", tmp_path, "--set", "model.seq_len=128", "--json")
    assert ended.code == 0
    found = {row["key"]: (row["value"], row["from"]) for row in ended.json["recipe"]}
    assert found["model.seq_len"] == (128, "--set")
    assert found["corpus.sources"] == (["text"], str(tmp_path / "forescale.toml"))
    assert found["train.clip"] == (1.0, "default")
    assert ended.json["inputs"][0] | {"path": ""} == {
        "source": "text", "path": "", "exists": True, "files": 1, "bytes": 5, "kinds": {".txt": 1},
    }  # fmt: skip
    assert ended.json["devices"]["cores"] >= 1
    assert ended.json["disk"]["free_gib"] > 0
    assert not list(tmp_path.glob("corpus*")), "check runs nothing"


def test_check_of_a_missing_source_prints_all_and_exits_3(run: Any, tmp_path: Path) -> None:
    run("init", tmp_path, "--set", 'corpus.sources=["nowhere"]')
    ended = run("check", "--workspace", tmp_path, "--json")
    assert ended.code == 3
    assert ended.json["error"]["key"] == "corpus.sources"
    assert ended.json["recipe"]
    plain = run("check", "--workspace", tmp_path)
    assert plain.code == 3
    assert "nowhere" in plain.err
    assert "train.clip" in plain.out


def test_outside_a_workspace(run: Any, empty_home: Path) -> None:
    for verb in (["check"], ["vocab"], ["report"], ["ledger"]):
        ended = run(*verb, "--json")
        assert ended.code == 2
        assert "forescale init" in ended.json["error"]["remedy"]


@pytest.fixture
def made(tmp_path: Path, run: Any) -> Path:
    """A workspace with a parent and a child artifact."""
    run("init", tmp_path)
    for kind, parents in (("corpus", []), ("tokenizer", ["r-corpus"])):
        with artifact.make(
            tmp_path / kind, kind, f"r-{kind}", parents=parents, settings={"a": 1}, verb="clean", seed=3
        ) as folder:
            (folder.path / "part.txt").write_text("content")
            folder.summary = {"documents": 2}
    return tmp_path


def test_show_in_words_and_lineage(run: Any, made: Path) -> None:
    shown = run("show", made / "tokenizer", "--verify", "--lineage", "--json")
    assert shown.code == 0
    data = shown.json
    assert (data["kind"], data["seed"], data["files"], data["wrong"]) == ("tokenizer", 3, 1, [])
    assert data["lineage"]["parents"][0]["kind"] == "corpus"
    plain = run("show", made / "tokenizer", "--verify", "--lineage").out
    assert "files whole: yes" in plain
    assert "corpus r-corpus" in plain
    assert {entry["kind"] for entry in run("show", made, "--json").json["artifacts"]} == {"corpus", "tokenizer"}


@pytest.mark.parametrize("change", ["altered", "removed", "cut"])
def test_show_finds_a_changed_file(run: Any, made: Path, change: str) -> None:
    part = made / "corpus" / "part.txt"
    if change == "altered":
        part.write_text("CONTENT")
    elif change == "cut":
        part.write_text("con")
    else:
        part.unlink()
    for path in (made / "corpus", made):
        ended = run("show", path, "--verify", "--json")
        assert ended.code == 4
        assert "part.txt" in ended.json["error"]["what"]
    assert run("show", made / "corpus", "--json").code == 0, "without --verify nothing is hashed"


def test_show_of_what_is_none(run: Any, tmp_path: Path) -> None:
    assert run("show", tmp_path / "nowhere", "--json").code == 4
    assert run("show", tmp_path, "--json").code == 4
    run("init", tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.json").write_text("{broken")
    ended = run("show", tmp_path, "--json")
    assert ended.code == 4
    assert "manifest.json" in ended.json["error"]["file"]
