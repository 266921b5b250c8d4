"""The paper's template: ids, the mask of answers, and what happens to what does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forescale.align.chat import Message, answer_bytes, answer_ids, fit, prompt_ids, render


class Bytes:
    """A tokenizer of bytes, bos 256, eos 257."""

    bos_id, eos_id = 256, 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        marks = {256: b"<bos>", 257: b"<eos>"}
        return b"".join(marks.get(i, bytes([i % 256])) for i in ids).decode()


TWO = [
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "Bye"),
    Message("assistant", "Later."),
]
TEXT = "<bos>Be brief.\n\nUser: Hi\n\nAssistant: Hello.<eos>User: Bye\n\nAssistant: Later.<eos>"


def test_the_papers_template() -> None:
    assert Bytes().decode(render(TWO, Bytes()).ids) == TEXT


def test_the_mask_covers_answers_and_their_ends_only() -> None:
    ids, mask = render(TWO, Bytes())
    counted = [i for i, m in zip(ids, mask, strict=True) if m]
    assert Bytes().decode(counted) == " Hello.<eos> Later.<eos>"


def test_a_prompt_and_its_answer_make_the_whole() -> None:
    prompt = prompt_ids(TWO[:-1], Bytes())
    assert Bytes().decode(prompt).endswith("User: Bye\n\nAssistant:")
    assert prompt + answer_ids("Later.", Bytes()) == render(TWO, Bytes()).ids


def test_an_answer_that_was_cut_off_carries_no_end() -> None:
    ids, mask = render(TWO, Bytes(), ended=False)
    assert Bytes().decode(ids) == TEXT.removesuffix("<eos>")
    assert len(ids) == len(mask)


def test_what_does_not_fit_loses_whole_turns() -> None:
    whole = render(TWO, Bytes()).ids
    assert fit(TWO, Bytes(), len(whole)) == (render(TWO, Bytes()), False)
    shorter, cut = fit(TWO, Bytes(), len(whole) - 1)
    assert cut
    assert shorter == render(TWO[:3], Bytes())
    assert fit(TWO, Bytes(), 20) == (None, False)


def test_a_question_without_answer_is_no_loss() -> None:
    assert fit(TWO[:4], Bytes(), 1000) == (render(TWO[:3], Bytes()), False)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_counted_bytes_are_those_of_the_answers(answers: list[str]) -> None:
    answers = [a.encode(errors="ignore").decode() for a in answers]
    messages = [m for a in answers for m in (Message("user", "q"), Message("assistant", a))]
    ids, mask = render(messages, Bytes())
    counted = [i for i, m in zip(ids, mask, strict=True) if m]
    assert len(counted) == sum(answer_bytes(a) for a in answers) + len(answers)
    assert sum(i == 257 for i in counted) == len(answers)


@pytest.mark.parametrize("limit", [1, 30, 45, 60, 84, 200])
def test_never_more_than_the_limit(limit: int) -> None:
    rendered, _ = fit(TWO, Bytes(), limit)
    assert rendered is None or (len(rendered.ids) <= limit and any(rendered.mask))
