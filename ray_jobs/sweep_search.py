"""What Ray Tune asks: which trial comes next, and where on its way a trial may be ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher

from core.tuning.options import Sweep
from core.tuning.rungs import Rungs
from core.tuning.space import Parameter, Space, Values
from core.tuning.trials import Trial, read_trials
from ray_jobs.sweep_check import learning_rates

SCORE, COST, BUDGET = "score", "device_hours", "budget"  # in what a trial reports
NUMBER = "trial"  # in a trial's configuration, beside its values


def trial_name(trial: Any) -> str:
    """What Tune calls a trial: by its number as it began, which its configuration may lose to another's (pbt)."""
    return f"trial-{trial.config[NUMBER]:04d}"


def number_of(name: str) -> int:
    """The number of a trial that is called so."""
    return int(name.removeprefix("trial-"))


class TPE(Searcher):  # type: ignore[misc]
    """Points by Optuna's TPE, after those of trials that were begun before.

    All that it knows is what trials have left on disk, so that a sweep goes on where it was killed.
    """

    def __init__(
        self,
        sweep_dir: Path,
        space: Space,
        count: int,
        seed: int,
        begin: Callable[[int, Values], None],
        modes: Sequence[str],
    ) -> None:
        """count: of trials; begin: called before one that is new; modes: "max" or "min", of each objective."""
        several = len(modes) > 1
        super().__init__(metric=[SCORE, COST] if several else SCORE, mode=list(modes) if several else modes[0])
        self._sweep_dir, self._space, self._count, self._seed, self._begin = sweep_dir, space, count, seed, begin
        self._directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if mode == "max" else "minimize" for mode in modes
        ]
        self._known = {trial.number: trial.values for trial in read_trials(sweep_dir)}
        self._next = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's number and values."""
        number = self._next
        if number >= self._count:
            return str(Searcher.FINISHED)
        self._next += 1
        if number not in self._known:
            told = [(trial.values, self._objectives(trial)) for trial in read_trials(self._sweep_dir)]
            self._known[number] = self._space.suggest(told, number, self._seed, self._directions)
            self._begin(number, self._known[number])
        return {NUMBER: number, **self._known[number]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: what came of it is on disk."""

    def _objectives(self, trial: Trial) -> list[float] | None:
        """How good a trial was; None while it runs, and where it failed: neither is a place to go back to."""
        if trial.last is None or trial.last.score is None or trial.status in ("running", "failed"):
            return None
        return [trial.last.score, trial.last.device_hours][: len(self._directions)]

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what it knows is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as above."""
        return {}


def param_space(points: Sequence[Values]) -> dict[str, Any]:
    """Points as Tune takes them: a grid of their numbers, and by the number the values."""

    def value_of(key: str) -> Callable[[Any], Any]:
        return lambda spec: points[spec.config[NUMBER]][key]

    numbers = {NUMBER: tune.grid_search(list(range(len(points))))}
    return numbers | {key: tune.sample_from(value_of(key)) for key in points[0]}


def make_scheduler(sweep: Sweep, space: Space, mode: str) -> TrialScheduler | None:
    """Tune's scheduler for a sweep."""
    rungs = Rungs.of(sweep)
    judged = {"time_attr": BUDGET, "metric": SCORE, "mode": mode}
    if sweep.scheduler == "asha":
        return AsyncHyperBandScheduler(
            **judged, max_t=rungs.budgets[-1], grace_period=1, reduction_factor=sweep.reduction_factor
        )
    if sweep.scheduler == "median":
        return MedianStoppingRule(**judged, grace_period=1, min_samples_required=2)
    if sweep.scheduler == "pbt":
        rates = {parameter.key: _domain(parameter) for parameter in learning_rates(space)}
        return PopulationBasedTraining(**judged, perturbation_interval=1, hyperparam_mutations=rates)
    return None


def _domain(parameter: Parameter) -> Any:
    if parameter.choices:
        return list(parameter.choices)
    return (tune.loguniform if parameter.log else tune.uniform)(parameter.low, parameter.high)
