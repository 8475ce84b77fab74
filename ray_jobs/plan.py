"""`raycipe plan`: what a recipe takes before anything is started: memory, time, disk and money, on given hardware."""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.artifacts.stage import read_manifest
from core.errors import RecipeError, ResourceError
from core.evaluation.scorer import devices_for
from core.planning.hardware import COMMON, HERE, Hardware, find_hardware
from core.planning.memory import memory_of
from core.planning.plan import PhasePlan, disk_needed, fitting_changes, plan_phase
from core.planning.shape import Shape, shape_of
from core.planning.work import Held, counted, declared
from core.recipe.resolve import Resolved, load_recipe
from core.recipe.schema import Recipe
from core.reporting.formats import count, duration, percent, short_count, size
from core.training.options import Phase
from core.tuning.options import Sweep
from core.tuning.rungs import Rungs
from core.tuning.space import Space, Values
from ray_jobs.scorers import bytes_asked
from ray_jobs.sweep_check import sweep_points
from ray_jobs.sweep_data import shared_phases
from ray_jobs.sweep_recipe import fixed_overrides, value_overrides
from ray_jobs.sweep_space import load_space
from ray_jobs.train import choose_workers
from ray_jobs.training_table import WORDY

SAMPLED = 12  # points of a space that stand for all


@dataclass(frozen=True)
class Asked:
    """The command: a recipe, and what no recipe says. document_tokens: of a document; price: of a device's hour."""

    name: str
    scale: str | None
    overrides: list[str]
    runs_dir: Path
    run_name: str | None
    document_tokens: float
    efficiency: float
    price: float | None

    def resolved(self, more: list[str] | None = None) -> Resolved:
        """The recipe, with further changes."""
        return load_recipe(self.name, self.scale, [*self.overrides, *(more or [])])


@dataclass
class Planner:
    """Plans recipes that differ in a few values; a model's shape is found once."""

    asked: Asked
    shapes: dict[bytes, Shape] = field(default_factory=dict)
    trials: list[Resolved] = field(default_factory=list)
    manifests: dict[Path, Any] = field(default_factory=dict)

    def phases(self, resolved: Resolved, hardware: Hardware) -> dict[str, PhasePlan]:
        """Each phase on the hardware. Raises ResourceError where that is fewer devices than the recipe asks for."""
        recipe = resolved.recipe
        wanted = recipe.resources.workers
        if hardware.gpu and recipe.resources.device == "cpu":
            raise RecipeError(f"--hardware {hardware.name}: resources.device is cpu; take resources.device=auto")
        node = hardware.node(1 if wanted == "auto" else wanted)
        known = self._counted(recipe, self.asked.runs_dir / (self.asked.run_name or resolved.run_name))
        plans = {}
        for name, phase in recipe.train.items():
            workers, _ = choose_workers(recipe, phase, name, [node])
            held = known.get(name) or self._declared(recipe, phase)
            shape = self.shape(recipe, phase)
            length = phase.data.sequence_length
            if shape.longest is not None and length > shape.longest:
                raise RecipeError(
                    f"train.{name}.data.sequence_length: found {length} tokens; expected at most the model's "
                    f"{shape.longest}"
                )
            plans[name] = plan_phase(
                phase,
                shape,
                held,
                workers,
                hardware,
                self.asked.efficiency,
                recipe.model.attention,
                recipe.resources.cpus_per_worker,
            )
        return plans

    def shape(self, recipe: Recipe, phase: Phase) -> Shape:
        """What a phase trains."""
        key = orjson.dumps([recipe.model.model_dump(), phase.method, phase.lora.model_dump()])
        if key not in self.shapes:
            self.shapes[key] = shape_of(recipe.model, phase)
        return self.shapes[key]

    def changes(self, recipe: Recipe, name: str, plan: PhasePlan, gpu: bool) -> list[list[str]]:
        """With which a phase that does not fit would, as on the command line."""

        def memory(phase: Phase) -> float:
            shape = self.shape(recipe, phase)
            return memory_of(shape, phase, plan.workers, gpu=gpu, attention=recipe.model.attention).total

        def written(changes: Mapping[str, Any]) -> list[str]:
            return [
                f"train.{name}.{key}={value if isinstance(value, str) else json.dumps(value)}"
                for key, value in changes.items()
            ]

        def allowed(changes: Mapping[str, Any]) -> bool:
            try:
                self.asked.resolved(written(changes))
            except RecipeError:
                return False
            return True

        return list(map(written, fitting_changes(plan, memory, allowed, gpu=gpu)))

    def sweep(self, resolved: Resolved, hardware: Hardware) -> dict[str, Any] | None:
        """Device-hours of a sweep: what trials share once, and of each point of the space the phases that differ.

        Points stand for all where there are many, or where TPE draws them. Of asha, as many come to each rung as its
        reduction factor lets; of other schedulers all are taken to come to their end. `problem` where the space does
        not fit the recipe or a trial the hardware: the recipe itself may be trained all the same.
        """
        recipe = resolved.recipe
        options = recipe.sweep
        if options is None:
            return None
        try:
            space = load_space(options.space, resolved.directory)
            points, count = _points(space, options, recipe.seed)
            if not self.trials:
                changes = ([*fixed_overrides(recipe, values), *value_overrides(values)] for values in points)
                self.trials.extend(map(self.asked.resolved, changes))
            planned = [self.phases(trial, hardware) for trial in self.trials]
        except (RecipeError, ResourceError) as error:
            return {"trials": None, "device_hours": None, "cost": None, "problem": str(error)}
        shared = shared_phases(recipe, space.keys)
        once = [planned[0][name].device_hours for name in shared]
        again: list[float | None] = []
        for plans in planned:
            differing = [plan for name, plan in plans.items() if name not in shared]
            for place, plan in enumerate(differing):
                reference = plan.reference_hours if place == 0 else 0.0  # of a model that all trials begin with
                again.append(None if plan.device_hours is None else plan.device_hours - reference)
            once += [plan.reference_hours for plan in differing[:1] if plans is planned[0]]
        total = _known_sum([*once, *again])
        if total is not None:
            share = _trainings(options, count) / len(planned)
            total = (_known_sum(once) or 0.0) + share * (_known_sum(again) or 0.0)
        misfit = next((name for plans in planned for name, plan in plans.items() if not plan.fits), None)
        problem = f"train.{misfit} of a trial, on {planned[0][misfit].workers}, does not fit" if misfit else None
        return {"trials": count, "device_hours": total, "cost": self.cost(total), "problem": problem}

    def cost(self, device_hours: float | None) -> float | None:
        """Money, where a price is known."""
        price = self.asked.price
        return None if price is None or device_hours is None else price * device_hours

    def _declared(self, recipe: Recipe, phase: Phase) -> Held:
        return declared(phase, recipe.data.sources, recipe.data.mixture, self.asked.document_tokens)

    def _counted(self, recipe: Recipe, run_dir: Path) -> dict[str, Held]:
        """What a run has counted of each phase whose documents, tokenizer and settings were those of the recipe."""
        if run_dir not in self.manifests:
            stages = [read_manifest(run_dir / stage) for stage in ("curate", "tokenize")]
            self.manifests[run_dir] = None
            if None not in stages:
                summary = orjson.loads((run_dir / "tokenize" / "summary.json").read_bytes())
                self.manifests[run_dir] = (*stages, summary["phases"])
        if self.manifests[run_dir] is None:
            return {}
        curated, tokenized, phases = self.manifests[run_dir]
        data, model = recipe.data.model_dump(mode="json"), recipe.model
        tokenizer = model.tokenizer and model.tokenizer.model_dump(mode="json")
        base = None if model.tokenizer else [model.base, model.revision]
        same = (
            {key: value for key, value in curated["recipe"].items() if key != "order"} == data
            and (tokenized["recipe"]["tokenizer"], tokenized["recipe"]["base"]) == (tokenizer, base)
            and curated["seed"] == tokenized["seed"] == recipe.seed
            and tokenized["inputs"]["curate"] == curated["fingerprint"]
        )
        return {
            name: counted(phases[name]["train"])
            for name, phase in recipe.train.items()
            if same and tokenized["recipe"]["phases"].get(name) == phase.data.model_dump(mode="json")
        }


def plan(asked: Asked, hardware: str | None, as_json: bool) -> None:
    """Prints the plan. Ends with exit code 3 where the recipe does not fit the hardware that is named."""
    for option in ("document_tokens", "efficiency", "price"):
        if not math.isfinite(getattr(asked, option) or 0.0):
            raise RecipeError(f"--{option.replace('_', '-')}: found {getattr(asked, option)}, expected a number")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # which kernels it lacks: nothing is computed
    resolved = asked.resolved()
    planner = Planner(asked)
    for phase in resolved.recipe.train.values():
        planner.shape(resolved.recipe, phase)  # what is wrong with the model is so on any hardware
    cpus = resolved.recipe.resources.device == "cpu"
    if hardware is not None:
        told = told_on(planner, resolved, find_hardware(hardware, cpus=cpus))
        _show(told, as_json, _phases_table(told), _totals(told))
        if not told["fits"]:
            print(*_misfits(told), sep="\n", file=sys.stderr)
            sys.exit(ResourceError.exit_code)
        return
    choices = []
    for name in (HERE,) if cpus else (HERE, *COMMON):
        try:
            choices.append(told_on(planner, resolved, find_hardware(name, cpus=cpus)))
        except ResourceError as error:  # it asks for devices that are not here at all
            missing = error
    if not choices:
        raise missing
    told = {"recipe": resolved.recipe.name, "choices": choices}
    _show(told, as_json, _choices_table(choices), [])


def told_on(planner: Planner, resolved: Resolved, hardware: Hardware) -> dict[str, Any]:
    """A plan as JSON has it: sizes in bytes, times in seconds and device-hours, null for what is not known.

    Sums are of the phases of which it is known; the others are `not_counted`.
    """
    recipe = resolved.recipe
    plans = planner.phases(resolved, hardware)
    hours = _known_sum([plan.device_hours for plan in plans.values()])
    unfit = {name: plan for name, plan in plans.items() if not plan.fits}
    return {
        "recipe": recipe.name,
        "hardware": {
            "name": hardware.name,
            "gpu": hardware.gpu,
            "memory_bytes": hardware.memory_bytes,
            "peak_flops": hardware.peak_flops,
        },
        "assumed": {key: getattr(planner.asked, key) for key in ("document_tokens", "efficiency", "price")},
        "phases": {name: plan.as_json() | {"cost": planner.cost(plan.device_hours)} for name, plan in plans.items()},
        "fits": not unfit,
        "would_fit": {name: planner.changes(recipe, name, plan, hardware.gpu) for name, plan in unfit.items()},
        "seconds": _known_sum([plan.seconds for plan in plans.values()]),
        "device_hours": hours,
        "cost": planner.cost(hours),
        "not_counted": [name for name, plan in plans.items() if plan.seconds is None],
        "disk_bytes": disk_needed(list(plans.values())),
        "sweep": planner.sweep(resolved, hardware),
        "scorer_devices": _scorer_devices(planner, recipe, hardware),
    }


def _scorer_devices(planner: Planner, recipe: Recipe, hardware: Hardware) -> int | None:
    """GPUs that the trained model is spread over to be scored; None where nothing is, or on CPUs."""
    if recipe.evaluate is None or not hardware.gpu:
        return None
    shape = planner.shape(recipe, list(recipe.train.values())[-1])
    return devices_for(bytes_asked(shape.parameters, recipe.evaluate.exact), hardware.memory_bytes)


def _points(space: Space, options: Sweep, seed: int) -> tuple[list[Values], int]:
    """Points that stand for all trials, and how many trials there are."""
    points = sweep_points(options, space, seed)
    if points is None:
        return space.random(min(options.trials or 1, SAMPLED), seed), options.trials or 1
    return points[:: -(-len(points) // SAMPLED)], len(points)


def _known_sum(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _trainings(options: Sweep, count: int) -> float:
    """How many whole trainings so many trials come to, where asha ends most of them at a rung."""
    if options.scheduler != "asha":
        return float(count)
    budgets = (0, *Rungs.of(options).budgets)
    trained, there = 0.0, count
    for begin, end in itertools.pairwise(budgets):
        trained += there * (end - begin) / budgets[-1]
        there = max(1, there // options.reduction_factor)
    return trained


def _show(told: dict[str, Any], as_json: bool, table: Table, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(told))
        return
    console = Console()
    console.print(table)
    for line in [*lines, *_notes(told)]:
        console.print(Text(line))


def _phases_table(told: dict[str, Any]) -> Table:
    """A column for each phase."""
    phases = told["phases"]
    table = Table(box=None, header_style="bold")
    table.add_column(Text(f"{told['recipe']} on {_short(told['hardware']['name'])}"))
    for name in phases:
        table.add_column(Text(name), justify="right")
    for heading, write in ROWS.items():
        cells = [write(phase) for phase in phases.values()]
        if any(cells):
            table.add_row(heading, *(Text(cell or "–") for cell in cells))
    return table


def _choices_table(choices: list[dict[str, Any]]) -> Table:
    table = Table("hardware", box=None, header_style="bold")
    priced = any(told["cost"] is not None for told in choices)
    for heading in ("devices", "memory", "needed", "fits", "time", "device-hours", *(["cost"] if priced else [])):
        table.add_column(heading, justify="right")
    for told in choices:
        largest = max(told["phases"].values(), key=lambda phase: phase["memory"]["total"] / phase["memory_available"])
        table.add_row(
            Text(_short(told["hardware"]["name"])),
            count(max(phase["workers"] for phase in told["phases"].values())),
            size(largest["memory_available"]),
            size(largest["memory"]["total"]),
            "yes" if told["fits"] else "no",
            *(Text(_known(told[key], write)) for key, write in (("seconds", _time), ("device_hours", _hours))),
            *([Text(_known(told["cost"], _money))] if priced else []),
        )
    return table


def _totals(told: dict[str, Any]) -> list[str]:
    but = f" without {', '.join(told['not_counted'])}" if told["not_counted"] else ""
    lines = [f"in all{but}: {_known(told['seconds'], _time)}, {_known(told['device_hours'], _hours)} device-hours"]
    lines[0] += f", costs {_money(told['cost'])}" if told["cost"] is not None else ""
    lines[0] += f"; {size(told['disk_bytes'])} of disk at most for checkpoints and models"
    if (told["scorer_devices"] or 1) > 1:
        lines.append(f"its model is scored on {told['scorer_devices']} GPUs of a node at once")
    swept = told["sweep"]
    if swept is not None and swept["trials"] is not None:
        line = f"its sweep{but}: {swept['trials']} trials, {_known(swept['device_hours'], _hours)} device-hours"
        lines.append(line + (f", costs {_money(swept['cost'])}" if swept["cost"] is not None else ""))
    if swept is not None and swept["problem"]:
        lines.append(f"its sweep: {swept['problem']}")
    return lines


def _notes(told: dict[str, Any]) -> list[str]:
    """What the figures rest on."""
    first = told if "phases" in told else told["choices"][0]
    reached, tokens = percent(first["assumed"]["efficiency"]), first["assumed"]["document_tokens"]
    lines = [
        f"taken: {reached} of the peak is reached; a document has {tokens:g} tokens, where no run has counted them. "
        "Not counted: curation, validation, checkpoints, scoring, what workers wait for each other; of disk, documents "
        "and tokens."
    ]
    for name, phase in first["phases"].items():
        unknown = phase["sources_of_unknown_size"]
        if unknown and not phase["max_steps"]:
            why = "its time is not known" if phase["steps"] is None else "they are not counted"
            lines.append(
                f"{name}: how much {', '.join(unknown)} hold is not in the recipe, and {why}; numbers of documents in "
                "data.mixture say it"
            )
    slow = [name for name, phase in first["phases"].items() if phase["precision"] == "fp32"]
    if slow and any(each["hardware"]["gpu"] for each in told.get("choices", [told])):
        lines.append(
            f"{', '.join(slow)}: on GPUs precision fp32 has no known speed, and so no time; see precision=bf16"
        )
    return lines


def _misfits(told: dict[str, Any]) -> list[str]:
    lines = []
    for name, changes in told["would_fit"].items():
        phase = told["phases"][name]
        needed, available = size(phase["memory"]["total"]), size(phase["memory_available"])
        would = "; with ".join(" ".join(each) for each in changes)
        hint = f"It would fit with {would}" if would else "Take more or larger devices"
        device = told["hardware"]["name"]
        lines.append(f"error: train.{name}: needs {needed} on each {device}, which has {available}. {hint}")
    return lines


def _short(device: str) -> str:
    return " ".join(re.sub(WORDY, " ", device).split())


def _known(value: float | None, write: Callable[[float], str]) -> str:
    return "–" if value is None else write(value)


def _time(seconds: float) -> str:
    return duration(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def _hours(value: float) -> str:
    return count(value) if value >= 100 else f"{value:.3g}"


def _money(value: float) -> str:
    return count(value) if value >= 100 else f"{value:.2f}"


def _figure(key: str, write: Callable[[float], str]) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda phase: None if phase[key] is None else write(phase[key])


def _part(key: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda phase: size(phase["memory"][key]) if phase["memory"][key] else None


ROWS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "method": lambda phase: phase["method"],
    "workers": _figure("workers", count),
    "parameters": _figure("parameters", short_count),
    "trained": _figure("trainable_parameters", short_count),
    "steps": _figure("steps", count),
    "tokens": _figure("tokens", short_count),
    "FLOPs of the model": _figure("flops", lambda value: f"{value:.3g}"),
    "memory: weights": _part("weights"),
    "  gradients": _part("gradients"),
    "  optimizer": _part("optimizer"),
    "  activations": _part("activations"),
    "  logits": _part("logits"),
    "  buffers": _part("buffers"),
    "  kept free": _part("reserve"),
    "  in all": _part("total"),
    "  of": _figure("memory_available", size),
    "host's memory": _part("host"),
    "fits": lambda phase: "yes" if phase["fits"] else "no",
    "disk": _figure("disk_bytes", size),
    "time": _figure("seconds", _time),
    "device-hours": _figure("device_hours", _hours),
    "cost": _figure("cost", _money),
}


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("plan")
