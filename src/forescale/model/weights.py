"""Weights as others read them: a Hugging Face `LlamaForCausalLM` folder, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forescale.base.errors import ArtifactError, InputError, MissingExtraError
from forescale.base.files import disk_failure
from forescale.base.shape import ModelShape
from forescale.model.transformer import NORM_EPS, ROPE_THETA, Transformer

FILE_BYTES = 5_000_000_000
"""A safetensors file ends about here and the next one begins, as Hugging Face does."""

NAMES = (
    (r"embedding\.weight", "model.embed_tokens.weight"),
    (r"norm\.weight", "model.norm.weight"),
    (r"head\.weight", "lm_head.weight"),
    (r"blocks\.(\d+)\.attention_norm\.weight", r"model.layers.\1.input_layernorm.weight"),
    (r"blocks\.(\d+)\.attention\.([qkv])\.weight", r"model.layers.\1.self_attn.\2_proj.weight"),
    (r"blocks\.(\d+)\.attention\.out\.weight", r"model.layers.\1.self_attn.o_proj.weight"),
    (r"blocks\.(\d+)\.ffn_norm\.weight", r"model.layers.\1.post_attention_layernorm.weight"),
    (r"blocks\.(\d+)\.ffn\.(gate|up|down)\.weight", r"model.layers.\1.mlp.\2_proj.weight"),
)
"""Our parameter names, and what Hugging Face calls them."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""The published template: a system message is emitted bare (paper 6)."""


def hugging_face_name(name: str) -> str:
    """What Hugging Face calls a parameter of ours.

    >>> hugging_face_name("blocks.3.attention.q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    for ours, theirs in NAMES:
        if re.fullmatch(ours, name):
            return re.sub(ours, theirs, name)
    raise KeyError(name)


def save(model: Transformer, folder: Path | str, tokenizer_dir: Path | str | None, *, chat: bool = False) -> None:
    """Write `model` and its tokenizer to `folder`; `chat` sets the published sampling defaults of chat models."""
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    save_state(
        state, model.shape, folder, tokenizer_dir, chat=chat,
        norm_eps=model.norm.eps, rope_theta=model.rope_theta, tied=model.tied, init_std=model.init_std,
    )  # fmt: skip


def save_state(
    state: Mapping[str, Tensor],
    shape: ModelShape,
    folder: Path | str,
    tokenizer_dir: Path | str | None,
    *,
    chat: bool = False,
    norm_eps: float = NORM_EPS,
    rope_theta: float = ROPE_THETA,
    tied: bool = False,
    init_std: float | None = None,
) -> None:
    """`save` for whole tensors by our names, as a trainer gathers them from its ranks."""
    folder = Path(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    special = _special_tokens(tokenizer_dir)
    dtype = next(iter(state.values())).dtype
    config = config_json(shape, dtype, norm_eps, rope_theta, tied, init_std) | special["config"]
    generation = special["config"] | {"do_sample": chat} | ({"temperature": 0.7, "top_p": 0.95} if chat else {})
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        _write_tensors({hugging_face_name(name): tensor for name, tensor in state.items()}, aside)
        _write_json(aside / "config.json", config)
        _write_json(aside / "generation_config.json", generation)
        if tokenizer_dir is not None:
            shutil.copyfile(Path(tokenizer_dir) / "tokenizer.json", aside / "tokenizer.json")
            _write_json(aside / "tokenizer_config.json", special["tokenizer"] | {"model_max_length": shape.seq_len})
        _put_in_place(aside, folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        named = Path(error.filename or aside)
        raise disk_failure(error, folder / named.name if named.parent == aside else folder) from error


def config_json(
    shape: ModelShape, dtype: torch.dtype, norm_eps: float, rope_theta: float, tied: bool, init_std: float | None
) -> dict[str, Any]:
    """`config.json` of a Llama model, readable by old and new releases of transformers."""
    kind = str(dtype).removeprefix("torch.")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.d_model,
        "intermediate_size": int(shape.d_ffn),
        "num_hidden_layers": shape.n_layer,
        "num_attention_heads": shape.n_head,
        "num_key_value_heads": shape.n_kv_head,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.seq_len,
        "rms_norm_eps": norm_eps,
        "rope_theta": rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope_theta},
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": tied,
        "initializer_range": init_std if init_std is not None else 0.02,
        "torch_dtype": kind,
        "dtype": kind,
        "use_cache": True,
    }


def _special_tokens(tokenizer_dir: Path | str | None) -> dict[str, dict[str, Any]]:
    """Ids for the configs and names for `tokenizer_config.json`, read from tokenizer.json itself."""
    if tokenizer_dir is None:
        return {"config": {}, "tokenizer": {}}
    file = Path(tokenizer_dir) / "tokenizer.json"
    try:
        added = json.loads(file.read_text(encoding="utf-8"))["added_tokens"]
        bos, eos = ((token["content"], int(token["id"])) for token in added[:2])
    except FileNotFoundError:
        raise ArtifactError(f"{file} is missing", remedy="forescale tokenize makes it", file=file) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} is not a tokenizer: {error!r}", remedy="make it again", file=file) from None
    return {
        "config": {"bos_token_id": bos[1], "eos_token_id": eos[1], "pad_token_id": eos[1]},
        "tokenizer": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos[0],
            "eos_token": eos[0],
            "pad_token": eos[0],
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_tensors(tensors: dict[str, Tensor], folder: Path) -> None:
    """One `model.safetensors`, or several with their index."""
    files: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        n = tensor.numel() * tensor.element_size()
        if files[-1] and size + n > FILE_BYTES:
            files.append({})
            size = 0
        files[-1][name] = tensor.cpu().contiguous()
        size += n
    if len(files) == 1:
        _save_file(files[0], folder / "model.safetensors")
        return
    names: dict[str, str] = {}
    for number, part in enumerate(files, 1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        _save_file(part, folder / file)
        names |= dict.fromkeys(part, file)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    _write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": names})


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        hidden = re.search(r"\(os error (\d+)\)", str(error))  # all that its library leaves of an OSError
        if hidden is None:
            raise
        number = int(hidden[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def _put_in_place(aside: Path, folder: Path) -> None:
    """Swap the finished folder in; the old one goes last, so that at no time there is neither."""
    if not folder.exists():
        aside.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load(folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Transformer:
    """The model in a Hugging Face folder of Llama's layout, ours or anyone's; damaged files are exit 4."""
    folder = Path(folder)
    config = _read_json(folder / "config.json")
    shape, extra = read_config(config, folder / "config.json")
    with torch.device("meta"):
        model = Transformer(replace(shape, seq_len=1), **extra)
    tensors = _read_tensors(folder)
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        theirs = hugging_face_name(name)
        if theirs not in tensors:
            raise _damaged(folder, f"it has no tensor {theirs}")
        if tensors[theirs].shape != parameter.shape:
            raise _damaged(folder, f"{theirs} is {list(tensors[theirs].shape)}, not {list(parameter.shape)}")
        state[name] = tensors[theirs].to(device=device, dtype=dtype)
    model.shape = shape
    model.load_state_dict(state, strict=False, assign=True)
    if model.tied:
        model.head.weight = model.embedding.weight
    model.make_rope(device)
    return model.requires_grad_(True)


def read_config(config: Mapping[str, Any], file: Path) -> tuple[ModelShape, dict[str, Any]]:
    """Shape and the arguments of `Transformer` that a `config.json` asks for; what we cannot run is refused."""
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or {}
    refused = {
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "rope_scaling": any(r.get("rope_type", r.get("type", "default")) != "default" for r in (rope, scaling)),
        "model_type": config.get("model_type") != "llama",
    }
    for key, is_so in refused.items():
        if is_so:
            raise InputError(
                f"{key} = {config.get(key)!r} is not the paper's architecture",
                why="only Llama's layout with plain rotary positions and no biases is read",
                file=file,
                key=key,
            )
    try:
        n_head = int(config["num_attention_heads"])
        d_model = int(config["hidden_size"])
        shape = ModelShape(
            n_layer=int(config["num_hidden_layers"]),
            d_model=d_model,
            n_head=n_head,
            n_kv_head=int(config.get("num_key_value_heads") or n_head),
            d_ffn=int(config["intermediate_size"]),
            vocab_size=int(config["vocab_size"]),
            seq_len=int(config["max_position_embeddings"]),
            head_dim=int(config.get("head_dim") or d_model // n_head),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{file} lacks a number: {error}", remedy="get or make it again", file=file) from None
    return shape, {
        "norm_eps": float(config.get("rms_norm_eps", NORM_EPS)),
        "rope_theta": float(rope.get("rope_theta") or config.get("rope_theta") or ROPE_THETA),
        "tied": bool(config.get("tie_word_embeddings", False)),
        "init_std": config.get("initializer_range"),
    }


def _damaged(folder: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"{folder} is not a whole model", why=why, remedy="make or fetch the weights again", file=folder
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing", why="it is no folder of weights", file=path) from None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", remedy="make it again", file=path) from None
    if not isinstance(tree, dict):
        raise ArtifactError(f"{path} is not an object", remedy="make it again", file=path)
    return tree


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtraError.of("train", "reading weights") from None
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        files = set(_read_json(index).get("weight_map", {}).values())
    tensors: dict[str, Tensor] = {}
    for name in sorted(files):
        path = folder / name
        if not path.exists():
            raise _damaged(folder, f"{name} is missing")
        try:
            tensors |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise _damaged(folder, f"{name}: {error}") from None
    return tensors
