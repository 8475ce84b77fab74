"""The training loop, plain: rows in the sampler's order, one exchange per step, state that a JSON can hold.

Written out on torch and not on `transformers.Trainer`, because what is promised here would override most of it:
the output layer only where there are targets, the loss normalised over the global batch without communication,
an order that is the same at any world size, and a resume that equals an undisturbed run to the last bit.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist

from core.artifacts.seeds import derive_seed
from core.errors import RecipeError
from core.tokens.shards import TokenRows
from core.training.checkpoints import (
    CHECKPOINTS,
    CheckpointPieces,
    CheckpointWriter,
    complete,
    forget_unfinished,
    newest_valid,
    read_state,
    require_same_model,
    step_directory,
)
from core.training.data_parallel import DataParallel
from core.training.engine import Engine, Update, World
from core.training.health import HEARTBEATS, Heartbeat
from core.training.log import SampleLog, TrainingLog
from core.training.objectives import Objective, make_objective
from core.training.options import Phase
from core.training.order import make_sampler
from core.training.passes import Passes
from core.training.progress import Progress, checkpoint_due
from core.training.schedule import learning_rate
from core.training.throughput import FlopCount, Meter
from core.training.zero_settings import size_of

SHOWN_DOCUMENTS = 5


@dataclass(frozen=True)
class Run:
    """One phase's training, on one worker.

    directory: where log, checkpoints and, for preference pairs, `reference/` are kept; on_report: called on every
    worker with what is worth telling at a validation or checkpoint, which it may end training by: at halt_step the
    checkpoint is whole by then; patience: seconds to wait for another worker.
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
    halt_step: int | None = None
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
        self.sampler = make_sampler(len(run.rows), run.options, run.seed)
        _prepare(run.model, run.options)
        self.objective: Objective = make_objective(run.model, run.options)
        self.engine: Engine = make_engine(self.objective, run.options, run.world)
        every = [run.rows] if run.validation is None else [run.rows, run.validation]
        width = max(int(rows.lengths.max()) for rows in every) if run.options.compile else None
        self.passes = Passes(self.objective, self.engine, run.options, run.world, padding=run.padding, width=width)
        self.storage = run.directory / CHECKPOINTS
        self.progress = Progress()
        self.refused: list[str] = []
        self.saved_at = time.monotonic()

    def run(self) -> Trained:
        run, sampler = self.run_, self.sampler
        self._compute_references()
        self._resume()
        progress = self.progress
        log = TrainingLog(run.directory, progress.step) if self.world.rank == 0 else None
        samples = SampleLog(run.directory, progress.step, self.world) if self.options.log_sample_ids else None
        writer = CheckpointWriter(self.storage, self.world, self.options.checkpoints.keep, run.patience)
        heart = Heartbeat(run.directory / HEARTBEATS, self.world.rank)
        meter = Meter(self.world.device, self.world.size, progress.work)
        flops = FlopCount.of_model(run.model)
        self.objective.train()
        if progress.step < sampler.steps:
            self.passes.rehearse(self.rows, sampler)
        began = time.monotonic() - progress.seconds
        meter.begin()
        while progress.step < sampler.steps:
            heart.at(progress.step + 1)
            writer.check()
            batch = sampler.batch(progress.step)
            rate = learning_rate(progress.step, sampler.steps, self.options)
            seed = derive_seed(run.seed, "dropout", progress.step, self.world.rank)
            update, wishes = self.passes.step(self.rows, batch, seed, rate, self._wishes_checkpoint(), meter)
            if samples:
                rows = [row for micro_batch in self.passes.share(batch) for row in micro_batch]
                samples.write(progress.step + 1, rows, self._documents(rows))
            self._account(update, batch, log)
            meter.add(*self._size(batch), flops.of_rows(self.rows, batch))
            progress.seconds = time.monotonic() - began
            if progress.step % self.options.log_every_steps == 0 or progress.step == sampler.steps:
                self._log(log, rate, update.gradient_norm, meter)
            due = checkpoint_due(self.options.checkpoints, sampler, progress.step)
            with meter.paused():
                told = {}
                if self._validation_due(due):
                    told = self._validate(log)
                    due = due or (self._keeps_best() and progress.best_step == progress.step)
                if due or wishes:
                    progress.seconds = time.monotonic() - began
                    self._save(writer)
                if progress.step == run.halt_step:
                    writer.close()
                if due or told:
                    run.on_report({"step": progress.step, "epoch": progress.epoch, **(progress.last or {}), **told})
        writer.close()
        heart.close()
        if samples:
            samples.close()
        if log:
            log.close()
        self._take_best()
        return Trained(progress, self.engine, self._summary(meter))

    def _compute_references(self) -> None:
        """For preference pairs: what the model gives each sample before it is trained."""
        run = self.run_
        if self.options.preference is not None:
            directory = run.reference or run.directory / "reference"
            self.passes.refer(run.rows, directory / "train")
            if run.validation is not None:
                self.passes.refer(run.validation, directory / "validation")

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
        progress.add(update.figures, weight)

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
        means = progress.take_means()
        if means is None:
            return
        progress.last = self.objective.named(means)
        progress.first = progress.last if progress.first is None else progress.first
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

    def _validate(self, log: TrainingLog | None) -> dict[str, float]:
        """The figures over the validation rows, as they are told."""
        assert self.run_.validation is not None
        means = self.objective.named(self.passes.validate(self.run_.validation))
        told = {f"validation_{name}": value for name, value in means.items()}
        self.progress.validated(means["loss"])
        if log:
            log.write({"step": self.progress.step, **told})
        return told

    def _validation_due(self, checkpoint_due: bool) -> bool:
        if not self.run_.validation:
            return False
        every = self.options.validate_every_steps
        return checkpoint_due or (every is not None and self.progress.step % every == 0)

    def _resume(self) -> None:
        """Puts back the newest checkpoint that holds, where there is one."""
        found, self.refused = newest_valid(self.storage, self.run_.fingerprint, self.world)
        if self.world.rank == 0:
            forget_unfinished(self.storage)
            for refused in complete(self.storage):
                if found is None or refused > found:  # it would count among those that are kept
                    shutil.rmtree(refused)
        if self.world.size > 1:
            dist.barrier()
        if found is not None:
            self.progress = Progress.restored(self._load(found)["progress"])
            self.progress.restarts += 1

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

    def _wishes_checkpoint(self) -> bool:
        """Whether it is time; rank 0's clock is the one that counts."""
        minutes = self.options.checkpoints.every_minutes
        return self.world.rank == 0 and minutes is not None and time.monotonic() - self.saved_at > 60 * minutes

    def _keeps_best(self) -> bool:
        return self.options.checkpoints.keep_best or self.options.checkpoints.export == "best"

    def _take_best(self) -> None:
        """Where the phase leaves its best weights, puts those into the engine."""
        best = self.progress.best_step
        if self.options.checkpoints.export == "best" and best not in (None, self.progress.step):
            assert best is not None
            self._load(step_directory(self.storage, best))

    def _size(self, batch: np.ndarray) -> tuple[int, int]:
        return int(self.rows.lengths[batch].sum()), int(self.rows.target_tokens[batch].sum())

    def _documents(self, rows: Iterable[int]) -> list[str]:
        return [name for row in rows for name in self.rows.documents(int(row))]

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
            "restarts": progress.restarts,
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
