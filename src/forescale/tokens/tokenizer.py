"""Byte-level BPE in Hugging Face's `tokenizer.json`, and the fast way to encode with it (paper 1.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ArtifactError, ConfigError, InputError, MissingExtraError
from forescale.base.files import write_atomic
from forescale.tokens.pieces import one_pattern, seven_steps

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
"""The published names; the end also pads, as published."""
SPECIALS = (BOS, EOS)
MIN_VOCABULARY = 256 + len(SPECIALS)
"""Every byte is a token, so that any text goes in and comes out whole."""
LONGEST_TOKEN = 128
"""Characters; the published vocabulary's longest are 128 spaces and 128 hyphens."""
LONGEST_CALL = 1 << 20
"""Characters handed to an encoder at once; longer texts are cut behind line ends, which no token crosses."""

IntArray = npt.NDArray[np.int64]


def train_tokenizer(texts: Iterable[str], vocab_size: int, out: Path, *, train_bytes: int | None = None) -> None:
    """Learn `vocab_size` tokens (specials and all 256 bytes included) and write `out/tokenizer.json`.

    `train_bytes` ends the learning text early; spread it over the corpus with `sample_texts`.
    """
    tokenizers = _tokenizers()
    if vocab_size < MIN_VOCABULARY:
        raise ConfigError(
            f"a vocabulary of {vocab_size} is too small",
            why=f"256 bytes and {len(SPECIALS)} specials are always in it",
            remedy=f"set tokenizer.vocab_size to {MIN_VOCABULARY} or more",
            key="tokenizer.vocab_size",
        )
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = seven_steps()
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    bpe.train_from_iterator(_until(texts, train_bytes), trainer)
    write_atomic(out / "tokenizer.json", bpe.to_str(pretty=False).encode())


def _until(texts: Iterable[str], n_bytes: int | None) -> Iterator[str]:
    """Texts until their bytes are used up; long ones in slices, so that no call holds 100 MB."""
    used = 0
    for text in texts:
        for piece in _slices(text):
            yield piece
            used += len(piece.encode("utf-8", "replace"))
            if n_bytes is not None and used >= n_bytes:
                return


def _slices(text: str) -> Iterator[str]:
    """`text` in slices of about `LONGEST_CALL` characters, each but the last ending in a newline: exact."""
    start = 0
    while len(text) - start > LONGEST_CALL:
        end = text.rfind("\n", start, start + LONGEST_CALL)
        end = text.find("\n", start + LONGEST_CALL) if end < 0 else end
        if end < 0:
            break
        yield text[start : end + 1]
        start = end + 1
    yield text[start:]


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtraError.of("train", "the tokenizer") from None
    return tokenizers


def byte_of_character() -> dict[str, int]:
    """GPT-2's byte alphabet: which byte each of its 256 printable characters stands for."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(rest)}


class Tokenizer:
    """An opened tokenizer folder. Text is always text: a special's name inside it is spelt out, never obeyed."""

    def __init__(self, text: str, file: Path | None = None) -> None:
        self.text, self.file = text, file
        self.hash = hashlib.sha256(text.encode()).hexdigest()[:16]
        """First 16 hex digits of the SHA-256 of tokenizer.json."""
        try:
            tree = json.loads(text)
            vocabulary: dict[str, int] = tree["model"]["vocab"]
            added = {token["content"]: int(token["id"]) for token in tree["added_tokens"]}
            alphabet = byte_of_character()
            spelt = {
                token_id: bytes(alphabet[c] for c in token)
                for token, token_id in vocabulary.items()
                if token not in added
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{file or 'tokenizer.json'} is not a byte-level BPE tokenizer: {error!r}",
                remedy="forescale tokenize --force makes it again",
                file=file,
            ) from None
        self.vocab_size = 1 + max([*spelt, *added.values()])
        self.token_of: list[bytes] = [spelt.get(token_id, b"") for token_id in range(self.vocab_size)]
        """Bytes of each id; empty for specials."""
        self.specials = added
        self.bos_id, self.eos_id = (self._special(name) for name in ("begin", "end"))

    @classmethod
    def open(cls, folder: Path | str) -> Tokenizer:
        """The tokenizer in `folder/tokenizer.json`, or exit 4."""
        file = Path(folder) / "tokenizer.json"
        try:
            return cls(file.read_text(encoding="utf-8"), file)
        except FileNotFoundError:
            raise ArtifactError(f"{file} is missing", remedy="forescale tokenize makes it", file=file) from None
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{file} is damaged: {error}", remedy="make it again", file=file) from None

    def _special(self, name: str) -> int:
        """Id of the special whose name says it begins or ends a text (`<|endoftext|>` and `</s>` are ends too)."""
        spelt = {"begin": ("begin", "<s>", "bos", "startoftext"), "end": ("end", "</s>", "eos")}
        for content, token_id in self.specials.items():
            if any(part in content for part in spelt[name]):
                return token_id
        return self._special("end") if name == "begin" else self.vocab_size - 1

    @property
    def pad_id(self) -> int:
        """The end of a text also pads, as published."""
        return self.eos_id

    @cached_property
    def token_bytes(self) -> IntArray:
        """UTF-8 bytes that each id stands for; 0 for specials."""
        return np.array([len(token) for token in self.token_of], dtype=np.int64)

    @cached_property
    def _slow(self) -> Any:
        bpe = _tokenizers().Tokenizer.from_str(self.text)
        bpe.encode_special_tokens = True  # the names of specials in a text are text
        return bpe

    @cached_property
    def _fast(self) -> Any:
        """tiktoken with our own ranks, some ten times faster at identical ids; None where it cannot stand in."""
        try:
            import tiktoken
        except ImportError:
            return None
        tree = json.loads(self.text)
        ours = json.loads(seven_steps_json())
        if tree.get("normalizer") or tree["pre_tokenizer"] != ours:
            return None
        ranks = {token: token_id for token_id, token in enumerate(self.token_of) if token}
        merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in tree["model"]["merges"]]
        order = [tree["model"]["vocab"][left + right] for left, right in merges]
        if order != sorted(order):  # ids must rise in the order of the merges
            return None
        return tiktoken.Encoding(
            "forescale", pat_str=one_pattern(), mergeable_ranks=ranks, special_tokens=dict(self.specials)
        )

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, nothing added."""
        out: list[int] = []
        for piece in _slices(text):
            out += self._encode_piece(piece)
        return out

    def _encode_piece(self, text: str) -> list[int]:
        try:
            if self._fast is not None:
                # encode_ordinary would silently replace lone surrogates, which no valid UTF-8 holds
                text.encode("utf-8")
                ids: list[int] = self._fast.encode_ordinary(text)
                return ids
            return list(self._slow.encode(text, add_special_tokens=False).ids)
        except UnicodeEncodeError as error:
            raise InputError(
                f"the text holds a lone surrogate at character {error.start}",
                why="it cannot be written as UTF-8",
                remedy="clean the text first: forescale clean repairs it",
            ) from None

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        return [self.encode(text) for text in texts]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` spell; specials spell nothing."""
        return b"".join(self.token_of[token_id] if token_id < self.vocab_size else b"" for token_id in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; bytes that are no UTF-8 (a character cut in two) become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


def seven_steps_json() -> str:
    """The pre-tokenizer as it stands in `tokenizer.json`."""
    bpe = _tokenizers().Tokenizer(_tokenizers().models.BPE())
    bpe.pre_tokenizer = seven_steps()
    return json.dumps(json.loads(bpe.to_str())["pre_tokenizer"])
