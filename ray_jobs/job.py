"""One command's work on one recipe: the resolved recipe, its run directory, a Ray, and a voice."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.artifacts.atomic import write_bytes
from core.artifacts.stage import locked
from core.errors import DataError, RecipeError
from core.recipe.resolve import Resolved
from core.recipe.schema import NAME, Recipe
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession


@dataclass
class Job:
    """What every stage is given."""

    resolved: Resolved
    run_dir: Path
    session: RaySession
    reporter: Reporter

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.resolved.recipe


@contextlib.contextmanager
def open_job(
    resolved: Resolved, runs_dir: Path, run_name: str | None, address: str | None, *, keep_recipe: bool
) -> Iterator[Job]:
    """Locks the run, writes its recipe, and ends the local Ray afterwards. Paths are absolute from here on.

    keep_recipe: leave `recipe.yaml` as the command that made the results wrote it.
    """
    name = resolved.run_name if run_name is None else run_name
    if not re.fullmatch(NAME, name):
        raise RecipeError(f"--run-name: found '{name}', expected letters, digits, - and _ only")
    run_dir = (runs_dir / name).absolute()
    if keep_recipe and not run_dir.is_dir():
        raise DataError(f"{run_dir}: nothing to report yet; begin with `raycipe run {resolved.tree.path.stem}`")
    reporter = Reporter()
    job = Job(resolved, run_dir, RaySession(address, reporter.say), reporter)
    with locked(run_dir):
        if not (keep_recipe and (run_dir / "recipe.yaml").exists()):
            write_bytes(run_dir / "recipe.yaml", resolved.as_yaml().encode())
        try:
            yield job
        finally:
            job.session.close()
