"""A search space as plain data: what is varied, and the points of it that a grid, chance or TPE take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from core.artifacts.seeds import derive_seed, generator
from core.errors import RecipeError

if TYPE_CHECKING:
    import optuna

Values = dict[str, Any]  # a point: a value for each key path
TRIES = 1_000  # draws in vain before a constraint counts as one that cannot be met
STARTUP = 8  # points that TPE draws by chance before it models anything


@dataclass(frozen=True)
class Parameter:
    """A key path and where its values come from: choices, or a range, its ends included."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    step: float | None = None

    def grid(self, points: int) -> list[Any]:
        """Every choice, or so many points from end to end."""
        if self.choices:
            return list(self.choices)
        if self.log:
            found = np.geomspace(self.low, self.high, points).tolist()
        else:
            found = np.linspace(self.low, self.high, points).tolist()
        return list(dict.fromkeys(map(self._rounded, found)))

    def draw(self, chance: np.random.Generator) -> Any:
        """A value by chance."""
        if self.choices:
            return self.choices[int(chance.integers(len(self.choices)))]
        if self.log:
            return self._rounded(math.exp(chance.uniform(math.log(self.low), math.log(self.high))))
        return self._rounded(chance.uniform(self.low, self.high))

    def extremes(self) -> list[Any]:
        """What to try to know whether all are allowed."""
        return list(self.choices) or [self._rounded(self.low), self._rounded(self.high)]

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """As Optuna has it; choices by their number, since they may be lists or mappings."""
        import optuna

        if self.choices:
            return optuna.distributions.CategoricalDistribution(range(len(self.choices)))
        if self.integer:
            return optuna.distributions.IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return optuna.distributions.FloatDistribution(self.low, self.high, self.log, None if self.log else self.step)

    def encoded(self, value: Any) -> Any:
        """A value as Optuna has it."""
        return self.choices.index(value) if self.choices else value

    def decoded(self, value: Any) -> Any:
        """The value that Optuna means."""
        return self.choices[value] if self.choices else self._rounded(value)

    def _rounded(self, value: float) -> Any:
        if self.step is not None and not self.log:
            value = self.low + round((value - self.low) / self.step) * self.step
        if self.integer:
            return round(value)
        return min(max(float(f"{value:.6g}"), self.low), self.high)


@dataclass(frozen=True)
class Space:
    """name: the family's, or a file's; allowed: whether a point keeps the constraint of the space."""

    name: str
    parameters: tuple[Parameter, ...]
    allowed: Callable[[Values], bool] = lambda values: True

    @property
    def keys(self) -> list[str]:
        """The key paths, in the space's order."""
        return [parameter.key for parameter in self.parameters]

    def grid(self, points: int) -> list[Values]:
        """Every combination that is allowed. points: of each range."""
        combinations = itertools.product(*(parameter.grid(points) for parameter in self.parameters))
        return [point for values in combinations if self.allowed(point := dict(zip(self.keys, values, strict=True)))]

    def random(self, count: int, seed: int) -> list[Values]:
        """Points by chance, no two alike; as many as there are, where those are fewer."""
        found: dict[bytes, Values] = {}
        chance = generator(seed, "sweep", "random")
        for point in itertools.islice(self._drawn(chance), TRIES * count):
            found.setdefault(orjson.dumps(point), point)
            if len(found) == count:
                break
        return list(found.values())

    def probes(self) -> Iterator[Values]:
        """Points that together have every extreme of every parameter."""
        first = self.some_point()
        for parameter in self.parameters:
            for value in parameter.extremes():
                yield {**first, parameter.key: value}

    def some_point(self) -> Values:
        """An allowed point. Raises RecipeError where none is found."""
        return next(self._drawn(generator(0, "sweep", "point")))

    def suggest(
        self,
        told: Sequence[tuple[Values, Sequence[float] | None]],
        number: int,
        seed: int,
        directions: Sequence[Literal["minimize", "maximize"]],
    ) -> Values:
        """The point to try next by TPE, given what is known: each point with its objectives, None while it runs.

        number: of the trial, on which with the seed the draw depends, and on nothing before it: a sweep that was
        killed goes on with the same points. directions: one for each objective.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(directions=list(directions))
        distributions = {parameter.key: parameter.distribution() for parameter in self.parameters}
        state = optuna.trial.TrialState
        for values, objectives in told:
            study.add_trial(
                optuna.trial.create_trial(
                    state=state.RUNNING if objectives is None else state.COMPLETE,
                    values=objectives,
                    params={parameter.key: parameter.encoded(values[parameter.key]) for parameter in self.parameters},
                    distributions=distributions,
                )
            )
        for attempt in range(TRIES):
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP,
                multivariate=True,
                constant_liar=True,
                seed=derive_seed(seed, "sweep", "tpe", number, attempt) % 2**32,
            )
            trial = study.ask(distributions)
            values = {parameter.key: parameter.decoded(trial.params[parameter.key]) for parameter in self.parameters}
            if self.allowed(values):
                return values
            study.tell(trial, state=state.FAIL)
        raise self._no_point()

    def _drawn(self, chance: np.random.Generator) -> Iterator[Values]:
        in_vain = 0
        while in_vain < TRIES:
            point = {parameter.key: parameter.draw(chance) for parameter in self.parameters}
            if self.allowed(point):
                in_vain = 0
                yield point
            in_vain += 1
        raise self._no_point()

    def _no_point(self) -> RecipeError:
        return RecipeError(f"sweep.space: {self.name}: none of {TRIES} points keeps its constraint")
