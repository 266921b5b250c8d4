"""Tasks on a tiny model: scores equal what is computed by hand, intervals hold them, every answer is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from forescale.align.chat import Message, prompt_ids
from forescale.align.data import Pair, read_chats, read_pairs
from forescale.base.errors import ConfigError, InputError
from forescale.base.records.align import PreferSummary
from forescale.base.records.evaluation import EvalResult
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.engine.engine import Completion, Engine
from forescale.evaluate import tasks
from forescale.evaluate.overlap import chrf
from forescale.evaluate.run import run, samples, weights_sha256
from forescale.model import weights
from forescale.prefer import best_pair, judge, make_pairs
from forescale.tokens.stream import TokenStream
from forescale.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def shards(base_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty validation documents as a TokenShards folder."""
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = Tokenizer.open(base_weights)
    texts = [f"Say tree {n} times, said the bird number {n} to the star. " * (1 + n % 4) for n in range(40)]
    encoded = [[*tokenizer.encode(text), tokenizer.eos_id] for text in texts]
    sizes = np.array([len(text.encode()) for text in texts])
    for split in ("train", "validation"):
        np.concatenate([np.array(ids, dtype=np.uint16) for ids in encoded]).tofile(folder / f"{split}.bin")
        np.save(folder / f"{split}.ends.npy", np.cumsum([len(ids) for ids in encoded]).astype(np.int64))
        np.save(folder / f"{split}.bytes.npy", sizes)
    np.save(folder / "token_bytes.npy", tokenizer.token_bytes)
    count = SplitCount(documents=40, tokens=sum(map(len, encoded)), bytes=int(sizes.sum()))
    TokensSummary(
        vocab_size=tokenizer.vocab_size, dtype="uint16", eos_id=tokenizer.eos_id, train=count, validation=count,
        unigram_nats=1, bigram_nats=1, unigram_bpb=1, bigram_bpb=1, tokenizer="", validation_id="",
    ).write(folder / "summary.json")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def result(base_weights: Path, shards: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalResult:
    out = tmp_path_factory.mktemp("eval")
    return run(
        base_weights,
        ["bits_per_byte", "answers", "repetition", "ends"],
        out=out,
        tokens_dir=shards,
        heldout_jsonl=chats,
        limit=20,
        max_new=40,
        validation_tokens=1000,
    )


def lines(result: EvalResult, task: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(result.tasks[task].answers).read_text().splitlines()]


def test_bits_per_byte_is_that_of_the_run_records_windows(result: EvalResult, base_weights: Path, shards: Path) -> None:
    model, stream = weights.load(base_weights), TokenStream(shards, "validation")
    ids, targets = stream.validation_windows(1000, model.shape.seq_len)
    with torch.inference_mode():
        logits = model.logits(model(torch.from_numpy(ids)))
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(targets).flatten(), reduction="sum"
        )
    score = result.tasks["bits_per_byte"]
    assert score.score == pytest.approx(float(nats) / math.log(2) / stream.target_bytes(targets), rel=1e-5)
    assert score.interval[0] < score.score < score.interval[1]
    rows = lines(result, "bits_per_byte")
    assert len(rows) == score.n
    assert sum(row["bytes"] for row in rows) == stream.target_bytes(targets)  # type: ignore[misc]


def test_documents_of_the_windows_are_the_true_ones(shards: Path) -> None:
    stream = TokenStream(shards, "validation")
    seq_len, wanted = 32, 7
    ids, targets = stream.validation_windows(seq_len * wanted, seq_len)
    documents = tasks._documents(shards, len(ids), stream.n_windows(seq_len), seq_len)
    ends = np.load(shards / "validation.ends.npy")
    whole = np.asarray(stream.ids)
    for window in range(wanted):
        for position in (0, seq_len - 1):
            document = documents[window, position]
            begin = 0 if document == 0 else ends[document - 1]
            assert targets[window, position] in whole[begin : ends[document]]
    closing = targets == stream.eos_id
    assert (documents[:, 1:][closing[:, :-1]] == documents[:, :-1][closing[:, :-1]] + 1).all()


def test_answers_score_the_reference_given_the_question(result: EvalResult, base_weights: Path) -> None:
    engine = Engine(base_weights)
    rows = lines(result, "answers")
    assert len(rows) == result.tasks["answers"].n == 20
    row = rows[3]
    prompt = prompt_ids([Message("user", str(row["prompt"]))], engine.tokenizer)
    answer = engine.tokenizer.encode(f" {row['answer']}")
    mask = [False] * len(prompt) + [True] * len(answer)
    assert engine.score([prompt + answer], [mask])[0] == pytest.approx(row["log_probability"], rel=1e-4)
    nats, size = (sum(float(r[key]) for r in rows) for key in ("log_probability", "bytes"))  # type: ignore[arg-type]
    assert result.tasks["answers"].score == pytest.approx(-nats / math.log(2) / size)


def test_an_untrained_model_does_not_end(result: EvalResult) -> None:
    ends, repetition = result.tasks["ends"], result.tasks["repetition"]
    assert ends.score < 0.2
    assert ends.protocol == repetition.protocol == "generation"
    assert ends.prompt_sha256 == repetition.prompt_sha256 != ""
    assert [r["answer"] for r in lines(result, "ends")] == [r["answer"] for r in lines(result, "repetition")]


def test_shares_count_what_was_answered(
    base_weights: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten answers five end, three go round and two are cut off while saying something new."""
    tokenizer = Tokenizer.open(base_weights)
    said = [(" tree.", True)] * 5 + [(" tree," * 12, False)] * 3 + [(" a river and a stone", False)] * 2

    def generate(self: Engine, prompts: list[list[int]], **options: object) -> list[Completion]:
        assert options.get("temperature", 0.0) == 0.0
        return [Completion(tokenizer.encode(text), ended) for text, ended in said]

    monkeypatch.setattr(Engine, "generate", generate)
    got = run(base_weights, ["repetition", "ends"], out=tmp_path, heldout_jsonl=chats, limit=10)
    for task, share in (("ends", 0.5), ("repetition", 0.3)):
        score = got.tasks[task]
        assert score.score == share
        assert score.interval[0] < share < score.interval[1]
        assert score.n == 10
    assert [row["correct"] for row in lines(got, "repetition")] == [True] * 5 + [False] * 3 + [True] * 2


def test_the_result_is_on_disk(result: EvalResult, base_weights: Path) -> None:
    assert EvalResult.read(Path(result.tasks["ends"].answers).parent / "result.json") == result
    assert result.weights_sha256 == weights_sha256(base_weights)
    assert result.precision == "float32"


def test_bad_questions(base_weights: Path, chats: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(base_weights, ["repetitions"], out=tmp_path, heldout_jsonl=chats)
    assert "`repetition`" in caught.value.remedy
    with pytest.raises(ConfigError, match="held-out"):
        run(base_weights, ["ends"], out=tmp_path)
    with pytest.raises(ConfigError, match="validation"):
        run(base_weights, ["bits_per_byte"], out=tmp_path)
    with pytest.raises(ConfigError, match="no task"):
        run(base_weights, [], out=tmp_path)
    long = {"messages": [{"role": "user", "content": "z" * 500}, {"role": "assistant", "content": "a"}]}
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps(long) + "\n")
    with pytest.raises(InputError, match="no question"):
        run(base_weights, ["ends"], out=tmp_path, heldout_jsonl=path)


def test_samples_stand_side_by_side(base_weights: Path, chats: Path) -> None:
    rows = samples({"base": base_weights, "again": base_weights}, chats, n=3, max_new=8)
    assert [row.stage for row in rows] == ["base", "again"] * 3
    assert len({row.prompt for row in rows}) == 3
    assert all(a.answer == b.answer for a, b in zip(rows[::2], rows[1::2], strict=True))


def test_closeness() -> None:
    assert chrf("tree, tree.", "tree, tree.") == 1
    assert chrf("tree, tree, tree.", "tree, tree.") > chrf("a river runs", "tree, tree.")
    assert chrf("", "tree") == 0 == chrf("", "")


def test_the_better_answer_is_chosen(chats: Path) -> None:
    question = next(c for c in read_chats(chats) if c.answer == "tree, tree, tree.")
    given = {
        "proper": ("tree, tree.", True),
        "other": ("a cloud.", True),
        "empty": ("", True),
        "broken": ("tree, tree\ufffd", True),
        "cut": ("tree, and then", False),
        "loop": ("tree, " * 12, False),
    }
    judged = {name: judge(text, ended, question.answer) for name, (text, ended) in given.items()}

    def pair(*names: str) -> Pair | str:
        return best_pair(question, [judged[name] for name in names])

    for loser, reason in (
        ("loop", "repeats"), ("cut", "unterminated"), ("empty", "empty, repeating or broken"), ("broken", "empty, repeating or broken"), ("other", "closer"),
    ):  # fmt: skip
        found = pair(loser, "proper")
        assert isinstance(found, Pair)
        assert (found.chosen, found.rejected, found.reason) == ("tree, tree.", given[loser][0], reason)
        assert found.rejected_ended == given[loser][1]
    assert pair("proper", "cut", "loop", "empty") == pair("loop", "proper")
    assert pair("loop", "cut", "empty") == "no proper answer"
    assert pair("proper", "proper") == "all answers alike"


def test_pairs_are_written_and_counted(
    base_weights: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second sample ends, the others go round: one pair a question."""
    tokenizer = Tokenizer.open(base_weights)

    def generate(self: Engine, prompts: list[list[int]], **options: object) -> list[Completion]:
        good, bad = tokenizer.encode(" tree."), tokenizer.encode(" tree," * 10)
        return [Completion(bad if i % 2 else good, i % 2 == 0) for i in range(len(prompts))]

    monkeypatch.setattr(Engine, "generate", generate)
    summary = make_pairs(base_weights, chats, tmp_path / "pairs.jsonl", n_samples=2, limit=10)
    pairs = read_pairs(tmp_path / "pairs.jsonl")
    assert len(pairs) == summary.pairs == summary.prompts == 10
    assert summary.by_reason == {"repeats": 10}
    assert PreferSummary.read(tmp_path / "prefer.json") == summary
    assert (summary.samples, summary.ended, summary.repeating) == (20, 10, 10)
    assert {(p.chosen, p.rejected_ended) for p in pairs} == {("tree.", False)}


def test_an_untrained_model_gives_no_pairs(base_weights: Path, chats: Path, tmp_path: Path) -> None:
    summary = make_pairs(base_weights, chats, tmp_path / "pairs.jsonl", n_samples=2, limit=6, max_new=6)
    assert summary.pairs + sum(summary.unusable.values()) == 6
    assert summary.samples == 12
    again = make_pairs(base_weights, chats, tmp_path / "pairs2.jsonl", n_samples=2, limit=6, max_new=6)
    assert again.model_copy(update={"seconds": 0}) == summary.model_copy(update={"seconds": 0})
