"""A permutation of 0..n-1 that can be asked for one place at a time, and is never stored."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
ROUNDS = 6


def permute(index: IntArray, n: int, *key: int) -> IntArray:
    """Where the permutation of 0..n-1 named by `key` sends each of `index`.

    A Feistel network over the smallest even number of bits that holds n; what lands outside is sent on until it
    lands inside (cycle walking), which keeps it a bijection for every n.

    >>> sorted(permute(np.arange(5), 5, 1, 2).tolist())
    [0, 1, 2, 3, 4]
    """
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    out = _feistel(index.astype(np.uint64), half, keys)
    while (outside := out >= n).any():
        out[outside] = _feistel(out[outside], half, keys)
    return out.astype(np.int64)


def _round_keys(key: tuple[int, ...]) -> list[np.uint64]:
    digest = hashlib.sha512(":".join(map(str, key)).encode()).digest()
    return [np.uint64(int.from_bytes(digest[8 * i : 8 * i + 8], "little")) for i in range(ROUNDS)]


def _feistel(x: npt.NDArray[np.uint64], half: int, keys: list[np.uint64]) -> npt.NDArray[np.uint64]:
    bits, low = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = x >> bits, x & low
    for key in keys:
        mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        left, right = right, left ^ ((mixed >> np.uint64(32)) & low)
    return (left << bits) | right
