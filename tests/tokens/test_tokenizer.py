import functools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.tokens import tokenizer as module
from forescale.tokens.pieces import LETTERS, code_points, one_pattern, seven_steps
from forescale.tokens.tokenizer import BOS, EOS, Tokenizer, byte_of_character, train_tokenizer

PROSE = (
    "The quick brown foxes jumped over 12 lazy dogs; they didn't mind.\n\n    def run(self, x=1):\n        return x\n"
    "Führer Việt ἀρχή привет 中文字符，全角！「引号」 한국어 हिन्दी ქართული “quoted” don’t 3.14\r\n\tend\u3000wide  \n"
)
TRICKY = (
    " \u3000\n\r\t\u00a0\u2003\u1680\u2028\x85\x0b" "aZéüßếὀႠꙁＡ𐐀ა" "19२Ⅷ½①〇٣" "中あ한।" "。、“’!~，！" "🙂\u200b\u0301א±€\x00"
)  # fmt: skip
"""Characters of every class, and those that stand in two: U+3000, Vietnamese letters, curly quotes, blanks of CJK."""


@functools.cache
def steps() -> object:
    return seven_steps()


def seven_step_cuts(value: str) -> list[str]:
    alphabet = byte_of_character()
    return [bytes(alphabet[c] for c in piece).decode() for piece, _ in steps().pre_tokenize_str(value)]


@functools.cache
def pattern() -> object:
    import regex

    return regex.compile(re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: rf"\U{int(m[1], 16):08X}", one_pattern()), regex.V1)


def one_pattern_cuts(value: str) -> list[str]:
    return pattern().findall(value)


text = st.one_of(st.text(), st.text(st.sampled_from(TRICKY)), st.text(st.sampled_from(PROSE)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([PROSE] * 3 + ["aaaa  bbbb the then there " * 20, TRICKY * 3], 420, out)
    return out


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.open(folder)


@given(text)
@settings(max_examples=400, deadline=None)
def test_any_text_comes_back_whole(tokenizer: Tokenizer, value: str) -> None:
    ids = tokenizer.encode(value)
    assert tokenizer.decode(ids) == value
    assert sum(int(tokenizer.token_bytes[i]) for i in ids) == len(value.encode())
    assert tokenizer.bos_id not in ids
    assert tokenizer.eos_id not in ids


@given(text)
@settings(max_examples=600, deadline=None)
def test_fast_and_exchange_encoders_agree(tokenizer: Tokenizer, value: str) -> None:
    if tokenizer._fast is None:
        pytest.skip("tiktoken is not installed here")
    assert tokenizer._fast.encode_ordinary(value) == tokenizer._slow.encode(value, add_special_tokens=False).ids


@given(st.text(st.sampled_from(TRICKY + "ab 1"), max_size=14))
@settings(max_examples=1500, deadline=None)
def test_one_pattern_cuts_where_the_seven_steps_cut(value: str) -> None:
    pytest.importorskip("regex", reason="regex is not installed here")
    assert one_pattern_cuts(value) == seven_step_cuts(value)


def test_published_cuts() -> None:
    """Cuts that the published vectors show (paper 1.4): blanks go with words, digits stand alone, so do line ends."""
    assert seven_step_cuts("Hello world") == ["Hello", " world"]
    assert seven_step_cuts("3333") == ["3", "3", "3", "3"]
    assert seven_step_cuts("\n\n") == ["\n", "\n"]
    assert seven_step_cuts("   ") == ["   "]
    assert seven_step_cuts("Führer") == ["F", "ü", "hrer"]
    assert seven_step_cuts("a中文!b") == ["a", "中文", "!", "b"]


def test_no_token_mixes_classes(tokenizer: Tokenizer) -> None:
    letters = code_points(LETTERS)
    for token in tokenizer.token_of:
        try:
            spelt = token.decode()
        except UnicodeDecodeError:
            continue  # part of a character
        kinds = {
            "letter" if ord(c) in letters else "digit" if c.isnumeric() else "line" if c in "\r\n" else "other"
            for c in (spelt if len(spelt) == 1 else spelt.strip("\t\v\u3000\u00a0 "))
        }
        assert len(kinds) <= 1, spelt
        if kinds & {"digit", "line"}:
            assert len(spelt) == 1


def test_vocabulary_is_as_asked_with_every_byte_in_it(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 420
    assert {bytes([b]) for b in range(256)} <= set(tokenizer.token_of)
    assert tokenizer.specials == {BOS: 0, EOS: 1}
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 1, 1)
    assert tokenizer.token_bytes[:2].tolist() == [0, 0]


def test_names_of_specials_in_a_text_are_text(tokenizer: Tokenizer) -> None:
    value = f"a{EOS}b{BOS}"
    assert tokenizer.eos_id not in tokenizer.encode(value)
    assert tokenizer.decode(tokenizer.encode(value)) == value
    assert tokenizer._slow.encode(value, add_special_tokens=False).ids == tokenizer.encode(value)
    assert tokenizer.decode([*tokenizer.encode("x"), tokenizer.eos_id]) == "x"


def test_a_cut_character_is_shown_as_such_and_joined_again(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂")
    assert len(ids) > 1
    assert tokenizer.decode(ids[:1]) == "\ufffd"
    assert tokenizer.decode_bytes(ids[:1]) + tokenizer.decode_bytes(ids[1:]) == "🙂".encode()


def test_long_texts_are_cut_where_it_does_not_show(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    value = ("word  \n\n  another\r\n word " * 40) + "x" * 300 + "\nlast  "
    whole = tokenizer.encode(value)
    for longest in (1, 7, 64):
        monkeypatch.setattr(module, "LONGEST_CALL", longest)
        assert tokenizer.encode(value) == whole
        assert "".join(module._slices(value)) == value


def test_without_tiktoken_the_ids_are_the_same(folder: Path, tokenizer: Tokenizer) -> None:
    slow = Tokenizer.open(folder)
    slow.__dict__["_fast"] = None
    assert slow.encode_batch([PROSE, TRICKY]) == tokenizer.encode_batch([PROSE, TRICKY])


def test_training_is_repeatable(folder: Path, tmp_path: Path) -> None:
    train_tokenizer([PROSE] * 3 + ["aaaa  bbbb the then there " * 20, TRICKY * 3], 420, tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_train_bytes_ends_the_learning_text(tmp_path: Path) -> None:
    read = []

    def texts() -> object:
        for number in range(100):
            read.append(number)
            yield "some words to learn from "

    train_tokenizer(texts(), 270, tmp_path, train_bytes=60)
    assert len(read) < 10


def test_too_small_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too small") as caught:
        train_tokenizer(["x"], 257, tmp_path)
    assert caught.value.key == "tokenizer.vocab_size"


def test_lone_surrogates_are_refused_not_replaced(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="lone surrogate at character 1"):
        tokenizer.encode("a\ud800b")


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"model": {"vocab": {"\u4e2d": 3}}, "added_tokens": []})])
def test_damaged_tokenizers_are_exit_4(tmp_path: Path, content: str) -> None:
    with pytest.raises(ArtifactError, match="is missing"):
        Tokenizer.open(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ArtifactError, match="not a byte-level BPE"):
        Tokenizer.open(tmp_path)
