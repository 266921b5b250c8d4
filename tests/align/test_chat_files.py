"""Chat and pair files: read, refused with line and key, split without leaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forescale.align.chat import Message
from forescale.align.data import Chat, Pair, chat_line, hold_out, pair_line, read_chats, read_pairs
from forescale.base.errors import InputError


def chat(question: str, answer: str, source: str = "") -> Chat:
    return Chat((Message("user", question), Message("assistant", answer)), source)


def test_round_trip(tmp_path: Path) -> None:
    chats = [chat("What?", "That.\u2028 Done ü", "a"), chat("Who?", "Me.", "b")]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(map(chat_line, chats)), encoding="utf-8")
    assert read_chats(path) == chats
    pair = Pair((Message("user", "Q"),), "good", "bad", "closer", True, False)
    path.write_text(pair_line(pair))
    assert read_pairs(path) == [pair]


def test_pairs_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        json.dumps({"prompt": "Q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": "b"}) + "\n"
    )
    assert read_pairs(path) == [Pair((Message("user", "Q"),), "a", "b")]
    path.write_text("")
    assert read_pairs(path) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken", "not a line of JSON"),
        ("[1]", "not an object"),
        ('{"text": "x"}', "not a list of messages"),
        ('{"messages": []}', "not a list of messages"),
        ('{"messages": [{"role": "human", "content": "x"}]}', "known role"),
        ('{"messages": [{"role": "user", "content": 3}]}', "known role"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "without an answer"),
        ('{"messages": [{"role": "assistant", "content": " "}]}', "without an answer"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "lone surrogate"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(chat_line(chat("q", "a")) + "\n" + line + "\n")
    with pytest.raises(InputError, match=words) as caught:
        read_chats(path)
    assert caught.value.line == 3
    assert caught.value.file == str(path)


def test_invalid_utf8_empty_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_bytes(b'{"messages": "\xff"}\n')
    with pytest.raises(InputError) as caught:
        read_chats(path)
    assert caught.value.line == 1
    path.write_bytes(b"\n")
    with pytest.raises(InputError, match="empty"):
        read_chats(path)
    with pytest.raises(InputError, match="no file"):
        read_chats(tmp_path / "none.jsonl")


def test_held_out_are_whole_sources(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    chats = [chat(f"q{i}", f"a{i}", f"package{i % 20}") for i in range(400)]
    path.write_text("".join(map(chat_line, chats)))
    train, heldout = (read_chats(p) for p in hold_out(path, tmp_path / "split", share=0.05))
    assert len(train) + len(heldout) == 400
    assert not {c.source for c in train} & {c.source for c in heldout}
    assert 20 <= len(heldout) <= 40
    again = hold_out(path, tmp_path / "again", share=0.05)
    assert read_chats(again[1]) == heldout


def test_without_sources_equal_conversations_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    chats = [chat(f"q{i % 50}", "a") for i in range(100)]
    path.write_text("".join(map(chat_line, chats)))
    train, heldout = (read_chats(p) for p in hold_out(path, tmp_path / "split", share=0.1))
    assert heldout
    assert not set(train) & set(heldout)
    path.write_text(chat_line(chat("q", "a")))
    with pytest.raises(InputError, match="too few"):
        hold_out(path, tmp_path / "one")
