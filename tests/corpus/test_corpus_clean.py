"""The whole chain on small corpora: what goes, what stays, on which side, and that a killed run goes on."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpus_texts import altered, prose

from forescale.base.config import CorpusSection
from forescale.base.errors import ArtifactError, InputError, SystemFailure
from forescale.base.executor import InlineExecutor
from forescale.base.records.corpus import CorpusSummary
from forescale.base.records.document import PARQUET_COLUMNS
from forescale.corpus import clean as cleaning
from forescale.corpus import inspect, parts
from forescale.corpus.clean import clean
from forescale.corpus.split import choose_sources
from forescale.corpus.write import contents

SECTION = CorpusSection(validation_share=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve sources of ten documents; copies within and across sources; some that quality rules refuse."""
    rng = random.Random(11)
    texts = [prose(rng) for _ in range(120)]
    root = tmp_path / "in"
    for i, text in enumerate(texts):
        path = root / f"s{i // 10:02d}" / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for i in (3, 50):
        (root / "s11" / f"copy{i}.txt").write_text(texts[i])
        (root / "s11" / f"near{i}.txt").write_text(altered(rng, texts[i + 1], 2))
    for i in range(0, 120, 10):  # half alike: not removed, but never on both sides
        (root / f"s{(i // 10 + 6) % 12:02d}" / f"half{i}.txt").write_text(altered(rng, texts[i], 9))
    (root / "s00" / "short.txt").write_text("too short")
    (root / "s00" / "rule.txt").write_text("-=+*#@" * 40)
    (root / "s00" / "broken.txt").write_bytes(b"\xff\xfe broken")
    return root


def run(folder: Path, out: Path, section: CorpusSection = SECTION, seed: int = 0) -> CorpusSummary:
    return clean([folder], out, section, InlineExecutor(), seed)


def test_the_chain(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run(folder, out)
    train, held, removed = (contents(out / name) for name in cleaning.FOLDERS)
    assert summary.read_documents == 138
    assert len(train) + len(held) + len(removed) == 138
    assert summary.documents == len(train) + len(held)
    assert (summary.train.documents, summary.validation.documents) == (len(train), len(held))
    assert summary.bytes == sum(len(row["text"].encode()) for row in train + held)
    assert summary.removed["exact duplicate"] == 2
    assert summary.removed["near duplicate"] == 2
    assert summary.removed["too short"] == 1
    assert summary.removed["few letters"] == 1
    assert sum(summary.removed.values()) == len(removed)
    assert (summary.quarantined, summary.quarantine[0].file) == (1, "s00/broken.txt")
    assert set(train[0]) == set(PARQUET_COLUMNS)
    kept_ids = {row["id"] for row in train + held}
    for row in removed:
        assert (row["kept_id"] is not None) == ("duplicate" in row["reason"] or row["reason"] == cleaning.TOO_NEAR)
        assert row["kept_id"] is None or row["kept_id"] in kept_ids
    assert CorpusSummary.read(out / "summary.json") == summary
    assert not (out / ".work").exists()


def test_no_source_and_no_group_stands_on_both_sides(folder: Path, tmp_path: Path) -> None:
    for seed in range(3):
        out = tmp_path / f"out{seed}"
        summary = run(folder, out, seed=seed)
        train, held = contents(out / "train"), contents(out / "validation")
        assert summary.split_by == "sources"
        assert not {row["source"] for row in train} & {row["source"] for row in held}
        assert 1 <= len(summary.validation.sources) <= 3
        grams = [set(zip(*[row["text"].split()[k:] for k in range(5)], strict=False)) for row in train]
        for row in held:
            own = set(zip(*[row["text"].split()[k:] for k in range(5)], strict=False))
            assert max(len(own & other) / len(own | other) for other in grams) < 0.5
        touched = cleaning.TOO_NEAR in summary.removed
        assert touched, "each source shares half-alike documents with another"


def test_contact_rate_is_the_share_of_validation_ngrams_seen_in_training(folder: Path, tmp_path: Path) -> None:
    summary = run(folder, tmp_path / "out")

    def grams(row: dict[str, str]) -> set[tuple[str, ...]]:
        return set(zip(*[row["text"].split()[k:] for k in range(13)], strict=False))

    seen = set().union(*(grams(row) for row in contents(tmp_path / "out" / "train")))
    asked = [grams(row) for row in contents(tmp_path / "out" / "validation")]
    every = set().union(*asked)
    assert summary.contact.ngrams == len(every)
    assert summary.contact.rate == pytest.approx(len(every & seen) / len(every))
    assert summary.contact.documents_touched == sum(bool(g & seen) for g in asked)


def test_the_same_corpus_again_and_another_seed(folder: Path, tmp_path: Path) -> None:
    first, again, other = (run(folder, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.sha256 == again.sha256 != other.sha256
    assert inspect.diff(tmp_path / "a", tmp_path / "b")["same"]
    moved = inspect.diff(tmp_path / "a", tmp_path / "c")
    assert moved["moved"]
    assert not moved["same"]


def test_without_dedup_the_split_is_by_source_alone(folder: Path, tmp_path: Path) -> None:
    section = CorpusSection(dedup=False, quality=False, validation_share=0.1)
    summary = run(folder, tmp_path / "out", section)
    assert summary.removed == {}
    assert summary.documents == 138
    assert not set(summary.train.sources) & set(summary.validation.sources)
    with pytest.raises(InputError, match="one source") as caught:
        clean([_single(tmp_path, folder)], tmp_path / "one", section, InlineExecutor())
    assert (caught.value.exit_code, caught.value.key) == (3, "corpus.dedup")


def _single(tmp_path: Path, folder: Path) -> Path:
    rows = [json.dumps({"text": path.read_text()}) for path in sorted((folder / "s01").glob("*.txt"))]
    path = tmp_path / "single.jsonl"
    path.write_text("\n".join(rows))
    return path


def test_a_single_source_is_split_by_groups(folder: Path, tmp_path: Path) -> None:
    summary = clean([_single(tmp_path, folder)], tmp_path / "out", SECTION, InlineExecutor())
    assert summary.split_by == "groups"
    assert summary.validation.documents >= 1
    assert summary.train.documents > summary.validation.documents
    assert summary.warnings


def test_two_sources_of_unequal_size_are_never_mixed(tmp_path: Path) -> None:
    rng = random.Random(4)
    for i in range(40):
        path = tmp_path / "in" / ("small" if i < 10 else "big") / f"{i}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(rng))
    summary = run(tmp_path / "in", tmp_path / "out")
    assert (summary.validation.sources, summary.train.sources) == (["small"], ["big"])
    assert "sources are never cut" in summary.warnings[0]


def test_choosing_sources_prefers_several_small_ones() -> None:
    sizes = {"giant": 9000, **{f"p{i}": 50 for i in range(20)}}
    for seed in range(5):
        chosen = choose_sources(sizes, 0.04, seed)
        assert "giant" not in chosen
        assert 300 <= 50 * len(chosen) <= 500
    assert choose_sources({"only": 10}, 0.1, 0) == []


def test_a_killed_run_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 20_000)
    whole = run(folder, tmp_path / "whole")
    calls: list[str] = []
    read_rows = parts.read_rows

    def counting(file: parts.InputFile) -> object:
        calls.append(file.name)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return read_rows(file)

    monkeypatch.setattr(parts, "read_rows", counting)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "summary.json").exists()
    finished = len(list((tmp_path / "out" / ".work").glob("part-*.json")))
    assert finished >= 1
    summary = run(folder, tmp_path / "out")
    assert summary == whole
    assert len(calls) < 2 * 139  # the finished parts were not read again


def test_a_full_disk_is_exit_8(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(SystemFailure, match="No space left") as caught:
        run(folder, tmp_path / "out")
    assert caught.value.exit_code == 8
    monkeypatch.undo()
    assert run(folder, tmp_path / "out").documents > 100


@pytest.mark.parametrize(
    ("files", "message"),
    [({"a.txt": b"\xff\xff", "b.txt": b"\0"}, "none of the files"), ({"a.txt": b"short"}, "no document is left")],
)
def test_nothing_usable_is_exit_3(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        run(tmp_path / "in", tmp_path / "out")


def test_looking_into_a_corpus(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out)
    assert inspect.stats(out).documents > 100
    drawn = inspect.sample(out, 4, seed=3)
    assert drawn == inspect.sample(out, 4, seed=3) != inspect.sample(out, 4, seed=4)
    assert inspect.why(out, "s11/copy3.txt")[0]["kept_id"] == "s00/3.txt"
    assert inspect.why(out, drawn[0]["id"])[0]["split"] == "train"
    with pytest.raises(InputError, match="no document"):
        inspect.why(out, "absent")
    with pytest.raises(ArtifactError):
        inspect.stats(tmp_path)


def test_quality_rules_name_their_reason(tmp_path: Path, write_jsonl: Callable[..., Path]) -> None:
    rng = random.Random(1)
    good = [prose(rng) for _ in range(20)]
    rows = {
        "few letters": "1 2 3 4 5 6 7 8 9 0 " * 10,
        "repeated lines": "the very same line again\n" * 30,
        "repeated n-grams": "one two three four five six seven " * 30,
        "encoded data": " ".join("".join(rng.choice("abcdefgh") for _ in range(60)) for _ in range(8)),
        "damaged characters": prose(rng) + "\ufffd" * 20,
        "too short": "tiny",
    }
    write_jsonl(tmp_path / "in" / "a.jsonl", [{"text": text, "id": name} for name, text in rows.items()])
    for i in range(10):
        write_jsonl(tmp_path / "in" / f"g{i}.jsonl", [{"text": text} for text in good[2 * i : 2 * i + 2]])
    run(tmp_path / "in", tmp_path / "out")
    removed = {row["id"]: row["reason"] for row in contents(tmp_path / "out" / "removed")}
    assert removed == {name: name for name in rows}
