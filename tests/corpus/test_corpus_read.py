"""Whatever lies in a folder: it is read or set aside with a reason, and nothing crashes."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from forescale.base.errors import InputError
from forescale.base.records.corpus import Quarantined
from forescale.corpus import read
from forescale.corpus.html import text_of_html


def rows_of(folder: Path) -> tuple[list[read.Row], list[Quarantined]]:
    found = [entry for file in read.find_files([folder]).files for entry in read.read_rows(file)]
    return [e for e in found if isinstance(e, read.Row)], [e for e in found if isinstance(e, Quarantined)]


def test_every_type_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.md").write_text("# One")
    (tmp_path / "b" / "two.py").write_text("x = 1")
    (tmp_path / "b" / "page.html").write_text("<body><p>Hello<script>no()</script></p></body>")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("zipped é".encode()))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(b'{"text": "z", "id": "own"}\n{"text": "y"}\n'))
    pq.write_table(pa.table({"text": ["p", None], "dump": [3, 4]}), tmp_path / "d.parquet")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("not read")
    rows, bad = rows_of(tmp_path)
    assert [(r.id, r.text, r.source) for r in rows] == [
        ("a.txt.gz", "zipped é", "a.txt.gz"),
        ("b/one.md", "# One", "b"),
        ("b/page.html", "Hello", "b"),
        ("b/two.py", "x = 1", "b"),
        ("own", "z", "c.jsonl.zst"),
        ("c.jsonl.zst:2", "y", "c.jsonl.zst"),
        ("d.parquet:1", "p", "d.parquet"),
    ]
    assert [(b.file, b.line, b.reason) for b in bad] == [("d.parquet", 2, "no `text`")]
    assert rows[-1].dump == "3"
    assert read.find_files([tmp_path]).other == {".png": 1}


def test_bad_files_are_set_aside_with_reason_and_line(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"abc\0def")
    (tmp_path / "latin.txt").write_bytes(b"one\ntwo \xe9\n")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"some text " * 1000)[:-20])
    (tmp_path / "cut.jsonl.zst").write_bytes(zstandard.compress(b'{"text": "abc"}\n' * 1000)[:20])
    (tmp_path / "none.gz.txt").write_text("good")
    (tmp_path / "false.txt.gz").write_text("not gzip")
    (tmp_path / "false.parquet").write_text("not parquet")
    pq.write_table(pa.table({"body": ["p"]}), tmp_path / "other.parquet")
    lines = [
        b'{"text": "good"}',
        b'{"text": 3}',
        b"[1]",
        b"{broken",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b"",
        b"[" * 9999,
    ]
    (tmp_path / "lines.jsonl").write_bytes(b"\n".join(lines))
    rows, bad = rows_of(tmp_path)
    assert sorted(r.text for r in rows) == ["good", "good"]
    reasons = {(b.file, b.line): b.reason for b in bad}
    assert reasons["binary.txt", None].startswith("binary")
    assert reasons["latin.txt", 2] == "invalid UTF-8 at byte 8"
    assert reasons["cut.txt.gz", None].startswith("truncated")
    assert reasons["false.txt.gz", None].startswith("unreadable")
    assert reasons["false.parquet", None].startswith("not readable as Parquet")
    assert reasons["other.parquet", None] == "no column `text`"
    assert {line for file, line in reasons if file == "lines.jsonl"} == {2, 3, 4, 5, 6, 8}
    assert any(file == "cut.jsonl.zst" for file, _ in reasons)


def test_a_line_of_a_hundred_megabytes(tmp_path: Path) -> None:
    huge = b"x" * 100_000_000
    (tmp_path / "long.txt").write_bytes(b"short\n" + huge)
    (tmp_path / "long.jsonl").write_bytes(b'{"text": "before"}\n{"text": "' + huge + b'"}\n{"text": "after"}\n')
    rows, bad = rows_of(tmp_path)
    assert [r.text for r in rows] == ["before", "after"]
    assert [(b.file, b.line) for b in bad] == [("long.jsonl", 2), ("long.txt", 2)]
    assert all("16 MiB" in b.reason for b in bad)


@pytest.mark.parametrize("content", [{}, {"a.png": b"x", "b": b"y"}])
def test_nothing_to_read_is_exit_3(tmp_path: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match="no text in") as caught:
        read.find_files([tmp_path])
    assert caught.value.exit_code == 3
    assert str(tmp_path) in str(caught.value)
    assert (".png" in caught.value.why) == bool(content)


def test_a_missing_input_is_exit_3(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no"):
        read.find_files([tmp_path / "absent"])


def test_two_inputs_of_one_name_stay_apart(tmp_path: Path) -> None:
    for folder in ("x/docs", "y/docs"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "f.txt").write_text(folder)
    files = read.find_files([tmp_path / "x/docs", tmp_path / "y/docs"]).files
    assert [f.name for f in files] == ["1-docs/sub/f.txt", "2-docs/sub/f.txt"]
    assert len({f.source for f in files}) == 2


def test_long_documents_are_cut_without_loss() -> None:
    text = "\n\n".join(f"paragraph {i} " + "word " * 30 for i in range(200))
    parts = list(read.cut(read.Row("id", text, "s", "p", "d"), limit=1000))
    assert "".join(p.text for p in parts) == text
    assert [p.id for p in parts[:3]] == ["id", "id~2", "id~3"]
    assert all(len(p.text) <= 1000 for p in parts)
    assert all(p.text.endswith("\n\n") for p in parts[:-1])
    solid = list(read.cut(read.Row("id", "x" * 2500, "s", "p", "d"), limit=1000))
    assert [len(p.text) for p in solid] == [1000, 1000, 500]


def test_html_keeps_text_and_structure() -> None:
    page = "<html><head><title>T</title></head><body><nav>menu</nav><h1>A &amp; B</h1><p>one\n two</p><pre>a\n  b</pre><ul><li>x<li>y</ul>"
    assert text_of_html(page) == "A & B\n\none two\n\na\n  b\n\nx\ny"
    assert text_of_html("<p>never closed <script>x") == "never closed"


def test_rows_are_the_same_through_any_packing(tmp_path: Path) -> None:
    data = "".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(50)).encode()
    for name, packed in (("a", data), ("b", gzip.compress(data)), ("c", zstandard.compress(data))):
        ending = {"a": "", "b": ".gz", "c": ".zst"}[name]
        (tmp_path / f"{name}.jsonl{ending}").write_bytes(packed)
    rows, bad = rows_of(tmp_path)
    assert not bad
    assert [r.text for r in rows] == [f"text {i}" for i in range(50)] * 3
