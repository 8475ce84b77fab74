"""What Ray Tune asks: which trial comes next, and where on its way a trial may be ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ray import tune
from ray.tune.schedulers import MedianStoppingRule, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher

from core.tuning.halving import Halving
from core.tuning.options import Sweep
from core.tuning.space import Parameter, Space, Values
from core.tuning.trials import Trial, read_trials
from ray_jobs.sweep_check import learning_rates

SCORE, COST, BUDGET, WHOLE = "score", "device_hours", "budget", "whole"  # in what a trial reports
NUMBER = "trial"  # in a trial's configuration, beside its values ...
UNTIL = "until"  # ... and the budget at which it halts, where a trial of Tune's is a stretch of ours (asha)


def trial_name(trial: Any) -> str:
    """What Tune calls a trial: by its number as it began, which its configuration may lose to another's (pbt)."""
    until = trial.config.get(UNTIL)
    return f"trial-{trial.config[NUMBER]:04d}" + (f"-until-{until}" if until else "")


def number_of(name: str) -> int:
    """The number of a trial that is called so."""
    return int(name.split("-")[1])


class _OnDisk(Searcher):  # type: ignore[misc]
    """A searcher that Tune need not keep: all that it knows is what trials have left on disk."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what it knows is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as above."""
        return {}


class TPE(_OnDisk):
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
        halts: bool,
    ) -> None:
        """count: of trials; begin: called before one that is new; modes: "max" or "min", of each objective.

        halts: whether trials are left at rungs, where their scores count.
        """
        several = len(modes) > 1
        super().__init__(metric=[SCORE, COST] if several else SCORE, mode=list(modes) if several else modes[0])
        self._sweep_dir, self._space, self._count, self._seed, self._begin = sweep_dir, space, count, seed, begin
        self._directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if mode == "max" else "minimize" for mode in modes
        ]
        self._known = {trial.number: trial.values for trial in read_trials(sweep_dir)}
        self._unjudged = ("failed",) if halts else ("running", "failed")
        self._next = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's number and values."""
        number = self._next
        if number >= self._count:
            return str(Searcher.FINISHED)
        self._next += 1
        return {NUMBER: number, **self.values_of(number)}

    def values_of(self, number: int) -> Values:
        """What a trial tries, drawn if it is new."""
        if number not in self._known:
            told = [(trial.values, self._objectives(trial)) for trial in read_trials(self._sweep_dir)]
            self._known[number] = self._space.suggest(told, number, self._seed, self._directions)
            self._begin(number, self._known[number])
        return self._known[number]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: what came of it is on disk."""

    def _objectives(self, trial: Trial) -> list[float] | None:
        """How good a trial was; None while it runs, and where it failed: neither is a place to go back to."""
        if trial.last is None or trial.last.score is None or trial.status in self._unjudged:
            return None
        return [trial.last.score, trial.last.device_hours][: len(self._directions)]


class Asha(_OnDisk):
    """Stretches of trials from rung to rung, each a trial of Tune's: one that goes on, else one that is new.

    Tune holds nothing for a halted trial. All that is known of trials is on disk, as above.
    """

    def __init__(
        self, sweep_dir: Path, halving: Halving, values_of: Callable[[int], Values], mode: str, order: Sequence[int]
    ) -> None:
        """order: that trials begin in. Were each better than those before it, as in a grid, all would go on."""
        super().__init__(metric=SCORE, mode=mode)
        self._sweep_dir, self._halving, self._values_of = sweep_dir, halving, values_of
        begun = {trial.number for trial in read_trials(sweep_dir) if trial.reports or trial.status != "running"}
        self._left = deque(number for number in order if number not in begun)
        self._busy: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A trial's number, the budget that it goes on to, and its values; None while that depends on others."""
        busy = set(self._busy.values())
        going = self._halving.next(read_trials(self._sweep_dir), busy, not self._left)
        if going is None and self._left:
            going = self._left.popleft(), self._halving.budgets[0]
        if going is None:
            return None if busy else str(Searcher.FINISHED)
        number, until = going
        self._busy[trial_id] = number
        return {NUMBER: number, UNTIL: until, **self._values_of(number)}

    @property
    def rungs(self) -> int:
        """How many there are."""
        return len(self._halving.budgets)

    def hopeless(self) -> list[Trial]:
        """Halted trials that need not be kept."""
        return self._halving.hopeless(read_trials(self._sweep_dir), set(self._busy.values()))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The stretch is over; how is on disk."""
        self._busy.pop(trial_id, None)


def param_space(points: Sequence[Values]) -> dict[str, Any]:
    """Points as Tune takes them: a grid of their numbers, and by the number the values."""

    def value_of(key: str) -> Callable[[Any], Any]:
        return lambda spec: points[spec.config[NUMBER]][key]

    numbers = {NUMBER: tune.grid_search(list(range(len(points))))}
    return numbers | {key: tune.sample_from(value_of(key)) for key in points[0]}


def make_scheduler(sweep: Sweep, space: Space, mode: str) -> TrialScheduler | None:
    """Tune's scheduler for a sweep; None for one that needs none, or has Asha in its place."""
    judged = {"time_attr": BUDGET, "metric": SCORE, "mode": mode}
    if sweep.scheduler == "median":
        return MedianStoppingRule(**judged, grace_period=1, min_samples_required=2)
    if sweep.scheduler == "pbt":
        rates = {parameter.key: _domain(parameter) for parameter in learning_rates(space)}
        return _Population(**judged, perturbation_interval=1, hyperparam_mutations=rates)
    return None


class _Population(PopulationBasedTraining):  # type: ignore[misc]
    """Tune's own would have a trial take over another's weights at its end too, after its last chance to train on."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Leaves a trial at its end as it is."""
        if result[WHOLE]:
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, trial, result))


def _domain(parameter: Parameter) -> Any:
    if parameter.choices:
        return list(parameter.choices)
    return (tune.loguniform if parameter.log else tune.uniform)(parameter.low, parameter.high)
