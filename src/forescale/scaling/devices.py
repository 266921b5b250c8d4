"""Accelerators: peak rate, memory, devices a node and the link between them, and where the numbers come from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from forescale.base.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """One accelerator. Peak is dense (no sparsity) bf16 with fp32 accumulation, fp16 where bf16 is lacking."""

    name: str
    peak_flops: float
    memory_gib: float
    per_node: int
    """Devices joined by the fast link: tensor parallelism stays inside."""
    link: float
    """Bytes a second that a device sends to the others of its node, one direction: NVLink, Infinity Fabric or the TPU's
    interconnect (datasheets give both directions together: halved); cards without one use PCIe (16 lanes)."""
    network: float | None
    """The same to other nodes: of NVIDIA's DGX with these devices (an adapter each: 200 Gb/s beside an A100, 400 beside
    an H100 and later, four of 100 for eight V100), of AMD's and Frontier's nodes, of a TPU's torus. None: cards that no
    such system is built of; what their network costs is not counted."""
    source: str


_TABLE = (
    ("a100-40gb", 312e12, 40, 8, 300e9, 25e9, "NVIDIA A100 datasheet (2020)"),
    ("a100-80gb", 312e12, 80, 8, 300e9, 25e9, "NVIDIA A100 datasheet (2021)"),
    ("h100-sxm", 989.4e12, 80, 8, 450e9, 50e9, "NVIDIA H100 datasheet, SXM: 1,978.9 with sparsity, halved"),
    ("h100-pcie", 756e12, 80, 8, 64e9, None, "NVIDIA H100 datasheet, PCIe: 1,513 with sparsity, halved"),
    ("h800", 989.4e12, 80, 8, 200e9, 50e9, "as H100 SXM; NVLink reduced to 400 GB/s"),
    ("h200", 989.4e12, 141, 8, 450e9, 50e9, "NVIDIA H200 datasheet, SXM"),
    ("h20", 148e12, 96, 8, 450e9, 50e9, "NVIDIA H20, vendors' listings"),
    ("b200", 2250e12, 180, 8, 900e9, 50e9, "NVIDIA HGX B200: 36 PFLOPS with sparsity for 8, halved"),
    ("gb200", 2500e12, 186, 72, 900e9, 50e9, "NVIDIA GB200 NVL72: 360 PFLOPS with sparsity for 72, halved"),
    ("v100-32gb", 125e12, 32, 8, 150e9, 6.25e9, "NVIDIA V100 datasheet, fp16 tensor cores"),
    ("a800-80gb", 312e12, 80, 8, 200e9, 25e9, "as A100; NVLink reduced"),
    ("a40", 149.7e12, 48, 8, 32e9, None, "NVIDIA A40 datasheet"),
    ("a10", 125e12, 24, 8, 32e9, None, "NVIDIA A10 datasheet"),
    ("l40s", 362.05e12, 48, 8, 32e9, None, "NVIDIA L40S datasheet"),
    ("l4", 121e12, 24, 8, 32e9, None, "NVIDIA L4 datasheet: 242 with sparsity, halved"),
    ("rtx-4090", 165.2e12, 24, 8, 32e9, None, "NVIDIA Ada architecture paper, fp32 accumulation"),
    ("rtx-3090", 71e12, 24, 8, 32e9, None, "NVIDIA Ampere GA102 architecture paper, fp32 accumulation"),
    ("rtx-5090", 209.5e12, 32, 8, 64e9, None, "NVIDIA Blackwell architecture paper, fp32 accumulation"),
    ("mi250x", 383e12, 128, 8, 400e9, 25e9, "AMD Instinct MI250X datasheet"),
    ("mi300x", 1307.4e12, 192, 8, 448e9, 50e9, "AMD Instinct MI300X datasheet"),
    ("tpu-v4", 275e12, 32, 4, 300e9, 300e9, "Google Cloud TPU documentation"),
    ("tpu-v5e", 197e12, 16, 8, 200e9, 200e9, "Google Cloud TPU documentation"),
    ("tpu-v5p", 459e12, 95, 4, 600e9, 600e9, "Google Cloud TPU documentation"),
    ("tpu-v6e", 918e12, 32, 8, 448e9, 448e9, "Google Cloud TPU documentation"),
)
DEVICES = {row[0]: Device(*row) for row in _TABLE}
_ALIASES = {
    "a100": "a100-80gb", "a100-sxm": "a100-80gb", "a800": "a800-80gb", "h100": "h100-sxm", "h100-sxm5": "h100-sxm",
    "h100-80gb": "h100-sxm", "v100": "v100-32gb", "4090": "rtx-4090", "3090": "rtx-3090", "5090": "rtx-5090",
    "h100-80gb-hbm3": "h100-sxm", "h100-sxm5-80gb": "h100-sxm", "a100-sxm4-80gb": "a100-80gb", "a100-40": "a100-40gb",
    "a100-sxm4-40gb": "a100-40gb", "a100-80": "a100-80gb", "h800-80gb": "h800", "h200-141gb": "h200",
    "rtx4090": "rtx-4090", "rtx3090": "rtx-3090", "rtx5090": "rtx-5090", "v4": "tpu-v4", "v5e": "tpu-v5e",
    "v5p": "tpu-v5p", "v6e": "tpu-v6e",
}  # fmt: skip


def device(name: str) -> Device:
    """The device of this name, whatever its case; an unknown one is refused with the nearest known.

    >>> device("H100").peak_flops
    989400000000000.0
    """
    key = name.strip().lower().replace("_", "-").replace(" ", "-").removeprefix("nvidia-").removeprefix("amd-")
    key = _ALIASES.get(key, key)
    if key in DEVICES:
        return DEVICES[key]
    near = difflib.get_close_matches(key, [*DEVICES, *_ALIASES], n=1, cutoff=0.4)
    raise ConfigError(
        f"the device `{name}` is not in the table",
        why="its peak rate and memory decide time, layout and cost",
        remedy=(f"did you mean `{near[0]}`? " if near else "") + f"known: {', '.join(DEVICES)}",
        key="device",
    )
