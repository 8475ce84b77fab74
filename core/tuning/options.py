"""What a recipe says about its sweep."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from core.documents.mixture import Mixture
from core.options import Options

SizeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Counts = dict[str, Annotated[int, Field(ge=0)]]


class Sweep(Options):
    """Many trainings of the recipe, each with other values from a search space, judged by a score."""

    space: str = Field(
        description="A family's search space (quickstart, birbal, goat, moxin, smaug), or a Python file of your own "
        "with a function space() that maps key paths of the recipe to Ray Tune distributions."
    )
    objective: str | dict[str, float] = Field(
        description="What is best: task, task.metric, validation_loss, or the weighted mean of several: "
        "{task or task.metric: weight}. A task or group of evaluate.tasks alone stands for its first metric."
    )
    against: Literal["device_hours"] | None = Field(
        None,
        description="A second objective, the less the better: training time × GPUs (or CPU workers), in hours. "
        "With searcher optuna.",
    )
    searcher: Literal["grid", "random", "optuna"] = Field(
        "grid",
        description="grid: every combination; random: drawn by seed; optuna: TPE (Bergstra et al. 2011), of several "
        "objectives with `against` (Ozaki et al. 2022).",
    )
    trials: int | None = Field(None, ge=1, description="How many; none: all of a grid.")
    grid_points: int = Field(3, ge=2, description="Values that a grid takes of a range, ends included.")
    scheduler: Literal["none", "asha", "median", "pbt"] = Field(
        "none",
        description="asha: at each rung only the best 1/reduction_factor go on (Li et al. 2020); median: a trial worse "
        "than the others' median at a rung ends (Golovin et al. 2017); pbt: the worst quarter takes over weights and a "
        "changed learning rate from the best (Jaderberg et al. 2017); none: all trials go to their end.",
    )
    rungs: int = Field(
        3,
        ge=2,
        description="How often a trial is scored, its end included. asha: at reduction_factor^-2, ^-1 and 1 of the "
        "training; the others: evenly. Without a scheduler only the end is.",
    )
    reduction_factor: int = Field(4, ge=2, description="Of asha.")
    rungs_by: Literal["objective", "validation_loss"] = Field(
        "objective",
        description="What asha compares trials by before their end. Early on a loss tells more than answers that are "
        "all near chance, and costs no scoring.",
    )
    concurrent: int | None = Field(None, ge=1, description="Trials at once at most; none: as many as fit the cluster.")
    max_failures: int = Field(2, ge=0, description="How often a trial that was lost goes on until it counts as failed.")
    settings: list[str] = Field(
        [], description="Changes to the recipe that every trial has, as on the command line: [evaluate.limit=100]."
    )
    sizes: dict[SizeName, Counts] = Field(
        {},
        description="Named sizes of the data set: how many documents of each source; sources left out keep what "
        "data.mixture says. A smaller size is a part of a larger one.",
    )
    size: SizeName | None = Field(
        None, description="The one that trials are trained on, for a space to vary; none: what data.mixture says."
    )
    loggers: list[Literal["mlflow", "wandb"]] = Field([], description="Beside TensorBoard's files.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.searcher != "grid" and self.trials is None:
            raise ValueError(f"searcher {self.searcher} needs trials: how many")
        if self.against is not None and (self.searcher != "optuna" or self.scheduler != "none"):
            raise ValueError("against is a second objective: it goes with searcher optuna and scheduler none")
        if self.rungs_by != "objective" and self.scheduler != "asha":
            raise ValueError("rungs_by goes with scheduler asha, which compares trials at the same rung alone")
        if self.size is not None and self.size not in self.sizes:
            raise ValueError(f"size '{self.size}' is none of sizes: {', '.join(self.sizes) or 'there are none'}")
        return self

    def mixture(self, declared: Mixture | None) -> Mixture | None:
        """The mixture of a recipe, in the size that is asked for."""
        return declared if self.size is None else {**(declared or {}), **self.sizes[self.size]}
