"""Chat and preference files: JSONL in, typed values out, each refusal with its line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forescale.align.chat import Message
from forescale.base.errors import InputError
from forescale.base.files import write_atomic

ROLES = ("system", "user", "assistant")


class Chat(NamedTuple):
    """A conversation and where it came from."""

    messages: tuple[Message, ...]
    source: str = ""

    @property
    def question(self) -> tuple[Message, ...]:
        """Everything before the last answer."""
        return self.messages[: self._answer]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[self._answer].content

    @property
    def _answer(self) -> int:
        return max(i for i, message in enumerate(self.messages) if message.role == "assistant")


class Pair(NamedTuple):
    """Two answers to one prompt, the first preferred; whether each ended by itself."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    reason: str = ""
    chosen_ended: bool = True
    rejected_ended: bool = True


def read_chats(path: Path) -> list[Chat]:
    """Conversations from `{"messages": [{"role", "content"}, ...], "source"?}` a line; each has an answer."""
    chats = []
    for line, row in _rows(path):
        messages = _messages(row.get("messages"), path, line, "messages")
        if not any(m.role == "assistant" and m.content.strip() for m in messages):
            raise InputError(
                "a conversation without an answer",
                why="the loss is taken on answers only",
                remedy='add {"role": "assistant", "content": ...}',
                file=path,
                line=line,
                key="messages",
            )
        chats.append(Chat(messages, str(row.get("source", ""))))
    return chats


def read_pairs(path: Path) -> list[Pair]:
    """Preference pairs from `{"prompt": [messages], "chosen", "rejected", ...}` a line.

    `prompt` may be a text (one user turn); an answer may be a text or a list with one assistant message. A file may
    be empty: a model may have given no usable pair.
    """
    pairs = []
    for line, row in _rows(path, may_be_empty=True):
        prompt = row.get("prompt")
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        pairs.append(
            Pair(
                _messages(messages, path, line, "prompt"),
                _answer(row.get("chosen"), path, line, "chosen"),
                _answer(row.get("rejected"), path, line, "rejected"),
                str(row.get("reason", "")),
                bool(row.get("chosen_ended", True)),
                bool(row.get("rejected_ended", True)),
            )
        )
    return pairs


def pair_line(pair: Pair) -> str:
    """A pair as its JSONL line."""
    row = pair._asdict() | {"prompt": [message._asdict() for message in pair.prompt]}
    return json.dumps(row, ensure_ascii=False) + "\n"


def chat_line(chat: Chat) -> str:
    """A conversation as its JSONL line."""
    row = {"messages": [message._asdict() for message in chat.messages], "source": chat.source}
    return json.dumps(row, ensure_ascii=False) + "\n"


def hold_out(path: Path, out: Path, *, share: float = 0.05, most: int = 512, seed: int = 0) -> tuple[Path, Path]:
    """Split a chat file into `out/train.jsonl` and `out/heldout.jsonl`; whole sources where there are enough.

    Held out are whole sources (packages, sites) in the order of a seeded hash until `share` of the conversations is
    reached, so that a held-out answer has no sibling in training; with fewer than eight sources, single
    conversations. Equal conversations always fall on the same side.
    """
    chats = read_chats(path)
    by_source = len({chat.source for chat in chats}) >= 8

    def group(chat: Chat) -> str:
        return chat.source if by_source else chat_line(chat._replace(source=""))

    order = sorted({group(chat) for chat in chats}, key=lambda name: _hash(name, seed))
    sizes: dict[str, int] = {}
    for chat in chats:
        sizes[group(chat)] = sizes.get(group(chat), 0) + 1
    goal = min(most, max(1, round(share * len(chats))))
    held: set[str] = set()
    count = 0
    for name in order:
        # A source that alone would take far more than its share stays in training.
        if count < goal and count + sizes[name] <= max(2 * goal, 1) and len(held) + 1 < len(order):
            held.add(name)
            count += sizes[name]
    if not held:
        raise InputError(
            f"{path} has too few conversations to hold some out",
            why=f"{len(chats)} conversations in {len(order)} groups",
            remedy="give at least two different conversations",
            file=path,
        )
    train, heldout = out / "train.jsonl", out / "heldout.jsonl"
    write_atomic(train, "".join(chat_line(c) for c in chats if group(c) not in held).encode())
    write_atomic(heldout, "".join(chat_line(c) for c in chats if group(c) in held).encode())
    return train, heldout


def _hash(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _rows(path: Path, *, may_be_empty: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a JSONL file as objects with their number."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", remedy="check the path", file=path) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", remedy="check the path", file=path) from None
    empty = True
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        empty = False
        try:
            row = json.loads(raw)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"not a line of JSON: {error}",
                why="a chat or pair file holds one JSON object a line",
                remedy="mend or remove the line",
                file=path,
                line=number,
            ) from None
        if not isinstance(row, dict):
            raise InputError("a line that is not an object", remedy="write {...}", file=path, line=number)
        yield number, row
    if empty and not may_be_empty:
        raise InputError(f"{path} is empty", remedy="give one JSON object a line", file=path)


def _messages(value: object, path: Path, line: int, key: str) -> tuple[Message, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(
            f"`{key}` is not a list of messages",
            remedy=f'write "{key}": [{{"role": "user", "content": "..."}}, ...]',
            file=path,
            line=line,
            key=key,
        )
    messages = []
    for item in value:
        role = item.get("role") if isinstance(item, dict) else None
        content = item.get("content") if isinstance(item, dict) else None
        if role not in ROLES or not isinstance(content, str):
            raise InputError(
                f"a message without a known role and a text: {str(item)[:80]}",
                remedy=f"roles are {', '.join(ROLES)}; content is a string",
                file=path,
                line=line,
                key=key,
            )
        messages.append(Message(role, _utf8(content, path, line, key)))
    return tuple(messages)


def _utf8(text: str, path: Path, line: int, key: str) -> str:
    """`text`, unless it holds half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "a text with a lone surrogate (\\ud800 to \\udfff)",
            why="it is no valid Unicode and cannot be written as UTF-8",
            remedy="mend the program that wrote the file, or remove the line",
            file=path,
            line=line,
            key=key,
        ) from None
    return text


def _answer(value: object, path: Path, line: int, key: str) -> str:
    if isinstance(value, str):
        return _utf8(value, path, line, key)
    messages = _messages(value, path, line, key)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise InputError(
            f"`{key}` is not one answer",
            remedy="write a string, or a list with one assistant message",
            file=path,
            line=line,
            key=key,
        )
    return messages[0].content
