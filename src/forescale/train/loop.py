"""The loop: one trunk at constant rate, a decayed and scored branch at each of its token budgets (paper 3.1).

At the step at which branch i leaves the constant rate, the state is copied; the branch decays, is scored and gives a
RunRecord, which is on the disk before anything else happens; the copy is restored and the trunk goes on. So a run of
4x the tokens contains the runs of 1x and 2x for the price of their decays, and a killed trunk repeats none of them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from forescale.base.errors import DivergedError
from forescale.base.records.loss import LossSum
from forescale.base.records.run import RunRecord
from forescale.base.records.spec import RunSpec
from forescale.base.runtime import machine
from forescale.model.objective import next_token_nats
from forescale.model.transformer import Transformer, initialise
from forescale.model.weights import save_state
from forescale.train.checkpoint import Checkpointer, CheckpointMeta, read_latest
from forescale.train.device import compiler_exists, default_device, peak_flops, uses_bf16
from forescale.train.feed import Feed
from forescale.train.log import RunLog
from forescale.train.optimizer import adamw
from forescale.train.parallel import Ranks, Replicated, check_layout, lay_out
from forescale.train.records import check_tokenizer, fingerprint, read_records, write_records, write_spec
from forescale.train.schedule import branch_steps, factor, total_steps
from forescale.train.signals import Interrupted, StopWish
from forescale.train.state import Snapshot, TrainState
from forescale.train.steps import diverged, train_step

_logger = logging.getLogger(__name__)

OnStep = Callable[[int, int, float, float], None]
"""Called on rank 0 at each log line: step of all the trunk's work, steps in all, loss in nats, tokens a second."""


def run_trunk(spec: RunSpec, *, on_step: OnStep | None = None, ranks: Ranks | None = None) -> list[RunRecord]:
    """Train `spec` to its end, or go on where it was stopped; gives one record for each branch.

    A finished run gives its records at once. A diverged one gives records that say so. SIGINT and SIGTERM end the
    current step, write a checkpoint and raise `Interrupted`; the same call then goes on to the same numbers.
    """
    ranks = ranks or Ranks(device=default_device())
    steps = branch_steps(spec)
    check_layout(spec, ranks)
    check_tokenizer(spec)
    records = read_records(spec)
    if len(records) == len(steps):
        return records
    with StopWish() as wish:
        return _Run(spec, steps, records, ranks, wish, on_step).run()


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        spec: RunSpec,
        steps: list[tuple[int, int]],
        records: list[RunRecord],
        ranks: Ranks,
        wish: StopWish,
        on_step: OnStep | None,
    ) -> None:
        self.spec, self.steps, self.records, self.ranks = spec, steps, records, ranks
        self.wish, self.on_step = wish, on_step
        self.out = Path(spec.out_dir)
        self.feed = Feed(spec, ranks)
        self.summary = self.feed.summary
        self.fingerprint = fingerprint(spec, self.summary)
        if ranks.leads:
            write_spec(spec, self.fingerprint)
        self.bf16 = uses_bf16(spec, ranks.device)
        self.model = Transformer(spec.shape, spec.init_std)
        initialise(self.model, spec.seed)
        self.model.to(ranks.device)
        self.layout = lay_out(self.model, spec, ranks, bf16=self.bf16)
        self.autocast = self.bf16 and isinstance(self.layout, Replicated)
        if spec.compile and compiler_exists():
            self.model.compile()
        optimizer = adamw(
            self.model,
            learning_rate=spec.learning_rate,
            beta1=spec.beta1,
            beta2=spec.beta2,
            weight_decay=spec.weight_decay,
        )
        self.state = TrainState(self.model, optimizer, self.layout)
        self.trunk: Snapshot | None = None
        self.pinned_at: int | None = None
        self.saver = Checkpointer(self.out / "checkpoints", spec.checkpoint_keep)
        self.log = RunLog(self.out / "log.jsonl")
        self.peak = peak_flops(ranks.device, self.bf16) if ranks.leads else None
        self._mark()

    # --- the story ---------------------------------------------------------------------------------------------

    def run(self) -> list[RunRecord]:
        """All branches that are not finished yet."""
        decaying = self._resume()
        last = len(self.steps) - 1
        try:
            for branch in range(len(self.records), len(self.steps)):
                leave, end = self.steps[branch]
                if not decaying:
                    self._train(branch, leave)
                    if branch < last:
                        self.trunk = self.state.copy()
                    elif self.spec.save_weights and leave < end and self.pinned_at != leave:
                        self._save(branch, pinned=True)
                decaying = False
                self._train(branch, end)
                self._finish(branch)
                if self.trunk is not None:
                    self.saver.staged()
                    self.state.restore(self.trunk)
                    self.trunk = None
                self._mark()
        except DivergedError as error:
            self._diverge(error)
        if self.ranks.leads:
            self.saver.clear()
        self.ranks.barrier()
        return self.records

    def _train(self, branch: int, until: int) -> None:
        """Steps up to `until`, which lies on the trunk or on the way down of `branch`."""
        spec, state, end = self.spec, self.state, self.steps[branch][1]
        while state.step < until:
            rate = spec.learning_rate * factor(spec.schedule, spec.warmup_steps, state.step, end)
            batches, n_bytes = self.feed.batches(state.step)
            result = train_step(
                self.model,
                state.optimizer,
                batches,
                next_token_nats,
                layout=self.layout,
                rate=rate,
                clip=spec.clip,
                counted=spec.batch_tokens,
                n_bytes=n_bytes,
                bf16=self.autocast,
                stop=self.wish.wanted,
                before_update=self.saver.staged,
            )
            state.took(result)
            if state.step % spec.log_steps == 0 or state.step == end:
                self._log(branch, rate, result.grad_norm)
            if self._due():
                self._save(branch)
            elif self.ranks.leads:
                self.saver.check()
            if result.stop:
                self._stop(branch)

    def _finish(self, branch: int) -> None:
        """Score a branch and put its record on the disk."""
        self._tick()
        sets = self.feed.score(self.model, bf16=self.autocast)
        loss = sum(sets.values(), LossSum())
        if not math.isfinite(loss.nats):
            raise DivergedError(f"the validation loss of {self.spec.name} is {loss.nats}")
        folder = None
        if self.spec.save_weights and branch == len(self.steps) - 1:
            folder = self._write_weights()
        update = {"validation": loss, "validation_sets": sets if len(sets) > 1 else {}, "weights": folder}
        record = self._record(branch).model_copy(update=update)
        self.records.append(record)
        if self.ranks.leads:
            write_records(self.spec, self.records)

    # --- pieces ------------------------------------------------------------------------------------------------

    def _record(self, branch: int) -> RunRecord:
        spec, state, summary = self.spec, self.state, self.summary
        tokens, seconds = state.step * spec.batch_tokens, state.numbers["seconds"]
        return RunRecord(
            run=spec.name if len(self.steps) == 1 else f"{spec.name}-{spec.branches[branch]}",
            trunk=spec.name,
            group=spec.group,
            budget=spec.budgets[branch] if branch < len(spec.budgets) else None,
            shape=spec.shape,
            tokens=tokens,
            steps=state.step,
            batch_tokens=spec.batch_tokens,
            learning_rate=spec.learning_rate,
            warmup_steps=spec.warmup_steps,
            weight_decay=spec.weight_decay,
            seed=spec.seed,
            schedule=spec.schedule.kind,
            train_loss=state.recent_nats() / spec.batch_tokens if state.step else None,
            validation=None,
            bigram_bpb=summary.bigram_bpb,
            unique_tokens=self.feed.stream.unique_tokens(tokens, spec.shape.seq_len),
            tokenizer=summary.tokenizer,
            validation_id=summary.validation_id,
            seconds=seconds,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            precision="bf16" if self.bf16 else "fp32",
            hardware=machine() if self.ranks.device.type == "cpu" else torch.cuda.get_device_name(self.ranks.device),
            seal=spec.seal,
            plan=spec.plan,
        )

    def _diverge(self, error: DivergedError) -> None:
        """Records for the branches that will never end well; the steps really taken are theirs too."""
        self._tick()
        for branch in range(len(self.records), len(self.steps)):
            update = {"status": "diverged", "reason": error.what, "train_loss": None}
            self.records.append(self._record(branch).model_copy(update=update))
        if self.ranks.leads:
            write_records(self.spec, self.records)

    def _write_weights(self) -> str:
        """The model as a Hugging Face folder."""
        folder = self.out / "weights"
        state = {name: self.layout.whole(p.detach()).cpu() for name, p in self.model.named_parameters()}
        if self.ranks.leads:
            save_state(state, self.spec.shape, folder, self.spec.tokenizer_dir, init_std=self.model.init_std)
        return str(folder)

    # --- log, clock, checkpoints -------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Start the clocks anew."""
        self._ticked = time.perf_counter()
        self._logged = (self._ticked, self.state.step)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.state.numbers["seconds"] += now - self._ticked
        self._ticked = now

    def _log(self, branch: int, rate: float, grad_norm: torch.Tensor) -> None:
        spec, state = self.spec, self.state
        nats, n_bytes, n_steps = state.close_window()
        loss = nats / max(1, n_steps * spec.batch_tokens)
        norm = float(grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise diverged(norm, loss, rate)
        if not self.ranks.leads:
            return
        self._tick()
        started, at = self._logged
        self._logged = (self._ticked, state.step)
        speed = (state.step - at) * spec.batch_tokens / max(self._ticked - started, 1e-9)
        leave, end = self.steps[branch]
        side = state.step > leave and branch < len(self.steps) - 1
        self.log.write(
            {
                "step": state.step,
                "tokens": state.step * spec.batch_tokens,
                "loss": loss,
                "bpb": nats / (math.log(2) * n_bytes) if n_bytes else math.nan,
                "lr": rate,
                "grad_norm": norm,
                "tokens_per_second": speed,
                "flops_utilisation": (
                    speed * spec.shape.flops_per_token / (self.peak * self.ranks.size) if self.peak else math.nan
                ),
                "seconds": state.numbers["seconds"],
                "branch": end * spec.batch_tokens if side else None,
            }
        )
        if self.on_step is not None:
            decays = sum(e - s for s, e in self.steps[:branch])
            self.on_step(decays + state.step, total_steps(self.steps), loss, speed)

    def _due(self) -> bool:
        """Whether a checkpoint is due; by steps every rank knows, by minutes rank 0 decides."""
        spec = self.spec
        if spec.checkpoint_steps and self.state.step % spec.checkpoint_steps == 0:
            return True
        due = time.monotonic() - self.saver.written_at >= 60 * spec.checkpoint_minutes
        if self.ranks.size == 1 or isinstance(self.layout, Replicated):
            return due and self.ranks.leads
        if self.state.step % spec.log_steps:  # sharded: all ranks gather together, so they must agree
            return False
        flag = torch.tensor(float(due and self.ranks.leads), device=self.ranks.device)
        return bool(self.ranks.sum(flag))

    def _save(self, branch: int, *, pinned: bool = False) -> None:
        """Hand the state (and the trunk's, while a side branch decays) to the writer."""
        self._tick()
        replicated = isinstance(self.layout, Replicated)
        if replicated and not self.ranks.leads:
            return
        tensors = {f"live.{name}": tensor for name, tensor in self.state.whole().items()}
        if self.trunk is not None:
            tensors |= {f"trunk.{name}": self.layout.whole(t) for name, t in self.trunk.tensors.items()}
        if not self.ranks.leads:
            return
        if not all(bool(t.isfinite().all()) for name, t in tensors.items() if name.startswith("live.weight")):
            raise DivergedError(f"the weights of {self.spec.name} are not finite at step {self.state.step}")
        meta = CheckpointMeta(
            fingerprint=self.fingerprint,
            branch=branch,
            step=self.state.step,
            trunk_step=self.trunk.step if self.trunk else None,
            pinned=pinned,
            numbers=self.state.numbers,
            trunk_numbers=self.trunk.numbers if self.trunk else {},
        )
        self.saver.save(tensors, meta)

    def _stop(self, branch: int) -> None:
        """Save, wait until it is on the disk, and leave."""
        self._save(branch)
        if self.ranks.leads:
            self.saver.wait()
        self.ranks.barrier()
        raise Interrupted(self.wish.signal)

    def _resume(self) -> bool:
        """Take over the newest usable checkpoint; whether it lies on the way down of the next branch to finish."""
        done, last = len(self.records), len(self.steps) - 1

        def usable(meta: CheckpointMeta) -> bool:
            on_trunk = meta.branch < len(self.steps) and meta.step <= self.steps[meta.branch][0]
            return meta.trunk_step is not None or on_trunk or meta.branch == done == last

        found = read_latest(self.out / "checkpoints", self.fingerprint, usable)
        for line in found.passed_over if self.ranks.leads else []:
            _logger.warning("%s: %s", self.spec.name, line)
        meta = found.meta
        if meta is not None:
            self.pinned_at = meta.step if meta.pinned else None
            part = {
                prefix: {k[len(prefix) :]: t for k, t in found.tensors.items() if k.startswith(prefix)}
                for prefix in ("live.", "trunk.")
            }
            if meta.trunk_step is not None and meta.branch < done:
                self.state.load(meta.trunk_step, part["trunk."], meta.trunk_numbers)
            elif meta.trunk_step is not None:
                self.state.load(meta.trunk_step, part["trunk."], meta.trunk_numbers)
                self.trunk = self.state.copy()
                self.state.load(meta.step, part["live."], meta.numbers)
            else:
                self.state.load(meta.step, part["live."], meta.numbers)
        self._mark()
        decaying = self.state.step > self.steps[done][0]
        if self.ranks.leads:
            self.log.keep(
                finished={record.tokens for record in self.records},
                trunk_step=self.trunk.step if self.trunk else self.state.step,
                side=(self.spec.branches[done], self.state.step) if decaying else None,
            )
        return decaying
