"""From logits to the next id, one random number a row and step."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def row_seeds(prompts: Sequence[Sequence[int]], seed: int) -> list[int]:
    """A seed for each row from (seed, its prompt, how many equal prompts stand before it).

    So a row's answer does not depend on which other rows it is batched with, and equal prompts get different answers.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    seeds = []
    for prompt in prompts:
        key = tuple(prompt)
        name = f"{seed}:{seen[key]}:{','.join(map(str, key))}"
        seeds.append(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
        seen[key] += 1
    return seeds


def uniforms(seed: int, n: int) -> npt.NDArray[np.float64]:
    """The row's random numbers in [0, 1), one a step."""
    return np.random.default_rng(seed).random(n)


def choose(logits_BV: Tensor, uniforms_B: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """Next ids [B]: the most likely at temperature 0, else by inverse distribution function.

    `top_p` keeps the smallest set of most likely ids whose probability reaches it (Holtzman et al. 2020).
    """
    if temperature <= 0:
        return logits_BV.argmax(-1)
    p_BV, id_BV = torch.softmax(logits_BV.double() / temperature, -1).sort(stable=True, dim=-1, descending=True)
    before_BV = p_BV.cumsum(-1) - p_BV
    p_BV = torch.where(before_BV < top_p, p_BV, 0.0)
    sums_BV = p_BV.cumsum(-1)
    # The number drawn is scaled by what was kept: strictly below the last sum, so the rank is always a kept one.
    rank_B1 = (sums_BV <= uniforms_B[:, None] * sums_BV[:, -1:]).sum(-1, keepdim=True)
    kept_B1 = (p_BV > 0).sum(-1, keepdim=True)
    return id_BV.gather(-1, torch.minimum(rank_B1, kept_B1 - 1)).squeeze(-1)
