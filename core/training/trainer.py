"""The training loop, plain: rows in the sampler's order, one exchange per step, state that a JSON can hold.

Written out on torch and not on `transformers.Trainer`, because what is promised here would override most of it:
the output layer only where there are targets, the loss normalised over the global batch without communication,
an order that is the same at any world size, and a resume that equals an undisturbed run to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from core.artifacts.seeds import derive_seed
from core.errors import RecipeError, ResourceError
from core.tokens.sampler import Sampler
from core.tokens.shards import TokenRows
from core.training.batches import Batch, collate, without_targets
from core.training.checkpoints import (
    CHECKPOINTS,
    CheckpointPieces,
    CheckpointWriter,
    forget_unfinished,
    newest_valid,
    read_state,
    require_same_model,
    step_directory,
)
from core.training.data_parallel import DataParallel
from core.training.engine import Engine, Update, World
from core.training.health import HEARTBEATS, Heartbeat, LossWatch, heaviest, largest_fitting, too_large
from core.training.log import TrainingLog
from core.training.objectives import Objective, make_objective
from core.training.options import Phase
from core.training.order import make_sampler, micro_batches
from core.training.reference import ReferenceLogps, compute_reference
from core.training.schedule import learning_rate
from core.training.throughput import FlopCount, Meter, Work
from core.training.zero_settings import size_of

SHOWN_DOCUMENTS = 5


@dataclass
class Progress:
    """Where training stands; all of it is in a checkpoint."""

    step: int = 0  # optimiser steps done
    epoch: float = 0.0  # passes over the rows done
    updates: int = 0  # steps that changed the weights
    skipped_steps: int = 0  # steps left out because something was not finite
    spikes: int = 0  # steps whose loss stood out
    seconds: float = 0.0  # of training, validation and checkpoints included; what a resume does again counts once
    sums: list[float] = field(default_factory=list)  # of the figures since the last log line ...
    weight: int = 0  # ... and of how many target tokens or pairs they are
    first: dict[str, float] | None = None  # figures of the first log line
    last: dict[str, float] | None = None  # ... and of the last
    best_validation_loss: float | None = None
    best_step: int | None = None
    usual: LossWatch = field(default_factory=LossWatch)
    work: Work = field(default_factory=Work)

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Progress:
        """As a checkpoint has it."""
        return cls(**{**saved, "usual": LossWatch(**saved["usual"]), "work": Work(**saved["work"])})


@dataclass(frozen=True)
class Run:
    """One phase's training, on one worker.

    directory: where log, checkpoints and, for preference pairs, `reference/` are kept; on_report: called on every
    worker with what is worth telling at a validation or checkpoint; patience: seconds to wait for another worker.
    """

    model: Any
    rows: TokenRows
    validation: TokenRows | None
    options: Phase
    world: World
    seed: int
    padding: int
    directory: Path
    fingerprint: str
    on_report: Callable[[dict[str, Any]], None] = lambda values: None
    reference: Path | None = None
    patience: float = 1800

    def train(self) -> Trained:
        """Trains to the end, from the newest checkpoint that holds.

        Raises RecipeError where a loss or gradient is not finite and the recipe says to stop, naming step and
        documents; ResourceError where a micro-batch does not fit the device, naming what would.
        """
        return _Training(self).run()


@dataclass(frozen=True)
class Trained:
    """What training leaves: the engine holds the weights that the phase exports."""

    progress: Progress
    engine: Engine
    summary: dict[str, Any]


class _Training:
    """A run under way."""

    def __init__(self, run: Run) -> None:
        self.run_ = run
        self.options, self.world, self.rows = run.options, run.world, run.rows
        self.sampler: Sampler = make_sampler(len(run.rows), run.options, run.seed)
        _prepare(run.model, run.options)
        self.objective: Objective = make_objective(run.model, run.options)
        self.engine: Engine = make_engine(self.objective, run.options, run.world)
        self.width = int(run.rows.lengths.max()) if run.options.compile else None
        self.progress = Progress()
        self.refused: list[str] = []
        self.references: dict[int, ReferenceLogps] = {}
        self.saved_at = time.monotonic()

    def run(self) -> Trained:
        run = self.run_
        storage = run.directory / CHECKPOINTS
        self._compute_references()
        self._resume(storage)
        progress = self.progress
        log = TrainingLog(run.directory, progress.step) if self.world.rank == 0 else None
        writer = CheckpointWriter(storage, self.world, self.options.checkpoints.keep, run.patience)
        heart = Heartbeat(run.directory / HEARTBEATS, self.world.rank)
        meter = Meter(self.world.device, self.world.size, progress.work)
        flops = FlopCount.of_model(run.model)
        self.objective.train()
        if progress.step < self.sampler.steps:
            self._rehearse()
        began = time.monotonic() - progress.seconds
        meter.begin()
        while progress.step < self.sampler.steps:
            heart.at(progress.step + 1)
            writer.check()
            batch = self.sampler.batch(progress.step)
            rate = learning_rate(progress.step, self.sampler.steps, self.options)
            update, wishes = self._step(batch, rate, progress.step, meter)
            self._account(update, batch, log)
            meter.add(*self._size(batch), flops.of_rows(self.rows, batch))
            progress.seconds = time.monotonic() - began
            if progress.step % self.options.log_every_steps == 0 or progress.step == self.sampler.steps:
                self._log(log, rate, update.gradient_norm, meter)
            due = self._checkpoint_due(progress.step)
            with meter.paused():
                told = {}
                if self._validation_due(progress.step, due):
                    told = self._validate(log)
                    due = due or (self._keeps_best() and progress.best_step == progress.step)
                if due or wishes:
                    progress.seconds = time.monotonic() - began
                    self._save(writer)
                if due or told:
                    run.on_report({"step": progress.step, "epoch": progress.epoch, **(progress.last or {}), **told})
        writer.close()
        heart.close()
        if log:
            log.close()
        self._take_best(storage)
        return Trained(progress, self.engine, self._summary(meter))

    def _step(self, batch: np.ndarray, rate: float, step: int, meter: Meter) -> tuple[Update, bool]:
        """One optimiser step on a global batch; what came of it, and whether rank 0 wishes a checkpoint."""
        torch.manual_seed(derive_seed(self.run_.seed, "dropout", step, self.world.rank))
        weight = self.objective.weight(self.rows, batch)
        figures = torch.zeros(len(self.objective.figures) + 1, device=self.world.device)
        for mine in micro_batches(batch, self.options.micro_batch_size, self.world.rank, self.world.size):
            with meter.waiting():
                inputs = self._inputs(self.rows, mine or [int(batch[0])], empty=not mine)
            found = self._forward_backward(inputs, 1 / weight)
            figures[:-1] += found
        figures[-1] = self._wishes_checkpoint()
        update = self.engine.step(figures, rate)
        return update, update.figures[-1] > 0

    def _forward_backward(self, inputs: Batch, scale: float) -> torch.Tensor:
        try:
            figures = self.engine.forward(inputs)
            self.engine.backward(figures[0] * scale)
        except torch.OutOfMemoryError as error:
            rows, tokens = inputs.input_ids.shape
            raise ResourceError(too_large(self.options, rows, tokens, None, _memory(self.world.device))) from error
        return figures.detach()

    def _inputs(self, rows: TokenRows, numbers: Sequence[int], *, empty: bool = False) -> Batch:
        reference = self.references.get(id(rows))
        logps = [reference.of(number) for number in numbers] if reference else None
        found = [rows[number] for number in numbers]
        batch = collate(found, self.run_.padding, self.world.device, width=self.width, reference_logps=logps)
        return without_targets(batch) if empty else batch

    def _account(self, update: Update, batch: np.ndarray, log: TrainingLog | None) -> None:
        """Takes a step's outcome into the progress; stops or notes what is not finite or stands out."""
        progress = self.progress
        weight = self.objective.weight(self.rows, batch)
        loss = update.figures[0] / weight
        if not update.applied and self.options.on_nonfinite == "stop":
            raise RecipeError(
                f"step {progress.step + 1}: the loss is {loss} and the gradient norm {update.gradient_norm} "
                f"(documents {_some(self._documents(batch))}). The last checkpoint is kept. Try a lower "
                "learning_rate, a longer warm-up or a smaller max_gradient_norm, or on_nonfinite: skip."
            )
        progress.step += 1
        progress.epoch = round(self.sampler.epoch(progress.step), 6)
        usual = progress.usual.mean
        if not update.applied:
            progress.skipped_steps += 1
            self._note(log, "skipped", loss, update.gradient_norm, usual, batch)
            return
        progress.updates += 1
        if progress.usual.is_spike(loss):
            progress.spikes += 1
            self._note(log, "spike", loss, update.gradient_norm, usual, batch)
        sums = progress.sums or [0.0] * (len(update.figures) - 1)
        progress.sums = [one + more for one, more in zip(sums, update.figures[:-1], strict=True)]
        progress.weight += weight

    def _note(
        self, log: TrainingLog | None, kind: str, loss: float, norm: float, usual: float, batch: np.ndarray
    ) -> None:
        if log:
            log.event(
                {
                    "step": self.progress.step,
                    "kind": kind,
                    "loss": loss if math.isfinite(loss) else None,
                    "gradient_norm": norm if math.isfinite(norm) else None,
                    "usual": usual if self.progress.usual.steps > 1 else None,
                    "documents": self._documents(batch),
                }
            )

    def _log(self, log: TrainingLog | None, rate: float, gradient_norm: float, meter: Meter) -> None:
        """One line on the steps since the last; none where all of them were skipped."""
        progress = self.progress
        reading = meter.reading(self.sampler.steps - progress.step)
        if not progress.weight:
            return
        progress.last = self._means(progress.sums, progress.weight)
        progress.first = progress.last if progress.first is None else progress.first
        progress.sums, progress.weight = [], 0
        if log:
            log.write(
                {
                    "step": progress.step,
                    "epoch": progress.epoch,
                    **progress.last,
                    "learning_rate": rate,
                    "gradient_norm": gradient_norm,
                    "tokens": progress.work.tokens,
                    "target_tokens": progress.work.target_tokens,
                    "seconds": round(progress.seconds, 3),
                    **reading,
                }
            )

    def _means(self, sums: Sequence[float], weight: int) -> dict[str, float]:
        means = {name: value / weight for name, value in zip(self.objective.figures, sums, strict=True)}
        if "reward_chosen" in means:
            means["reward_margin"] = means["reward_chosen"] - means["reward_rejected"]
        return means

    def _validate(self, log: TrainingLog | None) -> dict[str, float]:
        """The figures over the validation rows, shared out over the workers."""
        rows = self.run_.validation
        assert rows is not None
        total = torch.zeros(len(self.objective.figures), dtype=torch.float64, device=self.world.device)
        self.objective.eval()
        numbers = range(len(rows))
        with torch.no_grad():
            for mine in micro_batches(numbers, self.options.micro_batch_size, self.world.rank, self.world.size):
                total += self.engine.forward(self._inputs(rows, mine or [0], empty=not mine))
        self.objective.train()
        if self.world.size > 1:
            dist.all_reduce(total)
        means = self._means(total.tolist(), self.objective.weight(rows, np.arange(len(rows))))
        told = {f"validation_{name}": value for name, value in means.items()}
        progress, loss = self.progress, means["loss"]
        if math.isfinite(loss) and (progress.best_validation_loss is None or loss < progress.best_validation_loss):
            progress.best_validation_loss, progress.best_step = loss, progress.step
        if log:
            log.write({"step": progress.step, **told})
        return told

    def _compute_references(self) -> None:
        """For preference pairs: what the model gives each sample before it is trained."""
        run = self.run_
        if self.options.preference is None:
            return
        directory = run.reference or run.directory / "reference"
        self.objective.eval()
        for split, rows in (("train", run.rows), ("validation", run.validation)):
            if rows is not None:
                compute_reference(
                    self.engine.forward,
                    rows,
                    directory / split,
                    micro_batch_size=self.options.micro_batch_size,
                    padding=run.padding,
                    world=self.world,
                )
                self.references[id(rows)] = ReferenceLogps(directory / split, rows)

    def _resume(self, storage: Path) -> None:
        """Puts back the newest checkpoint that holds, where there is one."""
        if self.world.rank == 0:
            forget_unfinished(storage)
        if self.world.size > 1:
            dist.barrier()
        found, self.refused = newest_valid(storage, self.run_.fingerprint, self.world)
        if found is not None:
            self.progress = Progress.restored(self._load(found)["progress"])

    def _load(self, directory: Path) -> dict[str, Any]:
        state = read_state(directory, self.run_.fingerprint)
        pieces = CheckpointPieces(directory, state["world_size"])
        sizes = {name: size_of(parameter) for name, parameter in self.engine.parameters.items()}
        require_same_model(directory, pieces, sizes)
        self.engine.load(pieces, state["progress"]["updates"])
        return state

    def _save(self, writer: CheckpointWriter) -> None:
        best = self.progress.best_step if self._keeps_best() else None
        state = {"fingerprint": self.run_.fingerprint, "progress": asdict(self.progress)}
        writer.save(self.progress.step, self.engine.pieces(), state, best)
        self.saved_at = time.monotonic()

    def _keeps_best(self) -> bool:
        return self.options.checkpoints.keep_best or self.options.checkpoints.export == "best"

    def _take_best(self, storage: Path) -> None:
        """Where the phase leaves its best weights, puts those into the engine."""
        best = self.progress.best_step
        if self.options.checkpoints.export == "best" and best not in (None, self.progress.step):
            assert best is not None
            self._load(step_directory(storage, best))

    def _wishes_checkpoint(self) -> bool:
        """Whether it is time; rank 0's clock is the one that counts."""
        minutes = self.options.checkpoints.every_minutes
        return self.world.rank == 0 and minutes is not None and time.monotonic() - self.saved_at > 60 * minutes

    def _checkpoint_due(self, step: int) -> bool:
        checkpoints = self.options.checkpoints
        if step == self.sampler.steps:
            return True
        if checkpoints.every_steps is not None:
            return step % checkpoints.every_steps == 0
        epochs = checkpoints.every_epochs or (1 if checkpoints.every_minutes is None else math.inf)
        return math.floor(self.sampler.epoch(step) / epochs) > math.floor(self.sampler.epoch(step - 1) / epochs)

    def _validation_due(self, step: int, checkpoint_due: bool) -> bool:
        if not self.run_.validation:
            return False
        every = self.options.validate_every_steps
        return checkpoint_due or (every is not None and step % every == 0)

    def _rehearse(self) -> None:
        """Runs the phase's largest micro-batch and forgets it: what does not fit is known in the first seconds."""
        options, world = self.options, self.world
        step = self.sampler.heaviest_step(self.rows.lengths, options.micro_batch_size, world.size)
        batch = self.sampler.batch(step)
        mine = micro_batches(batch, options.micro_batch_size, world.rank, world.size)
        numbers = heaviest(mine, self.rows.lengths) or [int(batch[0])]
        torch.manual_seed(0)
        try:
            self._forward_backward(self._inputs(self.rows, numbers), 0.0)
        except ResourceError as error:
            alone = world.size == 1  # otherwise the other workers would have to try the same
            fitting = largest_fitting(lambda rows: self._fits(numbers[:rows]), len(numbers)) if alone else None
            tokens = int(self.rows.lengths[list(numbers)].max())
            said = too_large(options, len(numbers), tokens, fitting, _memory(world.device))
            raise ResourceError(said) from error
        self.engine.discard()

    def _fits(self, numbers: Sequence[int]) -> bool:
        self.engine.discard()
        if self.world.device != "cpu":
            torch.cuda.empty_cache()
        try:
            self._forward_backward(self._inputs(self.rows, numbers), 0.0)
        except ResourceError:
            return False
        return True

    def _size(self, batch: np.ndarray) -> tuple[int, int]:
        return int(self.rows.lengths[batch].sum()), int(self.rows.target_tokens[batch].sum())

    def _documents(self, batch: np.ndarray) -> list[str]:
        return [name for row in batch for name in self.rows.documents(int(row))]

    def _summary(self, meter: Meter) -> dict[str, Any]:
        """What is worth knowing of a finished phase."""
        progress, options = self.progress, self.options
        first, last = progress.first or {}, progress.last or {}
        preference = {"first": _without_loss(first), "last": _without_loss(last)}
        return {
            "method": options.method,
            "optimizer": options.optimizer,
            "zero_stage": options.zero_stage,
            "workers": self.world.size,
            "steps": progress.step,
            "epochs": progress.epoch,
            "tokens": progress.work.tokens,
            "target_tokens": progress.work.target_tokens,
            "seconds": round(progress.seconds, 3),
            **meter.summary(),
            "first_loss": first.get("loss"),
            "last_loss": last.get("loss"),
            "best_validation_loss": progress.best_validation_loss,
            "best_step": progress.best_step,
            "skipped_steps": progress.skipped_steps,
            "spikes": progress.spikes,
            **({"preference": preference} if options.preference else {}),
            "refused_checkpoints": self.refused,
        }


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_DOCUMENTS
    return ", ".join(names[:SHOWN_DOCUMENTS]) + (f" and {more} more" if more > 0 else "")


def _without_loss(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name != "loss"}


def make_engine(objective: Objective, options: Phase, world: World) -> Engine:
    """Plain data-parallel, or DeepSpeed's ZeRO."""
    if not options.zero_stage:
        return DataParallel(objective, options, world)
    from core.training.zero import ZeRO

    return ZeRO(objective, options, world)


def _prepare(model: Any, options: Phase) -> None:
    """What a phase asks of the model's modules."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if options.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if options.kernels == "liger":
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=base, fused_linear_cross_entropy=False, cross_entropy=False)
    if options.compile:
        base.get_decoder().compile()


def _memory(device: str) -> str:
    if not device.startswith("cuda"):
        return "of the host"
    free, whole = torch.cuda.mem_get_info()
    return f"{whole / 2**30:.0f} GiB, {free / 2**30:.1f} free"
