import errno
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from forescale.base.errors import ArtifactError, InputError, SystemFailure
from forescale.base.shape import ModelShape
from forescale.model import weights
from forescale.model.transformer import Transformer, initialise
from forescale.tokens.tokenizer import train_tokenizer

SHAPE = ModelShape(n_layer=2, d_model=32, n_head=4, n_kv_head=2, d_ffn=48, vocab_size=300, seq_len=24)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the cat and the hat " * 50], 270, folder)
    return folder


@pytest.fixture
def model() -> Transformer:
    model = Transformer(SHAPE)
    initialise(model, 0, init_std=0.2)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


IDS = torch.arange(40).view(2, 20) * 7 % 300


def test_what_is_saved_comes_back_bit_by_bit(model: Transformer, tokenizer_dir: Path, tmp_path: Path) -> None:
    weights.save(model, tmp_path / "w", tokenizer_dir)
    again = weights.load(tmp_path / "w")
    assert again.shape == SHAPE
    assert torch.equal(again(IDS), model(IDS))
    assert all(p.requires_grad for p in again.parameters())
    assert weights.load(tmp_path / "w", dtype=torch.bfloat16).head.weight.dtype == torch.bfloat16


def test_folder_is_what_others_expect(model: Transformer, tokenizer_dir: Path, tmp_path: Path) -> None:
    weights.save(model, tmp_path / "w", tokenizer_dir, chat=True)
    files = {p.name for p in (tmp_path / "w").iterdir()}
    assert files == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000.0
    assert (config["bos_token_id"], config["eos_token_id"]) == (0, 1)
    generation = json.loads((tmp_path / "w" / "generation_config.json").read_text())
    assert (generation["temperature"], generation["top_p"]) == (0.7, 0.95)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]  # nothing half-written is left


def test_saving_again_replaces_the_whole_folder(model: Transformer, tokenizer_dir: Path, tmp_path: Path) -> None:
    weights.save(model, tmp_path / "w", tokenizer_dir)
    (tmp_path / "w" / "stray").write_text("")
    model.head.weight.data.zero_()
    weights.save(model, tmp_path / "w", tokenizer_dir)
    assert not (tmp_path / "w" / "stray").exists()
    assert weights.load(tmp_path / "w").head.weight.abs().sum() == 0


def test_large_models_go_to_several_files(model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FILE_BYTES", 20_000)
    weights.save(model, tmp_path / "w", None)
    assert (tmp_path / "w" / "model.safetensors.index.json").exists()
    assert len(list((tmp_path / "w").glob("model-*-of-*.safetensors"))) > 2
    assert torch.equal(weights.load(tmp_path / "w")(IDS), model(IDS))


def test_chat_template_is_the_published_one() -> None:
    jinja2 = pytest.importorskip("jinja2")
    text = jinja2.Template(weights.CHAT_TEMPLATE).render(
        bos_token="<s>",
        eos_token="</s>",
        add_generation_prompt=True,
        messages=[
            {"role": "system", "content": "S"},
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "V"},
        ],
    )
    assert text == "<s>S\n\nUser: U\n\nAssistant: A</s>User: V\n\nAssistant:"


def test_damage_is_exit_4_with_the_file(model: Transformer, tokenizer_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with pytest.raises(ArtifactError, match=r"config\.json is missing"):
        weights.load(folder)
    weights.save(model, folder, tokenizer_dir)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="not a whole model") as caught:
        weights.load(folder)
    assert "model.safetensors" in caught.value.why
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="not a whole model"):
        weights.load(folder)
    (folder / "model.safetensors").write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(ArtifactError) as caught:
        weights.load(folder)
    assert "[300, 32], not [300, 64]" in caught.value.why
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "vocab_size"}))
    with pytest.raises(ArtifactError, match="vocab_size"):
        weights.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        weights.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("attention_bias", True), ("rope_scaling", {"rope_type": "yarn"}), ("hidden_act", "gelu"), ("model_type", "gpt2")],
)
def test_other_architectures_are_refused(model: Transformer, tmp_path: Path, key: str, value: object) -> None:
    weights.save(model, tmp_path / "w", None)
    file = tmp_path / "w" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(InputError, match=key) as caught:
        weights.load(tmp_path / "w")
    assert caught.value.key == key


def test_transformers_reads_it_and_gives_the_same_logits(
    model: Transformer, tokenizer_dir: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed here")
    weights.save(model, tmp_path / "w", tokenizer_dir)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "w")
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model.logits(model(IDS)), rtol=0, atol=1e-4)


def test_foreign_tied_weights_with_other_constants(model: Transformer, tmp_path: Path) -> None:
    tied = Transformer(SHAPE, norm_eps=1e-5, rope_theta=5e4, tied=True)
    initialise(tied, 1, init_std=0.2)
    weights.save(tied, tmp_path / "w", None)
    again = weights.load(tmp_path / "w")
    assert again.head.weight is again.embedding.weight
    assert (again.norm.eps, again.blocks[0].ffn_norm.eps, again.rope_theta) == (1e-5, 1e-5, 5e4)
    assert torch.equal(again.logits(again(IDS)), tied.logits(tied(IDS)))


def test_a_full_disk_names_the_file_and_leaves_nothing(
    model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.save(model, tmp_path / "w", None)
    before = (tmp_path / "w" / "model.safetensors").read_bytes()

    def full(tensors: object, path: Path, metadata: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: No space left (os error {errno.ENOSPC})")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(SystemFailure, match="No space left on device") as told:
            weights.save(model, tmp_path / "w", None)
    assert told.value.file == str(tmp_path / "w" / "model.safetensors")
    assert "free space" in told.value.remedy
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    assert (tmp_path / "w" / "model.safetensors").read_bytes() == before


def test_where_safetensors_hides_the_error_of_the_operating_system(
    model: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = safetensors.torch.save_file
    with monkeypatch.context() as patch:  # what its library says of a path that cannot be written
        patch.setattr("safetensors.torch.save_file", lambda t, path, metadata: real(t, path.parent / "no" / "x"))
        with pytest.raises(SystemFailure, match="No such file") as told:
            weights.save(model, tmp_path / "w", None)
    assert told.value.exit_code == 8
    assert list(tmp_path.iterdir()) == []
