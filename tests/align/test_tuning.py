"""SFT and DPO: the loss on answers only, exact formulas, stages that resume, records that say what happened."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from forescale.align import dpo, sft
from forescale.align.chat import Message, Rendered
from forescale.align.data import Pair, hold_out, pair_line, read_chats
from forescale.align.tuning import collate, cosine, order, pad, warmup_of
from forescale.base.config import DpoSection, SftSection
from forescale.base.errors import InputError
from forescale.base.records.align import AlignRecord
from forescale.base.runtime import test_data as find_test_data
from forescale.engine.engine import Engine
from forescale.model import weights
from forescale.model.objective import next_token_nats
from forescale.tokens.tokenizer import Tokenizer

SECTION = SftSection(epochs=6, learning_rate=4e-3, batch=8)


@pytest.fixture(scope="session")
def tuned(base_weights: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AlignRecord, Path]:
    folder = tmp_path_factory.mktemp("sft")
    train, heldout = hold_out(chats, folder / "data", share=0.1)
    record = sft.run(base_weights, train, folder / "out", SECTION, seed=1, heldout=heldout)
    return folder / "out" / "weights", record, heldout


def test_sft_learns_the_answers(tuned: tuple[Path, AlignRecord, Path], chats: Path) -> None:
    folder, record, _ = tuned
    assert record.status == "finished"
    assert record.heldout_before is not None
    assert record.heldout_after is not None
    assert record.heldout_after.bits_per_byte < 0.85 * record.heldout_before.bits_per_byte
    assert record.heldout_after.bytes == record.heldout_before.bytes
    stage = record.stages[0]
    assert stage.steps == len(stage.curve) == math.ceil(stage.examples * 6 / 8)
    assert stage.curve[-1].loss < 0.5 * stage.curve[0].loss
    engine = Engine(folder)
    prompt = engine.tokenizer.encode("User: Say tree 3 times.\n\nAssistant:")
    (answer,) = engine.generate([[engine.tokenizer.bos_id, *prompt]], max_new=40)
    assert answer.finished
    assert engine.tokenizer.decode(answer.ids).endswith(".")


def test_counted_tokens_are_those_of_the_answers(tuned: tuple[Path, AlignRecord, Path], chats: Path) -> None:
    folder, record, heldout = tuned
    tokenizer = Tokenizer.open(folder)
    held = set(read_chats(heldout))
    own = sum(len(tokenizer.encode(f" {c.answer}")) + 1 for c in read_chats(chats) if c not in held)
    passes = record.stages[0].steps * 8 / record.stages[0].examples
    assert record.stages[0].counted_tokens == pytest.approx(own * passes, rel=0.02)


def test_a_finished_run_is_not_repeated(tuned: tuple[Path, AlignRecord, Path], base_weights: Path) -> None:
    folder, record, _ = tuned
    assert sft.run(base_weights, Path("not there"), folder.parent, SECTION) == record


def test_two_stages_resume_after_the_first(base_weights: Path, chats: Path, tmp_path: Path) -> None:
    section = SftSection(epochs=0.5, learning_rate=1e-3, batch=16)
    whole = sft.run(base_weights, [chats, chats], tmp_path / "whole", section)
    steps = 0

    def stop(step: int, n_steps: int, loss: float) -> None:
        nonlocal steps
        steps += 1
        if steps == n_steps + 1:  # the first step of the second stage
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sft.run(base_weights, [chats, chats], tmp_path / "cut", section, on_step=stop)
    assert not (tmp_path / "cut" / "record.json").exists()
    again: list[int] = []
    record = sft.run(
        base_weights, [chats, chats], tmp_path / "cut", section, on_step=lambda step, n, loss: again.append(step)
    )
    assert again == [1, 2]
    assert record.stages == whole.stages
    a, b = (weights.load(tmp_path / name / "weights").state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_conversations_that_do_not_fit_are_counted(base_weights: Path, tmp_path: Path) -> None:
    def row(text: str) -> str:
        messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
        return json.dumps({"messages": messages}) + "\n"

    path = tmp_path / "long.jsonl"
    path.write_text(row("x" * 900) + row("fine"))
    record = sft.run(base_weights, path, tmp_path / "out", SftSection(epochs=1, batch=1))
    assert record.stages[0].dropped == {"too long": 1}
    assert record.stages[0].examples == 1
    path.write_text(row("x" * 900))
    with pytest.raises(InputError, match="no conversation"):
        sft.run(base_weights, path, tmp_path / "none", SftSection())


def test_micro_batches_change_nothing(base_weights: Path) -> None:
    """The loss of a batch is the mean over its counted tokens, however it is cut and padded."""
    rows = [Rendered(list(range(5, 5 + n)), [i > n // 2 for i in range(n)]) for n in (4, 30, 9, 17)]
    model = weights.load(base_weights)
    with torch.no_grad():
        one = next_token_nats(model, pad(rows))
        many = [next_token_nats(model, batch) for batch in collate(rows, most_tokens=32)]
    assert len(many) > 1
    assert float(sum(many)) == pytest.approx(float(one), rel=1e-5)
    assert pad(rows).n_counted == sum(sum(row.mask) for row in rows)


def test_schedule_and_order() -> None:
    factors = [cosine(step, 100, warmup_of(100)) for step in range(100)]
    assert max(factors) == 1 == factors[5]
    assert factors[4] == 1
    assert 0 < factors[-1] < 0.01
    assert all(a > b for a, b in itertools.pairwise(factors[5:]))
    plan = order(10, 5, 4, seed=2)
    flat = [i for step in plan for i in step]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert plan == order(10, 5, 4, seed=2) != order(10, 5, 4, seed=3)


def pairs(n: int) -> list[Pair]:
    return [
        Pair((Message("user", f"Say stone {i % 6 + 1} times."),), "stone.", "stone, " * (3 + i % 5), "unterminated",
             True, False)
        for i in range(n)
    ]  # fmt: skip


def test_dpo_starts_at_ln_2_and_raises_the_margin(tuned: tuple[Path, AlignRecord, Path], tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(map(pair_line, pairs(48))))
    section = DpoSection(learning_rate=2e-4, batch=8, minimum_pairs=32)
    record = dpo.run(tuned[0], path, tmp_path / "out", section, heldout=tuned[2])
    curve = record.stages[0].curve
    assert curve[0].loss == pytest.approx(math.log(2), abs=1e-5)
    assert curve[-1].loss < math.log(2) - 0.02
    assert record.accuracy_after is not None
    assert record.accuracy_after > 0.9
    assert record.margin_after is not None
    assert record.margin_after > 0
    assert len(curve) == record.steps == 6
    assert (tmp_path / "out" / "weights" / "config.json").exists()


def test_too_few_pairs_skip_dpo_with_the_reason(base_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    same = Pair((Message("user", "q"),), "a", "a")
    path.write_text("".join(map(pair_line, [*pairs(10), same])))
    record = dpo.run(base_weights, path, tmp_path / "out", DpoSection())
    assert record.status == "skipped"
    assert "10 usable pairs" in record.reason
    assert record.stages[0].dropped == {"the same answer twice": 1}
    assert record.weights is None
    path.write_text("")
    assert dpo.run(base_weights, path, tmp_path / "empty", DpoSection()).status == "skipped"


def test_a_pairs_likelihood_covers_the_answer_and_its_end_only(base_weights: Path) -> None:
    tokenizer = Tokenizer.open(base_weights)
    example = dpo.render_pair(Pair((Message("user", "q"),), "yes", "no", "", True, False), tokenizer)
    chosen = [i for i, m in zip(*example.chosen, strict=True) if m]
    rejected = [i for i, m in zip(*example.rejected, strict=True) if m]
    assert chosen == [*tokenizer.encode(" yes"), tokenizer.eos_id]
    assert rejected == tokenizer.encode(" no")
    model, engine = weights.load(base_weights), Engine(base_weights)
    got = dpo.logprobs(model, [example]).flatten().tolist()
    assert got == pytest.approx(
        engine.score([example.chosen.ids, example.rejected.ids], [example.chosen.mask, example.rejected.mask]), rel=1e-5
    )


def test_dpo_loss_equals_trl() -> None:
    """Losses of TRL 1.16 from its own log-likelihoods of two pairs."""
    data = find_test_data()
    path = None if data is None else data / "align" / "oracle_trl.json"
    if path is None or not path.exists():
        pytest.skip("FORESCALE_TEST_DATA has no align/oracle_trl.json")
    oracle = json.loads(path.read_text())["dpo"]
    policy, reference = (torch.tensor(oracle[key]).view(2, -1) for key in ("policy_logps", "ref_logps"))
    assert float(dpo.sigmoid_loss(policy, reference, 0.1).mean()) == pytest.approx(oracle["sigmoid"]["loss"], abs=1e-6)
    margins = dpo.margin(policy, reference, 0.1)
    assert float(margins.mean()) == pytest.approx(oracle["metrics"]["rewards/margins"], abs=1e-5)
    assert float((1 - margins).clamp(min=0).mean()) == pytest.approx(oracle["hinge"]["loss"], abs=1e-5)
