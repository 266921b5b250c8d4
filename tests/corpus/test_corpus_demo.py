"""Text and pairs from what is installed, by parsing."""

import json
from pathlib import Path

import pytest

from forescale.base.errors import InputError
from forescale.base.executor import InlineExecutor
from forescale.corpus import docstrings
from forescale.corpus.demo_text import PACKAGES, collect
from forescale.corpus.read import Row, find_files, read_rows
from forescale.corpus.sources import describe

SOURCE = '''
"""The module says what it is for."""

def area(width: float, height=2.0, *, unit="m", **more) -> float:
    """Give the area of a rectangle in the :class:`~units.Unit` asked for.

    More words that are not in the answer.
    """

class Box(Base):
    """A box that holds other boxes, however deep they lie."""
    def __init__(self, size, *boxes): ...
    def open(self, force=None):
        """Open the box and every ``Box`` inside it"""
    @staticmethod
    def make(n): "Make n boxes of one size from nothing."
    @property
    def size(self): """The size of the box in all directions."""
    def _hidden(self): """Nobody asks for this method by its name."""

add_docstr(box.close, r"""close(box)

Closes the box, which has to be open, and locks it with a key that is thrown away afterwards.""")
'''


def test_describing_a_module() -> None:
    found = [(d.kind, d.name, d.signature) for d in describe(SOURCE)]
    assert found == [
        ("module", "", None),
        ("function", "area", "area(width, height=2.0, *, unit='m', **more)"),
        ("class", "Box", "Box(size, *boxes)"),
        ("method", "Box.open", "open(force=None)"),
        ("method", "Box.make", "make(n)"),
        ("method", "Box.size", None),
        ("method", "Box._hidden", "_hidden()"),
        ("call", "", None),
    ]
    assert list(describe(SOURCE))[-1].docstring.startswith("close(box)\n\nCloses")


def test_pairs_of_a_module() -> None:
    pairs = [p for d in describe(SOURCE) if (p := docstrings.pair(d, "boxes"))]
    asked = [p["messages"][0]["content"] for p in pairs]
    answers = [p["messages"][1]["content"] for p in pairs]
    assert answers == [
        "Give the area of a rectangle in the `units.Unit` asked for.",
        "A box that holds other boxes, however deep they lie.",
        "Open the box and every `Box` inside it.",
        "Make n boxes of one size from nothing.",
    ]
    assert "`area(width, height=2.0, *, unit='m', **more)`" in asked[0]
    assert "`Box.open(force=None)`" in asked[2]
    assert list(docstrings.select([*pairs, *pairs])) == pairs


def test_collecting_is_deterministic_and_resumable(tmp_path: Path) -> None:
    chosen = ("markupsafe", "mdurl", "surely-not-installed")
    first = collect(tmp_path / "a", InlineExecutor(), chosen)
    assert first.missing == ["surely-not-installed"]
    assert first == collect(tmp_path / "b", InlineExecutor(), chosen)
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.parquet")}
    next(iter(made)).unlink()
    assert collect(tmp_path / "a", InlineExecutor(), chosen) == first
    assert sum(p.stat().st_mtime_ns != made[p] for p in made) == 1
    files = find_files([tmp_path / "a" / "text"]).files
    assert {f.source for f in files} == {"markupsafe", "mdurl"}
    rows = [row for f in files for row in read_rows(f) if isinstance(row, Row)]
    assert len(rows) == first.documents
    assert any("Permission is hereby granted" in row.text for row in rows)
    assert all(len(row.text) > 80 for row in rows)


def test_the_packages_are_pinned() -> None:
    pins = Path(__file__).parents[2] / "constraints.txt"
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in pins.read_text().splitlines()}
    assert not set(PACKAGES) - pinned - {"python"}


def test_answers_are_held_out_by_whole_packages(tmp_path: Path) -> None:
    def line(source: str, i: int) -> str:
        messages = [{"role": "user", "content": f"{source} {i}?"}, {"role": "assistant", "content": f"answer {i}"}]
        return json.dumps({"messages": messages, "source": source}) + "\n"

    candidates = tmp_path / "pairs.jsonl"
    candidates.write_text("".join(line(s, i) for s, n in (("a", 50), ("b", 3), ("c", 47)) for i in range(n)))
    assert docstrings.pairs(candidates, ["b", "elsewhere"], tmp_path / "t", tmp_path / "h") == (97, 3)
    assert {json.loads(row)["source"] for row in (tmp_path / "h").read_text().splitlines()} == {"b"}
    assert docstrings.pairs(candidates, ["text.txt"], tmp_path / "t", tmp_path / "h") == (97, 3)


def test_the_users_conversations(tmp_path: Path) -> None:
    def talk(answer: object, *roles: str) -> str:
        names = roles or ("user", "assistant")
        return json.dumps(
            {"messages": [{"role": role, "content": answer if role == "assistant" else "q"} for role in names]}
        )

    lines = [talk(f"answer {i % 100}") for i in range(200)]
    bad = [
        "{",
        "[]",
        '{"messages": []}',
        talk("x", "user"),
        talk("x", "assistant", "user"),
        talk("x", "robot"),
        talk(3),
        talk(" "),
    ]
    good = [talk("x", "system", "user", "assistant"), ""]
    path = tmp_path / "sft.jsonl"
    path.write_text("\n".join([*bad, *good, *lines]))
    train, held, quarantined = docstrings.user_pairs(path, tmp_path / "t", tmp_path / "h")
    assert train + held == 201
    assert 0 < held < 40
    assert [q.line for q in quarantined] == list(range(1, 9))
    assert len({q.reason for q in quarantined}) >= 6
    sides = [{row for row in (tmp_path / side).read_text().splitlines()} for side in "th"]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\n"])
def test_no_usable_conversation_is_exit_3(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sft.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no usable conversation"):
        docstrings.pairs_from_jsonl(path)
    with pytest.raises(InputError, match="there is no"):
        docstrings.pairs_from_jsonl(tmp_path / "absent")
