"""What becomes of a sweep's best trial: a recipe file, and the run that takes it on."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML

from core.artifacts.stage import MANIFEST, read_manifest, started_fingerprint
from core.recipe.loading import SHIPPED
from core.recipe.resolve import Resolved
from core.tuning.trials import trial_directory
from ray_jobs.sweep_recipe import recipe_print

SWEEP = "sweep"
UNTRAINED = ("evaluate.", "report.", "sweep.")  # key paths that change no training


@dataclass(frozen=True)
class Best:
    """The best trial of a finished sweep. overrides: what it changed in the recipe that matters for training."""

    trial: int
    overrides: list[str]

    def lay_out(self, run_dir: Path) -> None:
        """Lays what the trial has trained where a stage of the same fingerprint finds it finished."""
        trial = trial_directory(run_dir / SWEEP, self.trial) / "train"
        for phase in [path for path in trial.glob("*") if not path.is_symlink()]:
            manifest = read_manifest(phase)
            if manifest is None or started_fingerprint(run_dir / "train" / phase.name) == manifest["fingerprint"]:
                continue
            shelf = run_dir / "superseded" / "train" / f"{phase.name}-{manifest['fingerprint']}"
            if not shelf.exists():
                whole = shelf.with_name(f".{shelf.name}")
                shutil.rmtree(whole, ignore_errors=True)
                shutil.copytree(phase, whole, copy_function=_link_or_copy)
                whole.rename(shelf)


def best_of(run_dir: Path, resolved: Resolved) -> tuple[Best | None, str | None]:
    """The best trial of a finished sweep of this recipe, whatever its evaluation and the values that were varied.

    Beside it what to tell: that it is taken on, or that it is another recipe's.
    """
    if not (run_dir / SWEEP / MANIFEST).exists():
        return None, None
    result = orjson.loads((run_dir / SWEEP / "sweep.json").read_bytes())
    if result["best"] is None:
        return None, None
    trial = result["best"]["trial"]
    if result["recipe"] != recipe_print(resolved, result["keys"]):
        return (
            None,
            f"sweep: its best trial, {trial}, is left: the sweep was of other data or training than this recipe",
        )
    best = Best(trial, trained(result["best"]["overrides"]))
    return best, f"sweep: taking on its best trial, {trial}: {', '.join(best.overrides)}"


def trained(overrides: Iterable[str]) -> list[str]:
    """Those that change training."""
    return [override for override in overrides if not override.startswith(UNTRAINED)]


def best_recipe(resolved: Resolved, overrides: Iterable[str]) -> str:
    """A recipe file that extends the swept one by what a trial had, and by what the command had changed in it.

    overrides: as on the command line.
    """
    changes: dict[str, Any] = {}
    for loc, origin in resolved.tree.origins.items():
        if origin.kind == "command line":
            _set(changes, [str(part) for part in loc], _at(resolved.tree.values, loc))
    for override in trained(overrides):
        key, _, text = override.partition("=")
        _set(changes, key.split("."), YAML(typ="safe", pure=True).load(text))
    path = resolved.tree.path.resolve()
    base = path.stem if path.parent == SHIPPED.resolve() else str(path)
    document: dict[str, Any] = {"extends": base, "name": f"{resolved.recipe.name}-best"}
    document |= {"scales": {resolved.scale: changes}} if resolved.scale else changes
    sink = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(document, sink)
    return sink.getvalue()


def _at(values: Any, loc: tuple[str | int, ...]) -> Any:
    for part in loc:
        values = values[part]
    return values


def _set(changes: dict[str, Any], parts: list[str], value: Any) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in parts]
    node: dict[Any, Any] = changes
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
