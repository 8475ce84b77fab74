"""Which task files of Natural Instructions a recipe takes, and what is told of the choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.documents.files import find_directory, find_file
from core.errors import DataError
from core.instructions.natural_instructions import TaskHeader, read_header, task_files, task_name
from core.instructions.task_agreement import agreement
from core.instructions.task_selection import NaturalInstructions, Selection, select_tasks
from core.instructions.task_tables import read_task_names, read_task_table


@dataclass(frozen=True)
class TaskChoice:
    """The tasks that were judged and what was decided.

    headers: of all of them; files: of the selected tasks, by name; without_file: selected tasks of the table that
    have no file.
    """

    headers: tuple[TaskHeader, ...]
    selection: Selection
    files: tuple[Path, ...]
    without_file: tuple[str, ...]


def choose_tasks(options: NaturalInstructions, recipe_dir: Path) -> TaskChoice:
    """Judges the tasks by the table, or else by the headers of all task files in the directory.

    Raises DataError for files that are not there or no tasks.
    """
    there = {task_name(path): path for path in task_files(find_directory(options.directory, recipe_dir))}
    if options.table is None:
        headers = [read_header(path) for path in there.values()]
    else:
        headers = read_task_table(find_file(options.table, recipe_dir))
    listed: tuple[str, ...] | None = None
    if isinstance(options.tasks, str):
        listed = tuple(read_task_names(find_file(options.tasks, recipe_dir)))
    elif options.tasks is not None:
        listed = tuple(options.tasks)
    selection = select_tasks(headers, options, listed)
    files = tuple(there[name] for name in selection.selected if name in there)
    return TaskChoice(tuple(headers), selection, files, tuple(name for name in selection.selected if name not in there))


def selected_files(options: NaturalInstructions, recipe_dir: Path) -> list[Path]:
    """The files of the tasks that are taken, by name. Raises DataError where there are none."""
    choice = choose_tasks(options, recipe_dir)
    if not choice.files:
        counted = ", ".join(f"{reason} {count}" for reason, count in choice.selection.reasons.most_common())
        raise DataError(
            f"natural_instructions: none of {len(choice.headers)} tasks in {options.directory} is taken: "
            f"{counted or 'those selected have no file'}. Mend the rules or the directory."
        )
    return sorted(choice.files)


def task_report(options: NaturalInstructions, recipe_dir: Path) -> dict[str, Any]:
    """What is told of the choice: counts, each task left out with reason and evidence, agreement with a list."""
    choice = choose_tasks(options, recipe_dir)
    selection = choice.selection
    report: dict[str, Any] = {
        "tasks": len(choice.headers),
        "selected": list(selection.selected),
        "without_file": list(choice.without_file),
        "unknown": list(selection.missing),
        "left_out_by": dict(selection.reasons.most_common()),
        "left_out": {name: why._asdict() for name, why in selection.left_out.items()},
        "agreement": None,
    }
    if options.published is not None:
        found = agreement(selection.selected, read_task_names(find_file(options.published, recipe_dir)), choice.headers)
        report["agreement"] = {
            "published": options.published,
            "precision": round(found.precision, 4),
            "recall": round(found.recall, 4),
            "both": len(found.both),
            "only_rules": list(found.only_rules),
            "only_list": list(found.only_list),
            "by_category": {
                category: dict(zip(("both", "only_rules", "only_list"), counts, strict=True))
                for category, counts in found.by_category.items()
            },
        }
    return report


def told(name: str, report: dict[str, Any]) -> list[str]:
    """The report in a line or two. name: the source's."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["left_out_by"].items()) or "none"
    lines = [f"{name}: {len(report['selected']):,} of {report['tasks']:,} tasks selected; left out: {reasons}"]
    if report["without_file"]:
        lines.append(f"{name}: {len(report['without_file']):,} selected tasks have no file in the directory")
    if report["unknown"]:
        shown = ", ".join(report["unknown"][:5]) + (", ..." if len(report["unknown"]) > 5 else "")
        lines.append(f"{name}: {len(report['unknown']):,} names in tasks or scoring are of no task there: {shown}")
    if (found := report["agreement"]) is not None:
        lines.append(
            f"{name}: of the {found['both'] + len(found['only_list']):,} tasks in {found['published']}, "
            f"{found['both']:,} selected (precision {found['precision']:.3f}, recall {found['recall']:.3f})"
        )
    return lines
