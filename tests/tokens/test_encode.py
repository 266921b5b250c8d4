import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forescale.base.config import TokenizerSection
from forescale.base.errors import ArtifactError, InputError
from forescale.base.executor import InlineExecutor, Outcome
from forescale.base.records.tokens import TokensSummary
from forescale.tokens import entropy
from forescale.tokens.corpus import sample_texts, train_on_corpus
from forescale.tokens.encode import encode_corpus
from forescale.tokens.tokenizer import Tokenizer

FILES = {
    "train/part-0": ["The first document.\n", "", "Second: 中文 and 123 🙂"],
    "train/part-1": ["Another part of the corpus, with more words in it."] * 4,
    "validation/part-0": ["Held out words of the corpus.", "And more of 12 words"],
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name, texts in FILES.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        n = len(texts)
        table = {"id": [str(i) for i in range(n)], "text": texts, "source": ["s"] * n, "path": ["p"] * n}
        pq.write_table(pa.table(table), path)
    return folder


@pytest.fixture
def tokenizer_dir(corpus: Path, tmp_path: Path) -> Path:
    train_on_corpus(corpus, TokenizerSection(vocab_size=280), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_files_of_the_validation_split_can_be_sets_of_their_own(
    corpus: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    (corpus / "validation/part-0.parquet").rename(corpus / "validation/part-1.parquet")
    pq.write_table(pa.table({"text": ["one", "two more words"]}), corpus / "validation/part-0.parquet")
    made = encode_corpus(corpus, tokenizer_dir, tmp_path / "tokens", InlineExecutor(), sets=["web", "books"])
    tokenizer = Tokenizer.open(tokenizer_dir)
    wanted = [
        sum(len(tokenizer.encode(t)) + 1 for t in texts)
        for texts in (["one", "two more words"], FILES["validation/part-0"])
    ]
    assert made.validation_sets == dict(zip(("web", "books"), wanted, strict=True))
    assert made.validation.tokens == sum(wanted)
    assert TokensSummary.read(tmp_path / "tokens/summary.json") == made


class Backwards(InlineExecutor):
    """Ends parts in another order, as many workers do."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def map(self, function, parts, *, label="", retries=1):
        for index in reversed(range(len(parts))):
            self.seen.append(Path(parts[index].out).stem)
            yield Outcome(index, parts[index], function(parts[index]))


class Killed(InlineExecutor):
    """Dies before its second part."""

    def map(self, function, parts, *, label="", retries=1):
        yield Outcome(0, parts[0], function(parts[0]))
        raise KeyboardInterrupt


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_shards_hold_every_document_in_order(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    summary = encode_corpus(corpus, tokenizer_dir, tmp_path / "tokens", InlineExecutor())
    assert TokensSummary.read(tmp_path / "tokens" / "summary.json") == summary
    tokenizer = Tokenizer.open(tokenizer_dir)
    for split, count in (("train", summary.train), ("validation", summary.validation)):
        texts = [text for name, texts in FILES.items() if name.startswith(split) for text in texts]
        ids = np.fromfile(tmp_path / "tokens" / f"{split}.bin", dtype=summary.dtype)
        ends = np.load(tmp_path / "tokens" / f"{split}.ends.npy")
        sizes = np.load(tmp_path / "tokens" / f"{split}.bytes.npy")
        assert count.documents == len(ends) == len(texts)
        assert count.tokens == len(ids) == ends[-1]
        assert sizes.tolist() == [len(text.encode()) for text in texts]
        assert count.bytes == sizes.sum()
        assert (ids[ends - 1] == tokenizer.eos_id).all()
        starts = [0, *ends[:-1]]
        assert [tokenizer.decode(ids[a : b - 1].tolist()) for a, b in zip(starts, ends, strict=True)] == texts
    assert np.load(tmp_path / "tokens" / "token_bytes.npy").tolist() == tokenizer.token_bytes.tolist()
    assert not (tmp_path / "tokens" / ".parts").exists()


def test_any_order_of_work_gives_the_same_bytes(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    encode_corpus(corpus, tokenizer_dir, tmp_path / "a", InlineExecutor())
    encode_corpus(corpus, tokenizer_dir, tmp_path / "b", Backwards())
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_killed_run_goes_on_with_the_missing_parts(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(corpus, tokenizer_dir, tmp_path / "a", Killed())
    assert not (tmp_path / "a" / "summary.json").exists()
    rest = Backwards()
    encode_corpus(corpus, tokenizer_dir, tmp_path / "a", rest)
    assert sorted(rest.seen) == ["train-part-1", "validation-part-0"]
    encode_corpus(corpus, tokenizer_dir, tmp_path / "b", InlineExecutor())
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_parts_of_another_tokenizer_are_made_again(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(corpus, tokenizer_dir, tmp_path / "a", Killed())
    train_on_corpus(corpus, TokenizerSection(vocab_size=290), tokenizer_dir)
    rest = Backwards()
    encode_corpus(corpus, tokenizer_dir, tmp_path / "a", rest)
    assert len(rest.seen) == 3


def test_refusals(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    part = corpus / "train" / "part-1.parquet"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"part-1\.parquet cannot be read"):
        encode_corpus(corpus, tokenizer_dir, tmp_path / "a", InlineExecutor())
    for file in (corpus / "validation").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no validation text"):
        encode_corpus(corpus, tokenizer_dir, tmp_path / "a", InlineExecutor())
    with pytest.raises(InputError, match="no training text"):
        train_on_corpus(tmp_path / "nowhere", TokenizerSection(vocab_size=280), tmp_path / "t")


def test_sample_is_spread_over_the_corpus_and_about_as_large_as_asked(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for part in range(4):
        texts = [f"document {part} {i} " + "x" * 500 for i in range(500)]
        # without dictionary or compression the footer's sizes are the text's
        pq.write_table(pa.table({"text": texts}), folder / f"{part}.parquet", use_dictionary=False)
    chosen = list(sample_texts(tmp_path, 200_000))
    assert sum(map(len, chosen)) == pytest.approx(210_000, rel=0.15)
    by_part = Counter(text.split()[1] for text in chosen)
    assert min(by_part.values()) > 60
    assert chosen == list(sample_texts(tmp_path, 200_000))
    assert len(list(sample_texts(tmp_path, 10**9))) == 2000


def slow_entropies(train: list[int], validation: list[int], n: int) -> tuple[float, float]:
    one, two = Counter(train), Counter(pairwise(train))
    rows, kinds = Counter(train[:-1]), Counter(a for a, _ in two)
    unigram = [(one[t] + len(one) / n) / (len(train) + len(one)) for t in range(n)]
    nats_1 = nats_2 = 0.0
    for a, b in pairwise(validation):
        nats_1 -= math.log(unigram[b])
        nats_2 -= math.log((two[a, b] + kinds[a] * unigram[b]) / (rows[a] + kinds[a]) if rows[a] else unigram[b])
    return nats_1 / (len(validation) - 1), nats_2 / (len(validation) - 1)


@pytest.mark.parametrize("dense", [True, False])
def test_entropies_are_those_counted_by_hand(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entropy, "DENSE_VOCABULARY", 4096 if dense else 0)
    monkeypatch.setattr(entropy, "SLICE", 4096 if not dense else 37)
    rng = np.random.default_rng(0)
    train = (rng.random(900) ** 3 * 20).astype(np.uint16)
    validation = (rng.random(200) ** 2 * 23).astype(np.uint16)  # with tokens that training never showed
    ours = entropy.entropies(train, validation, 23)
    assert (ours.unigram, ours.bigram) == pytest.approx(slow_entropies(train.tolist(), validation.tolist(), 23))


def test_entropies_of_known_sources() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 64, 60_000).astype(np.uint16)
    ours = entropy.entropies(noise[:50_000], noise[50_000:], 64)
    assert ours.unigram == pytest.approx(math.log(64), rel=0.01)
    assert ours.bigram == pytest.approx(math.log(64), rel=0.03)
    period = np.tile(np.arange(8, dtype=np.uint16), 2_000)
    ours = entropy.entropies(period, period, 64)
    assert ours.unigram == pytest.approx(math.log(8), rel=0.01)
    assert ours.bigram < 0.01


def test_bits_per_byte_of_the_tables(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    summary = encode_corpus(corpus, tokenizer_dir, tmp_path / "tokens", InlineExecutor())
    ids = np.fromfile(tmp_path / "tokens" / "validation.bin", dtype=summary.dtype)
    sizes = np.load(tmp_path / "tokens" / "token_bytes.npy")
    expected = summary.bigram_nats * (len(ids) - 1) / math.log(2) / sizes[ids[1:]].sum()
    assert summary.bigram_bpb == pytest.approx(float(expected))
    assert summary.bigram_nats < summary.unigram_nats
