"""The outside set: what resembles any corpus's training text is left out and counted; the sets weigh the same."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_texts import altered, prose

from forescale.base.config import CorpusSection
from forescale.base.errors import InputError
from forescale.base.executor import InlineExecutor
from forescale.base.records.document import PARQUET_COLUMNS
from forescale.corpus.outside import make_outside


@pytest.fixture
def texts():
    """Documents of made-up words; no two resemble each other."""
    rng = random.Random(7)
    return rng, iter([prose(rng) for _ in range(60)])


def take(texts, n):
    return [next(texts) for _ in range(n)]


def corpus(folder, documents):
    """A finished corpus, as far as its training text goes."""
    (folder / "train").mkdir(parents=True)
    rows = [dict.fromkeys(PARQUET_COLUMNS, "x") | {"id": f"d{i}", "text": t} for i, t in enumerate(documents)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train" / "part-00000.parquet")
    return folder


def outside(tmp_path, write_jsonl, sets, corpora, most_bytes=10**6, raw=True):
    folders = {name: tmp_path / name for name in sets}
    for name, documents in sets.items():
        write_jsonl(folders[name] / "documents.jsonl", [{"text": text} for text in documents])
    made = make_outside(
        folders, {name: corpus(tmp_path / f"corpus-{name}", of) for name, of in corpora.items()}, tmp_path / "out",
        CorpusSection(), InlineExecutor(), raw=raw, most_bytes=most_bytes,
    )  # fmt: skip
    return made, pq.read_table(tmp_path / "out" / "validation").to_pylist()


def test_what_equals_or_resembles_training_text_is_left_out_and_counted(tmp_path, write_jsonl, texts):
    rng, some = texts
    web, books, clean = take(some, 10), take(some, 10), take(some, 8)
    loose = altered(rng, books[1], 12)  # 150 words: about two thirds of its 5-grams are still there
    made, rows = outside(
        tmp_path, write_jsonl, {"news": [*clean, web[0], books[0], loose]}, {"web": web, "books": books}
    )
    (news,) = made.outside.sets
    assert sorted(row["text"] for row in rows) == sorted(clean)
    assert news.documents == 11
    assert news.contaminated == {"web": 1, "books": 2}
    assert news.removed == {"near web's training text": 1, "near books's training text": 2}
    assert (news.used_documents, news.used_bytes) == (8, sum(len(text.encode()) for text in clean))
    assert made.outside.contact == {"web": 0, "books": 0}
    assert any("1 resemble web's, 2 resemble books's" in text for text in made.warnings)
    assert not (tmp_path / "out" / ".work").exists()


def test_text_that_only_shares_a_passage_stays_and_shows_in_the_contact(tmp_path, write_jsonl, texts):
    _, some = texts
    web, clean = take(some, 5), take(some, 4)
    quoting = " ".join([*clean[0].split(), *web[0].split()[:30]])
    made, rows = outside(tmp_path, write_jsonl, {"news": [quoting, *clean[1:]]}, {"web": web})
    assert len(rows) == 4
    assert made.outside.sets[0].contaminated == {"web": 0}
    assert 0 < made.outside.contact["web"] < 0.1


def test_sets_give_equal_bytes_and_no_document_twice(tmp_path, write_jsonl, texts):
    rng, some = texts
    long, short = take(some, 12), take(some, 3)
    near = altered(rng, long[3], 2)
    made, rows = outside(
        tmp_path, write_jsonl, {"long": [*long, long[0], near], "short": [*short, long[1]]}, {"web": take(some, 3)}
    )
    a, b = made.outside.sets
    assert a.used_bytes == b.used_bytes == sum(len(text.encode()) for text in short)
    assert a.removed == {"duplicate": 2}
    assert b.removed == {"duplicate": 1}
    assert {row["source"] for row in rows} == {"long", "short"}


def test_a_set_gives_no_more_than_asked(tmp_path, write_jsonl, texts):
    _, some = texts
    made, rows = outside(tmp_path, write_jsonl, {"news": take(some, 10)}, {"web": take(some, 3)}, most_bytes=2000)
    assert made.outside.sets[0].used_bytes == 2000
    assert sum(len(row["text"].encode()) for row in rows) == 2000


def test_quality_rules_are_for_raw_text_only(tmp_path, write_jsonl, texts):
    _, some = texts
    documents, web = [*take(some, 3), "too short"], take(some, 3)
    made, rows = outside(tmp_path / "raw", write_jsonl, {"news": documents}, {"web": web})
    assert len(rows) == 3
    assert sum(made.outside.sets[0].removed.values()) == 1
    _, rows = outside(tmp_path / "clean", write_jsonl, {"news": documents}, {"web": web}, raw=False)
    assert len(rows) == 4


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path, write_jsonl, texts):
    _, some = texts
    web = take(some, 4)
    with pytest.raises(InputError, match="nothing of the outside set copy is left") as told:
        outside(tmp_path, write_jsonl, {"copy": web[:2]}, {"web": web})
    assert told.value.why == "of its 2 documents: 2 near web's training text"
    assert told.value.file == str(Path(tmp_path / "copy"))


def test_corpora_that_hold_the_same_text_are_told(tmp_path, write_jsonl, texts):
    _, some = texts
    web = take(some, 4)
    made, _ = outside(tmp_path, write_jsonl, {"news": take(some, 3)}, {"web": web, "books": [*web[:2], *take(some, 5)]})
    assert any(text.endswith("of web's training text is in books too, word for word") for text in made.warnings)
