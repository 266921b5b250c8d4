"""Ranks, and how their gradients come together. The only file that knows torch.distributed.

Two ways, chosen from outside the model: *replicated* (every rank holds the model; all gradients lie in one flat
buffer and are summed by one all-reduce: the fastest for models that fit a rank many times over) and *sharded*
(FSDP2, block by block, bf16 compute and fp32 reduction on a GPU). Sums, not means, travel: the loss of a step is
divided by the tokens of all ranks, so that ragged batches weigh right and the layout does not change the numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from forescale.base.errors import LayoutError
from forescale.base.records.spec import RunSpec
from forescale.train.device import default_device


@dataclass(frozen=True)
class Ranks:
    """Who this process is among the data-parallel ranks."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the rank that speaks and writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()


def launched_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


@contextlib.contextmanager
def join() -> Iterator[Ranks]:
    """Join the process group that torchrun prepared; alone without it. Leaves it in an orderly way."""
    if not launched_by_torchrun():
        yield Ranks(device=default_device())
        return
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    device = torch.device("cpu")
    if on_gpu:
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def check_layout(spec: RunSpec, ranks: Ranks) -> None:
    """Refuse what this trainer cannot lay out, before any work."""
    if spec.tensor > 1 or spec.pipeline > 1:
        raise LayoutError(
            f"tensor={spec.tensor} pipeline={spec.pipeline} cannot be trained",
            why="this version trains data-parallel, replicated or sharded (FSDP2); other axes are not built yet",
            remedy="set parallel.tensor = 1 and parallel.pipeline = 1, and use parallel.data for all ranks",
            key="parallel.tensor" if spec.tensor > 1 else "parallel.pipeline",
        )
    if ranks.size != spec.processes:
        raise LayoutError(
            f"run {spec.name} asks for {spec.processes} processes, and {ranks.size} are running",
            remedy="start it with `forescale pretrain --processes N`, or under torchrun with as many ranks",
            key="parallel.data",
        )
    sequences = spec.batch_tokens // spec.shape.seq_len
    if sequences % ranks.size:
        raise LayoutError(
            f"a batch of {sequences} sequences cannot be dealt evenly to {ranks.size} ranks",
            why="every rank takes the same number of sequences a step",
            remedy="make batch_tokens / seq_len a multiple of parallel.data",
            key="parallel.data",
        )


class Replicated:
    """Gradients in one flat buffer, every rank with the whole model."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self.model, self.ranks = model, ranks
        parameters = [p for p in model.parameters() if p.requires_grad]
        count = sum(p.numel() for p in parameters)
        # One buffer for gradients and three riders: loss, bytes and the wish to stop, summed in the same message.
        self._flat = torch.zeros(count + 3, device=parameters[0].device)
        self.gradient, self.riders = self._flat[:count], self._flat[count:]
        at = 0
        for p in parameters:
            p.grad = self.gradient[at : at + p.numel()].view_as(p)
            at += p.numel()

    def begin(self) -> None:
        """Zero all gradients; they stay views of the buffer."""
        self._flat.zero_()

    def combine(self, nats: Tensor, n_bytes: int, stop: bool) -> Tensor:
        """Sum gradients over ranks; gives the sums of nats, bytes and ranks that wish to stop, [3]."""
        self.riders[0] = nats
        self.riders[1] = n_bytes
        self.riders[2] = float(stop)
        self.ranks.sum(self._flat)
        return self.riders.clone()

    def clip(self, limit: float) -> Tensor:
        """Scale the gradient to a norm of at most `limit`; gives the norm before."""
        norm = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def whole(self, tensor: Tensor) -> Tensor:
        """The full tensor of a parameter or moment: here it is whole already."""
        return tensor

    def load(self, target: Tensor, value: Tensor) -> None:
        """Copy a full tensor into a parameter or moment."""
        target.copy_(value)


class Sharded:
    """FSDP2: weights, gradients and moments dealt over the ranks, block by block."""

    def __init__(self, model: nn.Module, ranks: Ranks, *, bf16: bool) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        self.model, self.ranks = model, ranks
        mesh = init_device_mesh(ranks.device.type, (ranks.size,), mesh_dim_names=("data",))
        policy = (
            MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
            if bf16
            else MixedPrecisionPolicy()
        )
        for child in model.children():
            if isinstance(child, nn.ModuleList):
                for block in child:
                    fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        register_forward(model)

    def begin(self) -> None:
        """Drop all gradients."""
        self.model.zero_grad(set_to_none=True)

    def combine(self, nats: Tensor, n_bytes: int, stop: bool) -> Tensor:
        """FSDP2 has averaged the gradients already: make sums of them. Gives the same three sums, [3]."""
        for p in self.model.parameters():
            if p.grad is not None:
                p.grad.mul_(self.ranks.size)
        riders = torch.cat([nats.detach().float().view(1), torch.tensor([n_bytes, stop], device=nats.device).float()])
        return self.ranks.sum(riders)

    def clip(self, limit: float) -> Tensor:
        """Scale the gradient to a norm of at most `limit`; gives the norm before."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def whole(self, tensor: Tensor) -> Tensor:
        """The full tensor of a parameter or moment, gathered from all ranks (all must call)."""
        return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor

    def load(self, target: Tensor, value: Tensor) -> None:
        """Copy this rank's part of a full tensor into a parameter or moment."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(target, DTensor):
            target.copy_(value)
            return
        target.copy_(distribute_tensor(value.to(self.ranks.device), target.device_mesh, target.placements))


Layout = Replicated | Sharded


def register_forward(model: nn.Module) -> None:
    """FSDP2 gathers parameters around `forward` only: the head, called as a method, must count as one too."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    if hasattr(model, "logits"):
        register_fsdp_forward_method(model, "logits")


def lay_out(model: nn.Module, spec: RunSpec, ranks: Ranks, *, bf16: bool) -> Layout:
    """Put `spec`'s parallelism on a model: replicated, or sharded where asked (auto: several ranks on GPUs)."""
    shard = spec.sharding == "shard" or (spec.sharding == "auto" and ranks.size > 1 and ranks.device.type == "cuda")
    if shard and ranks.size > 1:
        return Sharded(model, ranks, bf16=bf16)
    return Replicated(model, ranks)
