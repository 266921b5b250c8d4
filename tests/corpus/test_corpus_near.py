"""Words, similarity and groups against plain Python."""

import dataclasses
import functools
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from corpus_texts import altered, prose
from hypothesis import given, settings
from hypothesis import strategies as st

from forescale.base.executor import InlineExecutor
from forescale.corpus import kernels, near
from forescale.corpus.parts import Work, plan_parts, read_all
from forescale.corpus.read import find_files


def is_single(c: str) -> bool:
    name = unicodedata.name(c, "")
    starts = (
        "CJK UNIFIED",
        "CJK COMPATIBILITY IDEOGRAPH",
        "HIRAGANA LETTER",
        "KATAKANA LETTER",
        "HALFWIDTH KATAKANA LETTER",
    )
    return name.startswith(starts)


def words_in_python(text: str) -> list[str]:
    """The contract's rule, said a second way."""
    words, current = [], ""
    for c in text.lower():
        if is_single(c):
            words += [current, c]
            current = ""
        elif unicodedata.category(c)[0] in "LM" or unicodedata.category(c) == "Nd":
            current += c
        else:
            words.append(current)
            current = ""
    return [w for w in [*words, current] if w]


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("aB1é 漢字かナｶ.,-_\n\t²ǅ한ंا٣İ"), max_size=60))
def test_words_are_the_contracts(text: str) -> None:
    hashes = kernels.word_hashes(kernels.codes_of(text), kernels.classes())
    words = words_in_python(text)
    assert len(hashes) == len(words)
    assert len(set(hashes.tolist())) == len(set(words))
    again = kernels.word_hashes(kernels.codes_of(" ".join(words)), kernels.classes())
    assert hashes.tolist() == again.tolist()


@functools.cache
def shingles(text: str) -> set[tuple[str, ...]]:
    words = words_in_python(text)
    n = min(5, len(words))
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} if words else set()


def similarity(a: str, b: str) -> float:
    left, right = shingles(a), shingles(b)
    return len(left & right) / len(left | right)


def read(folder: Path, texts: list[str]) -> Work:
    source = folder / "in"
    source.mkdir()
    for i, text in enumerate(texts):
        (source / f"{i:04d}.txt").write_text(text)
    work = folder / "work"
    work.mkdir()
    files = find_files([source]).files
    parts = plan_parts(files, work, signatures=True, min_characters=None, cut_long=False)
    halves = [dataclasses.replace(p, index=2 * p.index + h, files=p.files[h::2]) for p in parts for h in (0, 1)]
    return read_all(halves, work, InlineExecutor())


@pytest.fixture
def family(tmp_path: Path) -> tuple[Work, list[str]]:
    rng = random.Random(5)
    texts = []
    for _ in range(40):
        base = prose(rng, rng.randint(60, 200))
        texts.append(base)
        texts += [altered(rng, base, rng.randint(1, 6)) for _ in range(rng.randint(0, 4))]
    work = read(tmp_path, texts)
    order = [*range(0, len(texts), 2), *range(1, len(texts), 2)]
    return work, [texts[i] for i in order]


def test_every_near_pair_is_found_and_none_is_wrong(family: tuple[Work, list[str]]) -> None:
    work, texts = family
    pairs = near.candidates(work, np.ones(len(work), dtype=bool))
    similar = near.verify(work, pairs, "near", 0.6, InlineExecutor())
    found = {(int(a), int(b)) for (a, b), s in zip(pairs, similar, strict=True) if s >= 0.8}
    true = {
        (i, j) for i in range(len(texts)) for j in range(i + 1, len(texts)) if similarity(texts[i], texts[j]) >= 0.8
    }
    assert len(true) > 20
    assert found == true
    for (a, b), s in zip(pairs.tolist(), similar, strict=True):
        if s:
            assert s == pytest.approx(similarity(texts[a], texts[b]))


def test_the_first_of_a_group_by_rank_stays(family: tuple[Work, list[str]]) -> None:
    work, texts = family
    rank = np.arange(len(work))[::-1].copy()
    duplicates = near.find_duplicates(work, 0.8, rank, InlineExecutor())
    assert not duplicates.removed[duplicates.kept].any()
    for i in np.flatnonzero(duplicates.removed):
        assert duplicates.kept[i] > i
        assert duplicates.similarity[i] == pytest.approx(similarity(texts[i], texts[duplicates.kept[i]]))
    stays = np.flatnonzero(~duplicates.removed)
    for i in stays:
        assert all(similarity(texts[i], texts[j]) < 0.8 for j in stays if j != i)


def test_a_crowded_bucket_stays_one_group(tmp_path: Path) -> None:
    rng = random.Random(2)
    base = prose(rng, 300)
    texts = [base + f" end{i}" for i in range(150)]
    work = read(tmp_path, texts)
    pairs = near.candidates(work, np.ones(len(work), dtype=bool))
    assert len(pairs) < 150 * 149 / 2  # not all against all
    duplicates = near.find_duplicates(work, 0.8, np.arange(len(work)), InlineExecutor())
    assert int((~duplicates.removed).sum()) == 1


def test_texts_without_words_are_alike_only_when_equal(tmp_path: Path) -> None:
    work = read(tmp_path, ["...", "!!!", "...", "", "a b", "a b."])
    duplicates = near.find_duplicates(work, 0.8, np.arange(len(work)), InlineExecutor())
    kept = [t for t, gone in zip(["...", "...", "a b", "!!!", "", "a b."], duplicates.removed, strict=True) if not gone]
    assert kept == ["...", "a b", "!!!", ""]


def test_signatures_estimate_the_similarity() -> None:
    rng = np.random.default_rng(0)
    both = rng.integers(0, 2**63, 3000, dtype=np.uint64)
    left, right = both[:2000], both[1000:]
    equal = (kernels.signature(left) == kernels.signature(right)).mean()
    assert abs(equal - 1 / 3) < 4 * np.sqrt(2 / 9 / kernels.N_HASHES)
    assert kernels.jaccard(np.sort(left), np.sort(right)) == pytest.approx(1 / 3)
