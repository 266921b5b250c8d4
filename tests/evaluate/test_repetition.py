"""The repetition detector on texts whose answer is known, and on real unfinished generations."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forescale.base.runtime import test_data as find_test_data
from forescale.evaluate.repetition import repeats, tail_period


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("The list returns the list returns the list returns the list returns", True),
        ("A plain answer that ends where it should, with nothing said twice.", False),
        ("wait" + "." * 40, True),
        ("...", False),
        ("row 1 of the table\nrow 2 of the table\nrow 3 of the table\nrow 4 of the table", True),
        ("", False),
        ("no no no", False),
    ],
)
def test_known_texts(text: str, looping: bool) -> None:
    assert repeats(text) is looping


@given(st.text("abc", min_size=1, max_size=9), st.text("xyz ", max_size=30), st.integers(3, 12))
def test_any_loop_is_found_and_its_period_divides(unit: str, start: str, times: int) -> None:
    period = tail_period(start + unit * times, min_length=1)
    assert 0 < period <= len(unit)


@given(st.text("ab", max_size=60))
def test_a_period_is_true(text: str) -> None:
    period = tail_period(text, min_length=6)
    if period:
        assert text[-period:] * 3 == text[-3 * period :]


def test_real_unfinished_answers_of_a_67b_model() -> None:
    """16 of 541 answers were cut off; these eleven were seen to go round (five read at length, six by their endings)."""
    data = find_test_data()
    path = None if data is None else data / "eval" / "deepseek_llm" / "IFEval_deepseek67B.jsonl.gz"
    if path is None or not path.exists():
        pytest.skip("FORESCALE_TEST_DATA has no eval/deepseek_llm")
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    looping = {row["index"] for row in rows if not row["finished"] and repeats(row["response"])}
    assert looping == {18, 31, 87, 203, 221, 303, 319, 414, 471, 495, 531}
    finished = [row for row in rows if row["finished"]]
    assert sum(repeats(row["response"]) for row in finished) <= 6  # poems and letters that say a stanza thrice
