"""What the device can do: precision, compiling, its peak, and how the C library should hold memory."""

from __future__ import annotations

import ctypes
import functools
import shutil
import time

import torch

from forescale.base.errors import ConfigError
from forescale.base.records.spec import RunSpec

_BF16_PEAKS = {"H100": 989e12, "H200": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12, "L40S": 362e12}
"""Dense bf16 FLOP/s of data-centre GPUs (vendor data sheets, without sparsity)."""
_TOP_PAD, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -2, -3, -1  # malloc.h


def default_device() -> torch.device:
    """The first GPU, or the processor."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def uses_bf16(spec: RunSpec, device: torch.device) -> bool:
    """Whether a run computes in bf16: asked for, or `auto` on a GPU that has it. Weights stay fp32."""
    if spec.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    if spec.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("this GPU has no bf16", remedy='set train.precision = "fp32"', key="train.precision")
    return spec.precision == "bf16"


def compiler_exists() -> bool:
    """Whether torch.compile can build its kernels here."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


@functools.lru_cache(maxsize=4)
def peak_flops(device: torch.device, bf16: bool) -> float | None:
    """FLOP/s against which utilisation is told: a GPU's data sheet, or a 384-cubed matmul timed here and now."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((peak for part, peak in _BF16_PEAKS.items() if part in name), None) if bf16 else None
    a = torch.ones(384, 384)
    a @ a
    best = min(_timed(a) for _ in range(5))
    return 2 * 384**3 / best


def _timed(a: torch.Tensor) -> float:
    started = time.perf_counter()
    a @ a
    return max(time.perf_counter() - started, 1e-9)


def hold_memory() -> None:
    """Tell glibc to keep freed blocks: page faults are a tenth of a small model's step (x1.03-1.08 without them)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(_MMAP_THRESHOLD, 32 << 20)  # glibc refuses more
    mallopt(_TRIM_THRESHOLD, 1 << 30)
    mallopt(_TOP_PAD, 16 << 20)
