"""Chat in the terminal with piped input, and what it says of the model."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from forescale.align.chat import Message, prompt_ids
from forescale.base.records.align import AlignRecord
from forescale.base.shape import ModelShape
from forescale.engine.engine import Engine
from forescale.serve.about import about
from forescale.serve.terminal import chat, pieces, room_for

SHAPE = ModelShape(2, 48, 4, 2, 128, 300, 96)


def talk(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    out = io.StringIO()
    return chat(folder, max_new=6, console=Console(file=out, width=100)), out.getvalue()


def test_piped_questions_are_answered(base_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n, out = talk(base_weights, "Say tree 2 times.\n\n/new\nSay river.\n/quit\nnever asked\n", monkeypatch)
    assert n == 2
    assert out.count("Assistant:") == 2
    assert "never asked" not in out
    assert "made up" in out  # what such a model cannot do is said first


def test_a_question_that_is_too_long_is_refused_and_talk_goes_on(
    base_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, out = talk(base_weights, "z" * 500 + "\nSay tree.\n", monkeypatch)
    assert n == 1
    assert "longer than the 96 tokens" in out


def test_markup_in_an_answer_is_text(base_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(base_weights)
    ids = engine.tokenizer.encode(" [bold]x[/bold]")
    monkeypatch.setattr(Engine, "stream", lambda self, prompt, **options: iter(ids))
    _, out = talk(base_weights, "hi\n", monkeypatch)
    assert "Assistant: [bold]x[/bold]" in out


def test_characters_are_shown_whole(base_weights: Path) -> None:
    engine = Engine(base_weights)
    ids = engine.tokenizer.encode("über 中")
    shown = list(pieces(iter(ids), engine))
    assert "".join(shown) == "über 中"
    assert "\ufffd" not in "".join(shown)
    broken = list(pieces(iter(engine.tokenizer.encode("中")[:2]), engine))
    assert "".join(broken) == "\ufffd"


def test_the_oldest_turns_leave_first(base_weights: Path) -> None:
    engine = Engine(base_weights)
    turn = [Message("user", "Say tree 2 times."), Message("assistant", "tree, tree.")]
    history = [Message("system", "Be."), *turn * 6, Message("user", "Say star.")]
    kept = room_for(history, engine)
    assert kept[0] == history[0]
    assert kept[-1] == history[-1]
    assert 1 < len(kept) < len(history)
    assert len(prompt_ids(kept, engine.tokenizer)) <= engine.limit * 3 // 4
    assert room_for([Message("user", "z" * 500)], engine) == []


def test_about_follows_the_records(tmp_path: Path) -> None:
    run, sft = tmp_path / "run" / "weights", tmp_path / "sft" / "weights"
    run.mkdir(parents=True)
    sft.mkdir(parents=True)
    assert "Nothing is recorded" in about(run, SHAPE)
    loss = {"nats": 2000.0, "tokens": 900, "bytes": 1443}
    (run.parent / "record.json").write_text(json.dumps([{"tokens": 12_300_000, "validation": loss}]))
    AlignRecord(kind="sft", status="finished", parent=str(run)).write(sft.parent / "record.json")
    text = about(sft, SHAPE)
    assert "12.3 million tokens, to 2.00 bits per byte" in text
    assert "Tuned by SFT." in text
    assert "only continues text" in about(run, SHAPE)
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    assert about(moved / "sft" / "weights", SHAPE) == text


def test_ctrl_c_stops_an_answer_and_ctrl_d_leaves(base_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(base_weights)
    first = engine.tokenizer.encode(" tree")

    def interrupted(self: Engine, prompt: list[int], **options: object) -> Iterator[int]:
        yield from first
        raise KeyboardInterrupt

    said = iter(["Say tree.", "Again."])
    asked: list[str] = []

    def typed(prompt: object = "", **options: object) -> str:
        asked.append(str(prompt))
        try:
            return next(said)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(Engine, "stream", interrupted)
    console = Console(file=io.StringIO(), width=100)
    monkeypatch.setattr(console, "input", typed)
    monkeypatch.setattr("sys.stdin", Terminal())
    assert chat(base_weights, console=console) == 2
    assert len(asked) == 3
    assert console.file.getvalue().count("Assistant: tree (stopped)") == 2  # type: ignore[attr-defined]


class Terminal(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True
