"""The training loop, plain: rows in the sampler's order, one exchange per step, state that a JSON can hold.

Written out on torch and not on `transformers.Trainer`, because what is promised here would override most of it:
the output layer only where there are targets, the loss normalised over the global batch without communication,
an order that is the same at any world size, and a resume that equals an undisturbed run to the last bit.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.artifacts.seeds import derive_seed
from core.errors import RecipeError
from core.tokens.sampler import Sampler
from core.tokens.shards import TokenRows
from core.training.batches import collate
from core.training.checkpoints import load_checkpoint, read_state, save_checkpoint
from core.training.log import TrainingLog
from core.training.losses import causal_lm_loss
from core.training.optimizer import Optimizer, World
from core.training.options import Phase
from core.training.schedule import learning_rate


@dataclass
class Progress:
    """Where training stands; all of it is in a checkpoint."""

    step: int = 0  # optimiser steps done
    epoch: float = 0.0  # passes over the rows done
    tokens: int = 0  # tokens run forward, over all workers
    target_tokens: int = 0  # of those, tokens that were learned
    seconds: float = 0.0  # of training, validation and checkpoints included; what a resume does again counts once
    loss_sum: float = 0.0  # of the steps since the last log line ...
    loss_tokens: int = 0  # ... and their target tokens
    first_loss: float | None = None
    last_loss: float | None = None
    best_validation_loss: float | None = None
    best_step: int | None = None

    def advance(self, loss: float, tokens: int, target_tokens: int) -> None:
        """One more optimiser step is done, on a global batch of this mean loss and size."""
        self.step += 1
        self.tokens += tokens
        self.target_tokens += target_tokens
        self.loss_sum += loss * target_tokens
        self.loss_tokens += target_tokens

    def totals(self) -> dict[str, Any]:
        """What is worth knowing of a finished phase."""
        return {
            "steps": self.step,
            "epochs": self.epoch,
            "tokens": self.tokens,
            "target_tokens": self.target_tokens,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": round(self.tokens / self.seconds, 1),
            "first_loss": self.first_loss,
            "last_loss": self.last_loss,
            "best_validation_loss": self.best_validation_loss,
            "best_step": self.best_step,
        }


class _Speed:
    """Tokens per second of training alone."""

    def __init__(self, tokens: int) -> None:
        self._tokens, self._began = tokens, time.monotonic()

    def since_last(self, tokens: int) -> float:
        """Since this was last asked. tokens: all so far."""
        now = time.monotonic()
        speed = (tokens - self._tokens) / (now - self._began)
        self._tokens, self._began = tokens, now
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in the block takes no time."""
        paused_at = time.monotonic()
        yield
        self._began += time.monotonic() - paused_at


@dataclass(frozen=True)
class Run:
    """One phase's training, on one worker.

    on_checkpoint: called on every worker when a checkpoint is due; rank 0's directory holds it, others get None.
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
    on_checkpoint: Callable[[Progress, Path | None], None]

    def train(self, resume: Path | None = None) -> tuple[Progress, Optimizer]:
        """Trains to the end, from a checkpoint where one is given.

        Raises RecipeError when the loss or the gradient is no longer finite, naming step and documents.
        """
        options = self.options
        optimizer = Optimizer(self.model, options, self.world)
        sampler = make_sampler(len(self.rows), options, self.seed)
        progress = Progress()
        if resume is not None:
            load_checkpoint(resume, optimizer)
            progress = Progress(**read_state(resume, self.fingerprint)["progress"])
        log = TrainingLog(self.directory, progress.step) if self.world.rank == 0 else None
        if options.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.enable_input_require_grads()
        began = time.monotonic() - progress.seconds
        speed = _Speed(progress.tokens)
        self.model.train()
        while progress.step < sampler.steps:
            batch = sampler.batch(progress.step)
            rate = learning_rate(progress.step, sampler.steps, options)
            loss, norm = self._step(optimizer, batch, rate, progress.step)
            progress.advance(loss, int(self.rows.lengths[batch].sum()), int(self.rows.target_tokens[batch].sum()))
            progress.epoch = round(sampler.epoch(progress.step), 6)
            progress.seconds = time.monotonic() - began
            if progress.step % options.log_every_steps == 0 or progress.step == sampler.steps:
                self._log(log, progress, rate, norm, speed)
            due = self._checkpoint_due(sampler, progress.step)
            with speed.paused():
                if self._validation_due(progress.step, due):
                    self._validate(optimizer, progress, log)
                if due:
                    progress.seconds = time.monotonic() - began
                    self._save(optimizer, progress)
        if log:
            log.close()
        return progress, optimizer

    def _log(
        self, log: TrainingLog | None, progress: Progress, rate: float, gradient_norm: float, speed: _Speed
    ) -> None:
        """One line on the steps since the last."""
        progress.last_loss = progress.loss_sum / progress.loss_tokens
        progress.first_loss = progress.last_loss if progress.first_loss is None else progress.first_loss
        progress.loss_sum, progress.loss_tokens = 0.0, 0
        tokens_per_second = speed.since_last(progress.tokens)
        if log:
            log.write(
                {
                    "step": progress.step,
                    "epoch": progress.epoch,
                    "loss": progress.last_loss,
                    "learning_rate": rate,
                    "gradient_norm": gradient_norm,
                    "tokens": progress.tokens,
                    "target_tokens": progress.target_tokens,
                    "tokens_per_second": round(tokens_per_second, 1),
                    "seconds": round(progress.seconds, 3),
                }
            )

    def _step(self, optimizer: Optimizer, batch: np.ndarray, rate: float, step: int) -> tuple[float, float]:
        """One optimiser step on the rows of a global batch; returns its mean loss and gradient norm."""
        import torch

        torch.manual_seed(derive_seed(self.seed, "dropout", step, self.world.rank))
        optimizer.zero()
        mine = batch[self.world.rank :: self.world.size]
        for start in range(0, len(mine), self.options.micro_batch_size):
            rows = [self.rows[int(index)] for index in mine[start : start + self.options.micro_batch_size]]
            with self._precision():
                loss = causal_lm_loss(self.model, collate(rows, self.padding, self.world.device))
            torch.autograd.backward(loss)
            optimizer.add_loss(loss)
        mean_loss = optimizer.exchange(int(self.rows.target_tokens[batch].sum()))
        norm = optimizer.gradient_norm()
        if not (math.isfinite(mean_loss) and math.isfinite(norm)):
            names = [name for index in batch for name in self.rows.documents(int(index))]
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise RecipeError(
                f"step {step + 1}: the loss is {mean_loss} and the gradient norm {norm} (documents {shown}). The last "
                "checkpoint is kept. Try a lower learning_rate, a longer warm-up or a smaller max_gradient_norm."
            )
        optimizer.step(rate, norm)
        return mean_loss, norm

    def _validate(self, optimizer: Optimizer, progress: Progress, log: TrainingLog | None) -> None:
        """Mean loss per target token over the validation rows, shared out over the workers."""
        import torch
        import torch.distributed as dist

        assert self.validation is not None
        total = torch.zeros(1, dtype=torch.float64)
        self.model.eval()
        with torch.no_grad(), self._precision():
            for start in range(self.world.rank, len(self.validation), self.world.size * self.options.micro_batch_size):
                numbers = range(start, len(self.validation), self.world.size)[: self.options.micro_batch_size]
                rows = [self.validation[index] for index in numbers]
                total += causal_lm_loss(self.model, collate(rows, self.padding, self.world.device)).cpu()
        self.model.train()
        total = total.to(self.world.device)
        if self.world.size > 1:
            dist.all_reduce(total)
        loss = float(total) / int(self.validation.target_tokens.sum())
        if progress.best_validation_loss is None or loss < progress.best_validation_loss:
            progress.best_validation_loss, progress.best_step = loss, progress.step
        if log:
            log.write({"step": progress.step, "validation_loss": loss})

    def _save(self, optimizer: Optimizer, progress: Progress) -> None:
        directory = self.directory / ".checkpoint" if self.world.rank == 0 else None
        if directory is not None:
            state = {"step": progress.step, "fingerprint": self.fingerprint, "world_size": self.world.size}
            save_checkpoint(directory, optimizer, {**state, "progress": asdict(progress)})
        self.on_checkpoint(progress, directory)

    def _checkpoint_due(self, sampler: Sampler, step: int) -> bool:
        every = self.options.checkpoints.every_steps
        if step == sampler.steps:
            return True
        if every is not None:
            return step % every == 0
        return math.floor(sampler.epoch(step)) > math.floor(sampler.epoch(step - 1))

    def _validation_due(self, step: int, checkpoint_due: bool) -> bool:
        if not self.validation:
            return False
        every = self.options.validate_every_steps
        return checkpoint_due or (every is not None and step % every == 0)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        if self.options.precision == "bf16":
            return torch.autocast(torch.device(self.world.device).type, torch.bfloat16)
        return contextlib.nullcontext()


def make_sampler(rows: int, options: Phase, seed: int) -> Sampler:
    """The order in which a phase sees its rows."""
    return Sampler(
        rows,
        options.global_batch_size,
        derive_seed(seed, "rows"),
        epochs=options.epochs,
        max_steps=options.max_steps,
    )
