"""The paper's chat template (paper 1.4): text into ids, and which of them the loss is taken on.

    <bos>User: {text}\\n\\nAssistant: {text}<eos>User: ...

A system message stands bare, followed by a blank line; `Assistant:` asks for a reply. Turns are encoded one by one:
the pre-tokenizer never joins a line break, a colon or an end with what follows, so this equals encoding the whole,
and the border between prompt and answer is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

TEMPLATE = "deepseek-llm"
"""Name of the template in records."""
ASK = "Assistant:"
"""What asks for a reply; the answer's own first token carries the space."""


class Message(NamedTuple):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class Encoder(Protocol):
    """The part of a tokenizer that the template needs."""

    @property
    def bos_id(self) -> int:
        """Id that opens a text."""
        ...

    @property
    def eos_id(self) -> int:
        """Id that closes an answer."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; special tokens are never read from text."""
        ...


class Rendered(NamedTuple):
    """A conversation as ids; `mask[i]` says whether id i is part of an answer (its end included)."""

    ids: list[int]
    mask: list[bool]


def render(messages: Sequence[Message], tokenizer: Encoder, *, ended: bool = True) -> Rendered:
    """The whole conversation with the mask of its answers.

    `ended=False` leaves the last answer open, without its end: an answer that was cut off must not teach an end.
    """
    ids, mask = [tokenizer.bos_id], [False]
    last = len(messages) - 1
    for index, message in enumerate(messages):
        if message.role == "assistant":
            opening = tokenizer.encode(ASK)
            answer = answer_ids(message.content, tokenizer, ended=ended or index != last)
            ids += opening + answer
            mask += [False] * len(opening) + [True] * len(answer)
        else:
            text = f"User: {message.content}\n\n" if message.role == "user" else f"{message.content}\n\n"
            turn = tokenizer.encode(text)
            ids += turn
            mask += [False] * len(turn)
    return Rendered(ids, mask)


def prompt_ids(messages: Sequence[Message], tokenizer: Encoder) -> list[int]:
    """The conversation so far, asking for the next reply."""
    return render(messages, tokenizer).ids + tokenizer.encode(ASK)


def answer_ids(text: str, tokenizer: Encoder, *, ended: bool = True) -> list[int]:
    """An answer as it follows `Assistant:`, the space before it included."""
    return tokenizer.encode(f" {text}") + ([tokenizer.eos_id] if ended else [])


def answer_bytes(text: str) -> int:
    """UTF-8 bytes that the answer's tokens stand for, the template's space included, its end not."""
    return len(f" {text}".encode())


def fit(messages: Sequence[Message], tokenizer: Encoder, limit: int) -> tuple[Rendered | None, bool]:
    """The conversation in at most `limit` ids and whether it was shortened; None where not even one answer fits.

    Whole turns are cut from the end, never an answer in its middle: a cut answer would teach the model to stop at its
    last position without an end.
    """
    kept = list(messages)
    while kept:
        while kept and kept[-1].role != "assistant":
            kept.pop()
        if not kept:
            break
        rendered = render(kept, tokenizer)
        if len(rendered.ids) <= limit:
            return rendered, len(kept) < _last_answer(messages)
        kept.pop()
    return None, False


def _last_answer(messages: Sequence[Message]) -> int:
    """Number of messages up to the last answer: a trailing question without answer is no loss."""
    return max((i + 1 for i, m in enumerate(messages) if m.role == "assistant"), default=0)
