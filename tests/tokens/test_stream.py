from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.base.records.tokens import SplitCount, TokensSummary
from forescale.tokens import stream as module
from forescale.tokens.permutation import permute
from forescale.tokens.stream import TokenStream

T = 8
N_TOKENS = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    count = SplitCount(documents=1, tokens=N_TOKENS, bytes=3 * N_TOKENS)
    TokensSummary(
        vocab_size=2000, dtype="uint16", eos_id=1, train=count, validation=count, unigram_nats=1.0, bigram_nats=1.0,
        unigram_bpb=1.0, bigram_bpb=1.0, tokenizer="x", validation_id="y",
    ).write(tmp_path / "summary.json")  # fmt: skip
    for split in ("train", "validation"):
        np.arange(N_TOKENS, dtype=np.uint16).tofile(tmp_path / f"{split}.bin")
    np.save(tmp_path / "token_bytes.npy", np.arange(2000, dtype=np.int64) % 5)
    return tmp_path


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_permutation_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    assert sorted(permute(np.arange(n), n, seed, epoch).tolist()) == list(range(n))


@given(st.integers(1, 2**45), st.data())
@settings(max_examples=80, deadline=None)
def test_permutation_stays_inside_at_any_size(n: int, data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20, unique=True))
    out = permute(np.array(index), n, 3)
    assert ((out >= 0) & (out < n)).all()
    assert len(set(out.tolist())) == len(index)


def test_permutation_mixes() -> None:
    n = 5000
    out = permute(np.arange(n), n, 7, 0)
    assert abs(np.corrcoef(np.arange(n), out)[0, 1]) < 0.05
    assert abs(np.corrcoef(out[:-1], out[1:])[0, 1]) < 0.05
    assert np.mean(np.diff(out) == 1) < 0.005
    other = permute(np.arange(n), n, 7, 1)
    assert np.mean(out == other) < 0.005


def test_targets_are_the_next_ids(folder: Path) -> None:
    ids, targets = TokenStream(folder).batch(0, 3, 4 * T, T)
    assert ids.dtype == targets.dtype == np.int64
    assert ids.shape == targets.shape == (4, T)
    assert (targets == ids + 1).all()


def test_every_epoch_visits_every_window_once_in_its_own_order(folder: Path) -> None:
    stream = TokenStream(folder)
    n = stream.n_windows(T)
    assert n == 124
    starts = np.concatenate([stream.batch(5, step, 4 * T, T)[0][:, 0] for step in range(2 * n // 4)])
    first, second = starts[:n], starts[n:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(0, n * T, T))
    assert not np.array_equal(first, second)


@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(1, 5), st.sampled_from([1, 3, 4, 7]))
@settings(max_examples=60, deadline=None)
def test_rows_hang_on_seed_and_step_alone(folder_of_module: Path, step: int, seed: int, ranks: int, rows: int) -> None:
    stream = TokenStream(folder_of_module)
    whole = stream.batch(seed, step, rows * T, T)[0]
    stream.batch(seed + 1, step + 7, rows * T, T)  # whatever was asked before
    parts = [stream.batch(seed, step, rows * T, T, rank, ranks)[0] for rank in range(ranks)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.fixture(scope="module")
def folder_of_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder.__wrapped__(tmp_path_factory.mktemp("tokens"))  # type: ignore[attr-defined]


def test_remembering_the_order_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = TokenStream(folder).batch(2, 40, 4 * T, T)[0]
    monkeypatch.setattr(module, "REMEMBERED_WINDOWS", 0)
    assert np.array_equal(TokenStream(folder).batch(2, 40, 4 * T, T)[0], remembered)


def test_batch_size_only_regroups_rows(folder: Path) -> None:
    stream = TokenStream(folder)
    small = np.concatenate([stream.batch(1, step, 2 * T, T)[0] for step in range(6)])
    large = np.concatenate([stream.batch(1, step, 4 * T, T)[0] for step in range(3)])
    assert np.array_equal(small, large)


def test_validation_windows_are_always_the_same_and_spread(folder: Path) -> None:
    stream = TokenStream(folder, "validation")
    ids, _ = stream.validation_windows(10 * T, T)
    assert ids.shape == (10, T)
    assert np.array_equal(ids, stream.validation_windows(10 * T, T)[0])
    assert ids[-1, 0] > 800
    assert stream.validation_windows(10**9, T)[0].shape == (124, T)


def test_too_little_text_says_how_much_is_missing(folder: Path) -> None:
    stream = TokenStream(folder)
    stream.require(992, T)
    stream.require(1984, T, epochs=2)
    with pytest.raises(InputError, match="1,000 tokens; 1,992 are needed") as caught:
        stream.require(1992, T)
    assert "1,000 tokens, about 3,001 bytes" in caught.value.why
    with pytest.raises(InputError):
        stream.batch(0, 0, 2048, 2048)
    assert stream.unique_tokens(100, T) == 100
    assert stream.unique_tokens(5000, T) == 992


def test_bytes_of_targets(folder: Path) -> None:
    stream = TokenStream(folder)
    targets = np.array([[0, 1, 7], [4, 9, 2]])
    assert stream.target_bytes(targets) == 0 + 1 + 2 + 4 + 4 + 2
    assert stream.target_bytes(targets, np.array([[True, False, True], [False, True, False]])) == 0 + 2 + 4


def test_refusals(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not a multiple"):
        TokenStream(folder).batch(0, 0, 3 * T + 1, T)
    (folder / "train.bin").write_bytes(b"12")
    with pytest.raises(ArtifactError, match="has 2 bytes, not 2000"):
        TokenStream(folder)


def test_validation_windows_are_shared_out_among_the_splits_sets(folder: Path) -> None:
    path = folder / "summary.json"
    summary = TokensSummary.read(path)
    assert list(TokenStream(folder, "validation").validation_sets(10 * T, T)) == [""]
    summary.model_copy(update={"validation_sets": {"a": 301, "b": 699}}).write(path)
    stream = TokenStream(folder, "validation")
    ids, _ = stream.validation_windows(50 * T, T)
    inside = stream.validation_sets(50 * T, T)
    assert (inside["a"] ^ inside["b"]).all()
    assert ids[inside["a"]].max() <= 301 + T
    assert ids[inside["b"]].min() >= 301
    assert inside["a"].sum() / inside["b"].sum() == pytest.approx(301 / 699, rel=0.1)
