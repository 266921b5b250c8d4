"""The dedup verb: order, similarity, levels, resume, and the same result through processes."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_texts import altered, prose

from forescale.base.errors import ConfigError, InputError
from forescale.base.executor import InlineExecutor
from forescale.base.runtime import test_data as data_folder
from forescale.corpus.dedup import dedup
from forescale.corpus.write import contents
from forescale.launch.local import LocalExecutor

Write = Callable[[Path, list[dict[str, object]]], Path]
INLINE = InlineExecutor()


def test_the_first_in_dump_file_row_stays(tmp_path: Path, write_jsonl: Write) -> None:
    rng = random.Random(3)
    texts = [prose(rng) for _ in range(6)]
    near = altered(rng, texts[0], 2)
    a = write_jsonl(
        tmp_path / "a.jsonl", [{"id": "late", "text": texts[0], "dump": 10}, {"text": texts[1], "dump": 10}]
    )
    b = tmp_path / "b.parquet"
    pq.write_table(pa.table({"id": ["first", "second", "x"], "text": [near, near, texts[2]], "dump": [9, 9, 9]}), b)
    summary = dedup([a, b], tmp_path / "out", executor=INLINE)
    assert {row["id"] for row in contents(tmp_path / "out" / "kept")} == {"first", "x", "a.jsonl:2"}
    removed = {row["id"]: row for row in contents(tmp_path / "out" / "removed")}
    assert {key: (row["reason"], row["kept_id"]) for key, row in removed.items()} == {
        "late": ("near duplicate", "first"),
        "second": ("exact duplicate", "first"),
    }
    assert removed["second"]["similarity"] == 1.0
    assert 0.8 <= removed["late"]["similarity"] < 1.0
    assert summary.by_level["document"] == {"exact": 1, "near": 1}
    assert summary.by_dump == {
        "10": {"documents": 2, "removed_documents": 1},
        "9": {"documents": 3, "removed_documents": 1},
    }
    assert (summary.documents, summary.removed_documents) == (5, 2)
    assert summary.removed_bytes == len(texts[0]) + len(near)


def test_the_threshold_decides(tmp_path: Path, write_jsonl: Write) -> None:
    rng = random.Random(3)
    text = prose(rng, 200)
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text}, {"text": altered(rng, text, 6)}])
    removed = [dedup([path], tmp_path / f"out{t}", executor=INLINE, threshold=t).removed_documents for t in (0.6, 0.95)]
    assert removed == [1, 0]


def test_found_finished_it_is_not_made_again(tmp_path: Path, write_jsonl: Write) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "one two three four five six"}] * 3)
    first = dedup([path], tmp_path / "out", executor=INLINE)
    (part,) = (tmp_path / "out" / "kept").glob("*.parquet")
    made = part.stat().st_mtime_ns
    assert dedup([path], tmp_path / "out", executor=INLINE) == first
    assert part.stat().st_mtime_ns == made
    assert dedup([path], tmp_path / "out", executor=INLINE, threshold=0.9).removed_documents == 2
    assert part.stat().st_mtime_ns != made


def test_lines_that_an_earlier_document_has_go(tmp_path: Path, write_jsonl: Write) -> None:
    notice = "All rights reserved by the author of these pages."
    texts = [
        f"first page of the site, with words\n{notice}\n}}\n",
        f"second page, other words of its own\n{notice}\n}}\n",
        f"{notice}\n",
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    summary = dedup([path], tmp_path / "out", executor=INLINE, level=["document", "line"])
    kept = [row["text"] for row in contents(tmp_path / "out" / "kept")]
    assert kept == [texts[0], "second page, other words of its own\n}\n"]
    assert summary.by_level["line"] == {"lines": 2, "bytes": 2 * len(notice) + 2, "documents": 1}
    assert [(r["id"], r["reason"]) for r in contents(tmp_path / "out" / "removed")] == [("a.jsonl:3", "repeated lines")]
    assert summary.removed_documents == 1


def test_other_columns_go_along(tmp_path: Path, write_jsonl: Write) -> None:
    rng = random.Random(8)
    t = [prose(rng) for _ in range(5)]
    rows = [
        {"text": t[0], "lang": "en", "n": 1},
        {"text": 7},
        {"text": t[0]},
        {"text": t[1], "n": "two", "tags": ["x"]},
    ]
    a = write_jsonl(tmp_path / "a.jsonl", rows)
    b = tmp_path / "b.parquet"
    pq.write_table(pa.table({"lang": ["de", "fr", None], "text": [t[2], t[1], t[3]], "source": ["s", "s", "u"]}), b)
    dedup([a, b], tmp_path / "out", executor=INLINE)
    kept = contents(tmp_path / "out" / "kept")
    names = ("lang", "n", "tags", "source")
    assert [tuple(row[name] for name in names) for row in kept] == [
        ("en", "1", None, None),
        (None, "two", ["x"], None),
        ("de", None, None, "s"),
        (None, None, None, "u"),
    ]


def test_processes_give_the_same_files(tmp_path: Path, write_jsonl: Write) -> None:
    rng = random.Random(9)
    texts = [prose(rng) for _ in range(30)]
    texts += [altered(rng, text, 2) for text in texts[:15]]
    inputs = [write_jsonl(tmp_path / f"{i}.jsonl", [{"text": text} for text in texts[i::3]]) for i in range(3)]
    pool = LocalExecutor(workers=2)
    one = dedup(inputs, tmp_path / "one", executor=INLINE, level=["document", "line"])
    two = dedup(inputs, tmp_path / "two", executor=pool, level=["document", "line"])
    assert one == two
    assert one.removed_documents == 15
    for folder in ("kept", "removed"):
        files = [sorted((tmp_path / run / folder).glob("*.parquet")) for run in ("one", "two")]
        assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_bad_requests_and_inputs(tmp_path: Path, write_jsonl: Write) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "fine words"}])
    for wrong in ({"index": tmp_path}, {"threshold": 0.0}, {"level": ["page"]}):
        with pytest.raises(ConfigError) as caught:
            dedup([path], tmp_path / "out", executor=INLINE, **wrong)  # type: ignore[arg-type]
        assert caught.value.remedy
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"body": "x"}])
    with pytest.raises(InputError, match="no document could be read") as refused:
        dedup([bad], tmp_path / "out", executor=INLINE)
    assert (refused.value.file, refused.value.line) == ("bad.jsonl", 1)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("not rows")
    with pytest.raises(InputError, match="no text in"):
        dedup([tmp_path / "text"], tmp_path / "out", executor=INLINE)


@pytest.mark.skipif(data_folder() is None, reason="FORESCALE_TEST_DATA names no folder")
def test_six_releases_of_one_site(tmp_path: Path) -> None:
    """Real recrawls: the more dumps together, the larger the share that goes (paper Table 1)."""
    folder = data_folder()
    assert folder is not None
    table = pq.read_table(folder / "text" / "recrawl_django.parquet")
    versions = sorted(set(table["version"].to_pylist()))
    rates = []
    for n in (1, 3, 6):
        rows = [
            {"text": row["text"], "dump": row["version"], "id": f"{row['version']} {row['url']}"}
            for row in table.to_pylist()
            if row["version"] in versions[:n] and len(row["text"]) < 15_000
        ]
        path = tmp_path / f"{n}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        summary = dedup([path], tmp_path / f"out{n}", executor=INLINE)
        rates.append(summary.removed_documents / summary.documents)
    assert rates[0] < 0.05 < rates[1] < rates[2]
    first = contents(tmp_path / "out6" / "kept", ["dump"])[0]
    assert first["dump"] == versions[0]
