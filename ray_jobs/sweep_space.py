"""A search space from its module: Ray Tune's distributions by key path, and the constraint that points must keep."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import tune_spaces
from core.errors import RecipeError, first_line
from core.tuning.space import Parameter, Space


def load_space(name: str, recipe_dir: Path) -> Space:
    """The space of a family, or of a Python file beside the recipe or in the current directory.

    Its module has `space()`, and where not every point is allowed `allowed(values)`. Raises RecipeError where there is
    none, where it fails, and for a distribution that is none of choice, grid_search, uniform, loguniform, randint,
    lograndint and their quantised forms.
    """
    module = _module(name, recipe_dir)
    if not callable(getattr(module, "space", None)):
        raise RecipeError(f"sweep.space: {module.__name__} has no function space()")
    try:
        found = module.space()
    except Exception as error:  # of a module of the user's own
        raise RecipeError(f"sweep.space: {name}: space() fails: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(found, dict) or not found:
        kind = type(found).__name__
        raise RecipeError(f"sweep.space: {name}: space() gives {kind}, expected distributions by key path")
    parameters = tuple(_parameter(name, str(key), domain) for key, domain in found.items())
    return Space(name, parameters, _constraint(name, getattr(module, "allowed", None)))


def families() -> list[str]:
    """The spaces that come with Raycipe."""
    return sorted(module.name for module in pkgutil.iter_modules(tune_spaces.__path__))


def _module(name: str, recipe_dir: Path) -> ModuleType:
    if name in families():
        return importlib.import_module(f"tune_spaces.{name}")
    if not name.endswith(".py"):
        nearest = difflib.get_close_matches(name, families(), n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(families())}"
        raise RecipeError(f"sweep.space: no space called '{name}'; {hint} (a file of your own ends in .py)")
    path = next((path for path in (recipe_dir / name, Path(name)) if path.is_file()), None)
    if path is None:
        raise RecipeError(f"sweep.space: no file {name} (looked in {recipe_dir} and {Path.cwd()})")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise RecipeError(f"sweep.space: {path} cannot be loaded: {told}") from error
    return module


def _constraint(name: str, allowed: Callable[[dict[str, Any]], bool] | None) -> Callable[[dict[str, Any]], bool]:
    if allowed is None:
        return lambda values: True

    def checked(values: dict[str, Any]) -> bool:
        try:
            return bool(allowed(values))
        except Exception as error:
            told = f"{type(error).__name__}: {first_line(error)}"
            raise RecipeError(f"sweep.space: {name}: allowed({values}) fails: {told}") from error

    return checked


def _parameter(space: str, key: str, domain: Any) -> Parameter:
    from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform

    if isinstance(domain, dict) and set(domain) == {"grid_search"}:
        return Parameter(key, tuple(domain["grid_search"]))
    if isinstance(domain, Categorical):
        return Parameter(key, tuple(domain.categories))
    if not isinstance(domain, Domain):
        return Parameter(key, (domain,))  # a value that all trials have
    sampler = domain.get_sampler()
    step = float(sampler.q) if isinstance(sampler, Quantized) else None
    sampler = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler
    if isinstance(domain, Float | Integer) and isinstance(sampler, LogUniform | Uniform):
        integer = isinstance(domain, Integer)
        high = domain.upper - 1 if integer and step is None else domain.upper  # Tune's upper end is not drawn
        bounds = float(domain.lower), float(high)
        return Parameter(key, (), *bounds, isinstance(sampler, LogUniform), integer, step)
    found = domain.domain_str or type(domain).__name__
    raise RecipeError(
        f"sweep.space: {space}: {key}: found {found}; expected choice, grid_search, uniform, loguniform, randint, "
        "lograndint, or one of these quantised"
    )
