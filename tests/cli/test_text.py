"""Raw text to token shards from the command line: made once, found again, looked into, refused with a reason."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

SENTENCE = "a small model learns from text with care because each token counts while data grows slowly over time"
WORDS = SENTENCE.split()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sources of three documents, one of them a copy."""
    from forescale.project.init import init_workspace

    root = tmp_path_factory.mktemp("workspace")
    draw = random.Random(3)
    for source in range(4):
        (root / "text" / f"s{source}").mkdir(parents=True)
        for n in range(3):
            text = " ".join(draw.choice(WORDS) + ("." if draw.random() < 0.1 else "") for _ in range(300))
            (root / "text" / f"s{source}" / f"{n}.txt").write_text(text)
    (root / "text" / "s0" / "copy.txt").write_bytes((root / "text" / "s0" / "0.txt").read_bytes())
    init_workspace(
        root,
        ['corpus.sources=["text"]', "corpus.quality=false", "tokenizer.vocab_size=300", "tokenizer.train_bytes=100000"],
    )
    return root


def test_the_chain(run: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace / "text")
    cleaned = run("clean", "--json")
    assert cleaned.code == 0, cleaned.out
    assert cleaned.json["read_documents"] == 13
    assert sum(cleaned.json["removed"].values()) == 1
    stamp = (workspace / "corpus" / "summary.json").stat().st_mtime_ns
    assert run("clean", "--json").json["sha256"] == cleaned.json["sha256"]
    assert (workspace / "corpus" / "summary.json").stat().st_mtime_ns == stamp, "a finished corpus is not made twice"
    assert "digest: " + cleaned.json["sha256"] in run("corpus", "stats").out
    assert run("vocab", "--json").code == 0
    tokens = run("tokenize", "--json")
    assert tokens.code == 0, tokens.out
    assert tokens.json["vocab_size"] == 300
    assert tokens.json["train"]["bytes"] == cleaned.json["train"]["bytes"]
    shown = run("show", workspace, "--verify", "--json").json["artifacts"]
    assert {entry["kind"]: entry["wrong"] for entry in shown} == {"corpus": [], "tokenizer": [], "tokens": []}

    drawn = run("corpus", "sample", "--n", "2", "--json").json["documents"]
    assert len(drawn) == 2
    assert run("corpus", "sample", "--n", "2").out.count(drawn[0]["text"][:40]) == 1
    why = run("corpus", "why", drawn[0]["id"], "--json").json
    assert why["found"][0]["split"] == "train"
    assert run("corpus", "why", "no-such-id", "--json").code == 3
    assert run("corpus", "diff", workspace / "corpus", workspace / "corpus", "--json").json["same"] is True


def test_verbs_out_of_order_name_the_one_before(run: Any, tmp_path: Path) -> None:
    run("init", tmp_path)
    for verb in ("vocab", "tokenize", "pretrain", "ladder"):
        ended = run(verb, "--workspace", tmp_path, "--json")
        assert ended.code in (2, 4), ended.out
        assert ended.json["error"]["remedy"]
    assert run("clean", "--workspace", tmp_path, "--json").json["error"]["key"] == "corpus.sources"
    assert run("clean", tmp_path / "nowhere", "--workspace", tmp_path, "--json").code == 3


def test_dedup_outside_a_workspace(run: Any, empty_home: Path) -> None:
    texts = {"a": "one two three four five six seven", "b": "one two three four five six seven", "c": "x " * 9}
    Path("d.jsonl").write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()))
    first = run("dedup", "d.jsonl", "--out", "out", "--json")
    assert first.code == 0, first.out
    assert (first.json["documents"], first.json["removed_documents"]) == (3, 1)
    assert run("dedup", "d.jsonl", "--out", "out", "--force", "--json").code == 0
    assert (empty_home / "out.old").exists(), "an earlier result is set aside"
    assert run("dedup", "d.jsonl", "--out", "out2", "--level", "chapter", "--json").code == 2
    assert run("dedup", "none.jsonl", "--out", "out3", "--json").code == 3
