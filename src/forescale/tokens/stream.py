"""Batches out of a folder of token shards: a pure function of (seed, step), whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from forescale.base.errors import ArtifactError, ConfigError, InputError
from forescale.base.records.tokens import TokensSummary
from forescale.tokens.permutation import permute

IntArray = npt.NDArray[np.int64]
REMEMBERED_WINDOWS = 1 << 22
"""An epoch of up to so many windows keeps its order in memory (32 MB): a step then costs no hashing."""


class TokenStream:
    """One split of a TokenShards folder, memory-mapped.

    The tokens are cut into windows of `seq_len`; each epoch visits all of them in an order of its own. Nothing is
    kept between calls, so a resumed run, another branch of a trunk or another number of ranks sees the same rows.
    """

    def __init__(self, folder: Path | str, split: Literal["train", "validation"] = "train") -> None:
        self.folder, self.split = Path(folder), split
        self.summary = TokensSummary.read(self.folder / "summary.json")
        count = self.summary.train if split == "train" else self.summary.validation
        self.n_tokens, self.n_bytes = count.tokens, count.bytes
        path = self.folder / f"{split}.bin"
        dtype = np.dtype(self.summary.dtype)
        size = path.stat().st_size if path.exists() else -1
        if size != self.n_tokens * dtype.itemsize:
            raise ArtifactError(
                f"{path} has {max(size, 0)} bytes, not {self.n_tokens * dtype.itemsize}",
                why="the token shards are damaged or were not finished",
                remedy="forescale tokenize --force",
                file=path,
            )
        self.ids: npt.NDArray[np.unsignedinteger] = (
            np.memmap(path, dtype=dtype, mode="r") if size else np.zeros(0, dtype)
        )
        self.token_bytes: IntArray = np.load(self.folder / "token_bytes.npy")
        """Bytes that each id stands for; 0 for specials."""
        self._remembered: tuple[tuple[int, int, int], IntArray] | None = None

    @property
    def eos_id(self) -> int:
        """The id that closes a document."""
        return self.summary.eos_id

    def n_windows(self, seq_len: int) -> int:
        """Whole windows of `seq_len` tokens that have a next token each."""
        return max(0, (self.n_tokens - 1) // seq_len)

    def batch(
        self, seed: int, step: int, batch_tokens: int, seq_len: int, rank: int = 0, ranks: int = 1
    ) -> tuple[IntArray, IntArray]:
        """Ids and next ids of `rank`'s rows of step `step`, both int64 [B, T]; ranks take neighbouring rows."""
        if batch_tokens % seq_len:
            raise ConfigError(
                f"a batch of {batch_tokens} tokens is not a multiple of seq_len {seq_len}", key="batch_tokens"
            )
        rows = batch_tokens // seq_len
        n = self.n_windows(seq_len)
        if n == 0:
            self.require(seq_len, seq_len)
        first, last = rows * rank // ranks, rows * (rank + 1) // ranks
        order = np.arange(step * rows + first, step * rows + last, dtype=np.int64)
        epochs = order // n
        windows = np.empty_like(order)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            windows[here] = self._windows(order[here] % n, n, seed, int(epoch))
        return self._cut(windows * seq_len, seq_len)

    def validation_windows(self, n_tokens: int, seq_len: int) -> tuple[IntArray, IntArray]:
        """Always the same windows, spread evenly over the split: ids and next ids, [W, T], at most `n_tokens`."""
        return self._cut(self._validation_starts(n_tokens, seq_len), seq_len)

    def validation_sets(self, n_tokens: int, seq_len: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Which of these windows begin in each of the split's sets, by name; one set, "", where it has no parts."""
        starts = self._validation_starts(n_tokens, seq_len)
        sets = self.summary.validation_sets or {"": self.n_tokens}
        ends = np.cumsum(list(sets.values()))
        place = np.searchsorted(ends, starts, side="right")
        return {name: place == i for i, name in enumerate(sets)}

    def _validation_starts(self, n_tokens: int, seq_len: int) -> IntArray:
        available = self.n_windows(seq_len)
        if available == 0:
            self.require(seq_len, seq_len)
        wanted = max(1, min(available, n_tokens // seq_len))
        return np.arange(wanted, dtype=np.int64) * available // wanted * seq_len

    def unique_tokens(self, n_tokens: int, seq_len: int) -> int:
        """How many of the first `n_tokens` trained on are distinct: all of them until the first epoch ends."""
        return min(n_tokens, self.n_windows(seq_len) * seq_len)

    def require(self, n_tokens: int, seq_len: int, *, epochs: float = 1.0) -> None:
        """Refuse (exit 3) a run of `n_tokens` that would go through the split more than `epochs` times."""
        have = int(self.n_windows(seq_len) * seq_len * epochs)
        if n_tokens <= have:
            return
        missing = int((n_tokens - have) / epochs)
        per_token = self.n_bytes / self.n_tokens if self.n_tokens else 4.0
        raise InputError(
            f"the {self.split} split has {self.n_tokens:,} tokens; {n_tokens:,} are needed",
            why=f"{missing:,} tokens, about {int(missing * per_token) + 1:,} bytes of clean text, are missing",
            remedy="add text to the corpus, or ask for a smaller budget",
            file=self.folder,
        )

    def target_bytes(self, targets: IntArray, mask: npt.NDArray[np.bool_] | None = None) -> int:
        """UTF-8 bytes that the (counted) targets stand for: the `bytes` of a LossSum."""
        sizes = self.token_bytes[targets]
        return int(sizes.sum() if mask is None else sizes[mask].sum())

    def _windows(self, index: IntArray, n: int, seed: int, epoch: int) -> IntArray:
        """`permute`, remembered for the epoch at hand where that costs little memory."""
        if n > REMEMBERED_WINDOWS:
            return permute(index, n, seed, epoch)
        if self._remembered is None or self._remembered[0] != (n, seed, epoch):
            self._remembered = (n, seed, epoch), permute(np.arange(n), n, seed, epoch)
        return self._remembered[1][index]

    def _cut(self, starts: IntArray, seq_len: int) -> tuple[IntArray, IntArray]:
        block = np.empty((len(starts), seq_len + 1), dtype=np.int64)
        for row, start in enumerate(starts.tolist()):
            block[row] = self.ids[start : start + seq_len + 1]
        return block[:, :-1], block[:, 1:]
