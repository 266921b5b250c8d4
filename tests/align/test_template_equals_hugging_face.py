"""The chat template that a weights folder carries renders to exactly our ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forescale.align.chat import Message, prompt_ids, render
from forescale.tokens.tokenizer import Tokenizer

jinja2 = pytest.importorskip("jinja2")

TURNS = st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=3)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TURNS, st.booleans())
def test_turn_by_turn_spells_what_the_template_spells(
    base_weights: Path, turns: list[tuple[str, str]], system: bool
) -> None:
    tokenizer = Tokenizer.open(base_weights)
    config = json.loads((base_weights / "tokenizer_config.json").read_text())
    template = jinja2.Environment().from_string(config["chat_template"])
    clean = [(q.encode(errors="ignore").decode(), a.encode(errors="ignore").decode()) for q, a in turns]
    messages = [Message("system", "Be good.")] if system else []
    for question, answer in clean:
        messages += [Message("user", question), Message("assistant", answer)]
    names = {"bos_token": config["bos_token"], "eos_token": config["eos_token"]}

    def spelt(ids: list[int]) -> str:
        marks = {tokenizer.bos_id: config["bos_token"].encode(), tokenizer.eos_id: config["eos_token"].encode()}
        return b"".join(marks.get(i) or tokenizer.decode_bytes([i]) for i in ids).decode()

    rows = [m._asdict() for m in messages]
    assert spelt(render(messages, tokenizer).ids) == template.render(messages=rows, **names)
    asked = template.render(messages=rows[:-1], add_generation_prompt=True, **names)
    assert spelt(prompt_ids(messages[:-1], tokenizer)) == asked


def test_borders_of_turns_are_borders_of_tokens(base_weights: Path) -> None:
    """Encoded whole or turn by turn, an ordinary conversation has the same ids: a prompt's border moves no token."""
    tokenizer = Tokenizer.open(base_weights)
    for question, answer in (("Say tree 2 times.", "tree, tree."), ("(Why?)", "(Because.)"), ("ü 中", "12 trees")):
        text = f"User: {question}\n\nAssistant: {answer}"
        ids = render([Message("user", question), Message("assistant", answer)], tokenizer).ids
        assert ids == [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
