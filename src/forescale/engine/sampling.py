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
    p_BV = torch.softmax(logits_BV.double() / temperature, -1)
    if top_p < 1:
        sorted_BV, id_BV = p_BV.sort(stable=True, dim=-1, descending=True)
        dropped_BV = torch.empty_like(id_BV, dtype=torch.bool)
        dropped_BV.scatter_(-1, id_BV, sorted_BV.cumsum(-1) - sorted_BV >= top_p)
        p_BV = p_BV.masked_fill(dropped_BV, 0.0)
    # In the order of ids, not of probability: two nearly equal ones that change places by rounding change nothing.
    sums_BV = p_BV.cumsum(-1)
    chosen_B = (sums_BV <= uniforms_B[:, None] * sums_BV[:, -1:]).sum(-1)
    # A number just below 1 may be rounded up to the whole sum: then the last id that was kept is meant.
    last_B = logits_BV.shape[-1] - 1 - (p_BV.flip(-1) > 0).int().argmax(-1)
    return torch.minimum(chosen_B, last_B)
