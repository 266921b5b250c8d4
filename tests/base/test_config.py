import pytest

from forescale.base.config import Recipe, load_recipe
from forescale.base.errors import ConfigError, InputError


def write(tmp_path, text):
    path = tmp_path / "forescale.toml"
    path.write_text(text)
    return path


def test_set_goes_over_the_file_and_the_file_over_defaults(tmp_path):
    path = write(tmp_path, "[tokenizer]\nvocab_size = 600\n[train]\nseed = 3\n")
    recipe, origin = load_recipe(path, ["tokenizer.vocab_size=512", "corpus.dedup=false"])
    assert (recipe.tokenizer.vocab_size, recipe.train.seed, recipe.corpus.dedup) == (512, 3, False)
    assert origin["tokenizer.vocab_size"] == "--set"
    assert origin["train.seed"] == str(path)


def test_an_unknown_key_is_refused_with_the_nearest_valid_one(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, "[tokenizer]\nvocab_sise = 600\n"))
    assert "vocab_size" in caught.value.remedy
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="unknown key `tokeniser`") as caught:
        load_recipe(write(tmp_path, "[tokeniser]\nvocab_size = 600\n"))
    assert "tokenizer" in caught.value.remedy


def test_a_value_out_of_range_names_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"corpus\.threshold"):
        load_recipe(write(tmp_path, "[corpus]\nthreshold = 1.5\n"))


def test_no_file_and_no_toml_are_told_apart(tmp_path):
    with pytest.raises(InputError):
        load_recipe(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="not TOML"):
        load_recipe(write(tmp_path, "[tokenizer\n"))


def test_every_field_says_what_it_is():
    silent = [
        f"{name}.{key}" for name, section in Recipe.model_fields.items()
        for key, field in section.annotation.model_fields.items()
        if field.description is None and key not in SELF_EXPLAINING
    ]  # fmt: skip
    assert silent == []


SELF_EXPLAINING = {
    "n_layer", "d_model", "n_head", "n_kv_head", "d_ffn", "tokens", "batch_tokens", "learning_rate", "weight_decay",
    "clip", "seed", "data", "tensor", "pipeline", "keep", "sizes_per_budget", "epochs", "beta", "batch",
}  # fmt: skip
